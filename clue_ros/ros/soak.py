"""The real node in a process of its own, kept busy for long: does every instruction end once, how fast, in how much memory?

    python -m clue_ros.ros.soak --minutes 10           a person who asks, answers, interrupts, mumbles and keeps silent,
                                                       before a camera that changes its size and encoding
    python -m clue_ros.ros.soak --instructions 2000    as fast as they can be published
    python -m clue_ros.ros.soak --goals 300            the same of action `ground`, one after the other
    python -m clue_ros.ros.soak --overhead 200         what the node adds to the model's own time, at 640 x 480

Without any of these, all four. Prints the figures and writes them to build/soak/soak.json; exit code 1 when an instruction
did not end in exactly one outcome, a goal's result did not come, the node's memory grew by more than a tenth, or the overhead's p95 is above 10 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import rclpy
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Header

from clue_ros.ros.camera import FRAME_ID, Camera
from clue_ros.ros.conversions import FROM_RGB, image_from_rgb
from clue_ros.ros.customer import Customer
from clue_ros.ros.person import OUTCOMES
from clue_ros.ros.pictures import demo_folder
from clue_ros.ros.process import ended_in_order, keep_apart, missing, running_node
from clue_ros.ros.script import BOX, read_script
from clue_ros.ros.spinning import spinning
from clue_ros.types import InputError

NAMESPACE = "/clue_soak"
START = 120.0  # seconds until the first instruction must have ended: the model is loaded meanwhile
GROWTH = 1.1  # of the node's memory, from after the first instruction to the end, at most
MOST_OVERHEAD = 10.0  # milliseconds, p95
PATIENCE = 20.0  # seconds until any other one must have ended, or have led to a question
SIZES = ((640, 480), (320, 240), (848, 480), (160, 120))  # of the camera's images, width x height
UNUSABLE = ("", " \t ", "\u202e\u200b", "x" * 2000)
ANSWERS = ("the left one", "the right one", "the red one", "the large one", "no", "<loc0000>")


class SoakError(RuntimeError):
    """It could not be carried through; the message says why."""


class Run:
    """A node process with a camera and a customer before it. clear: a step that needs no question. rss: megabytes of the
    process, in order."""

    def __init__(self, node: subprocess.Popen, camera: Camera, customer: Customer):
        self.node, self.camera, self.customer = node, camera, customer
        self.steps = read_script(demo_folder())
        self.clear = next(step for step in self.steps if step.expect == BOX)
        self.rng = np.random.default_rng(0)
        self.rss: list[float] = []
        self._images_before = np.zeros(3, int)

    def begin(self) -> None:
        """Wait for the first outcome; what follows does not pay for the start. SoakError."""
        if trouble := missing(self.customer.connected, [self.node], START):
            raise SoakError(trouble)
        self.camera.show(self.clear.picture.rgb)
        number = self.customer.order(self.clear.say)
        if not self.customer.wait(lambda: self.customer.ends(number), START):
            raise SoakError(f"the first instruction did not end within {START:.0f} s")
        self._images_before = self._images()
        self.customer.replies.clear()
        self.remember_memory()

    def remember_memory(self) -> None:
        """Note what the process holds now."""
        self.rss.append(psutil.Process(self.node.pid).memory_info().rss / 1e6)

    def report(self, seconds: float) -> dict[str, object]:
        """What every measurement reports. seconds: that it took."""
        self.remember_memory()
        published, received, replaced = (int(n) for n in self._images() - self._images_before)
        customer = self.customer
        ends = [customer.ends(number) for number in range(len(customer.said))]
        outcomes = [message.outcome for end in ends for _, message in end]
        counts = {str(n): sum(len(end) == n for end in ends) for n in sorted({1, *map(len, ends)})}
        return {
            "seconds": round(seconds, 1), "instructions": len(ends), "instructions by number of outcomes": counts,
            "outcomes": {name: outcomes.count(value) for value, name in OUTCOMES.items() if value in outcomes},
            "questions": customer.questions, "answers": customer.answers,
            "reply [ms]": percentiles(customer.replies), "model's own time [ms]": percentiles(
                [message.latency_ms for end in ends for _, message in end if message.latency_ms]),
            "images": {"published": published, "lost on the way": published - received, "replaced by a newer one": replaced},
            "memory [MB]": {"start": round(self.rss[0]), "middle": round(self.rss[len(self.rss) // 2]),
                            "end": round(self.rss[-1])}}

    def _images(self) -> np.ndarray:
        """So far: published, received, replaced by a newer one. The camera stops for it, and /diagnostics catches up; so
        does an outcome too many."""
        self.camera.show(None)
        time.sleep(1.5)
        told = self.customer.camera_status()
        return np.array([self.camera.published, *(int(told.get(f"images {what}", 0))
                                                  for what in ("received", "dropped for a newer one"))])


def percentiles(values: list[float]) -> dict[str, float]:
    """{"n", "p50", "p95", "p99"}, to a tenth."""
    if not values:
        return {"n": 0}
    return {"n": len(values)} | {f"p{p}": round(float(np.percentile(values, p)), 1) for p in (50, 95, 99)}


# -- the four measurements --------------------------------------------------------------------------------------------------


def live(run: Run, minutes: float) -> dict[str, object]:
    """Dialogs of all kinds, one after the other, for so many minutes."""
    start = time.monotonic()
    middle = start + 30 * minutes
    while (now := time.monotonic()) < start + 60 * minutes:
        if now > middle and len(run.rss) == 1:
            run.remember_memory()
        dialog(run)
    run.customer.wait(run.customer.settled, PATIENCE)
    return run.report(time.monotonic() - start)


def dialog(run: Run) -> None:
    """One instruction and what comes of it, each time another way. SoakError when nothing comes of it."""
    customer, rng = run.customer, run.rng
    step = run.steps[rng.integers(len(run.steps))]
    rgb = cv2.resize(step.picture.rgb, SIZES[rng.integers(len(SIZES))])
    run.camera.show(rgb, list(FROM_RGB)[rng.integers(len(FROM_RGB))])
    manner = rng.choice(["patient", "interrupts", "mumbles", "twice", "silent"], p=[0.6, 0.1, 0.1, 0.15, 0.05])
    number = customer.order(UNUSABLE[rng.integers(len(UNUSABLE))] if manner == "mumbles" else step.say)
    for _ in range(6):
        if not customer.wait(lambda: customer.ends(number) or customer.open_question, PATIENCE):
            raise SoakError(f"nothing came of instruction {number} within {PATIENCE:.0f} s")
        if customer.ends(number) or manner in ("interrupts", "silent"):
            break
        for _ in range(2 if manner == "twice" else 1):
            customer.answer(ANSWERS[rng.integers(len(ANSWERS))])
    if manner == "silent":
        customer.wait(lambda: customer.ends(number), PATIENCE)
    if manner == "twice":
        customer.answer(ANSWERS[0])  # too late


def clear_words(run: Run, count: int) -> Iterator[str]:
    """So many instructions that need no question, while the camera shows one picture; halfway the memory is noted."""
    words = [step.say for step in run.steps if step.expect == BOX]
    run.camera.show(run.clear.picture.rgb)
    for k in range(count):
        if k == count // 2:
            run.remember_memory()
        yield words[k % len(words)]


def burst(run: Run, count: int) -> dict[str, object]:
    """So many instructions without a pause, most of them superseded at once."""
    start = time.monotonic()
    for words in clear_words(run, count):
        run.customer.order(words)
    published = time.monotonic() - start
    run.customer.wait(run.customer.settled, PATIENCE)
    spent = time.monotonic() - start
    ended = [(run.customer.ends(number), said) for number, said in enumerate(run.customer.said)]
    return run.report(spent) | {"published in [s]": round(published, 2), "outcome [ms]": percentiles(
        [(end[0][0] - said) * 1000 for end, said in ended[1:] if end])}


def goals(run: Run, count: int) -> dict[str, object]:
    """So many goals, each after the result of the one before; the node keeps results for those who ask late."""
    start = time.monotonic()
    for k, words in enumerate(clear_words(run, count)):
        number = run.customer.goal(words)
        if not run.customer.wait(lambda: run.customer.results > k and run.customer.ends(number), PATIENCE):
            raise SoakError(f"goal {k} did not end within {PATIENCE:.0f} s")
    return run.report(time.monotonic() - start) | {"goals": count, "results": run.customer.results}


def overhead(run: Run, count: int) -> dict[str, object]:
    """From the moment before an image and an instruction are published to the outcome's arrival, less the model's time.

    An instruction that overtook its image, or whose image was lost, is looked at on the one before, and left out.
    """
    image = image_from_rgb(cv2.resize(run.clear.picture.rgb, (640, 480)), Header(frame_id=FRAME_ID))
    spent, other = [], 0
    start = time.monotonic()
    for _ in range(count):
        began = time.perf_counter()
        run.camera.send(image)
        number = run.customer.order(run.clear.say)
        if not run.customer.wait(lambda: run.customer.ends(number), PATIENCE):
            raise SoakError(f"instruction {number} did not end within {PATIENCE:.0f} s")
        came, end = run.customer.ends(number)[0]
        if end.header.stamp == image.header.stamp:
            spent.append((came - began) * 1000 - end.latency_ms)
        else:
            other += 1
        time.sleep(run.rng.uniform(0.08, 0.12))  # the overlay is drawn meanwhile
    return run.report(time.monotonic() - start) | {"overhead [ms]": percentiles(spent), "looked at an older image": other}


# -- the command -----------------------------------------------------------------------------------------------------------


def measure(name: str, task: Callable[[Run], dict[str, object]], out: Path, **parameters: object) -> dict[str, object]:
    """A measurement with a fresh node of these parameters. SoakError."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    customer, camera = Customer(namespace=NAMESPACE), Camera(manual=True, namespace=NAMESPACE)
    with running_node(NAMESPACE, out / f"{name}.log", **parameters) as node, spinning(customer, camera):
        run = Run(node, camera, customer)
        try:
            run.begin()
            return task(run)
        except psutil.Error as error:
            raise SoakError(f"clue_node ended by itself; its last words are in {out / f'{name}.log'}") from error


def main(args: list[str] | None = None) -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="of dialogs")
    parser.add_argument("--instructions", type=int, help="as fast as they can be published")
    parser.add_argument("--goals", type=int, help="one after the other")
    parser.add_argument("--overhead", type=int, metavar="REQUESTS", help="to measure the node's overhead by")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="folder of soak.json and the node's logs")
    a = parser.parse_args(args)
    given = [value for value in (a.minutes, a.instructions, a.goals, a.overhead) if value is not None]
    if any(value <= 0 for value in given):
        parser.error("every number must be above 0")
    if not given:
        a.minutes, a.instructions, a.goals, a.overhead = 10.0, 2000, 300, 200
    a.out.mkdir(parents=True, exist_ok=True)
    keep_apart()
    figures: dict[str, object] = {"cores": len(os.sched_getaffinity(0))}
    try:
        with ended_in_order():
            if a.minutes:
                figures["dialogs"] = measure("dialogs", lambda run: live(run, a.minutes), a.out, question_timeout=1.0)
            if a.instructions:
                figures["burst"] = measure("burst", lambda run: burst(run, a.instructions), a.out, turn_limit=0)
            if a.goals:
                figures["goals"] = measure("goals", lambda run: goals(run, a.goals), a.out, turn_limit=0)
            if a.overhead:
                figures["overhead"] = measure("overhead", lambda run: overhead(run, a.overhead), a.out, turn_limit=0)
    except (SoakError, InputError) as error:
        sys.exit(f"soak: {error}; the node's own words are in {a.out}/*.log")
    text = json.dumps(figures, indent=1)
    (a.out / "soak.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    parts = [part for part in figures.values() if isinstance(part, dict)]
    if any(set(part["instructions by number of outcomes"]) != {"1"} for part in parts):
        sys.exit("soak: not every instruction ended in exactly one outcome")
    if any(part["results"] != part["goals"] for part in parts if "goals" in part):
        sys.exit("soak: not every goal had exactly one result")
    if any(part["memory [MB]"]["end"] > GROWTH * part["memory [MB]"]["start"] for part in parts):
        sys.exit("soak: the node's memory grew by more than a tenth")
    if any(part["overhead [ms]"]["p95"] > MOST_OVERHEAD for part in parts if "overhead [ms]" in part):
        sys.exit(f"soak: the node adds more than {MOST_OVERHEAD:g} ms to the model's own time (p95)")


if __name__ == "__main__":
    main()
