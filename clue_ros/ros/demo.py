"""The whole loop on real ROS 2: clue_node in a process of its own, a camera, and a person who answers.

    python -m clue_ros.ros.demo                                          the shipped tables and their script
    python -m clue_ros.ros.demo --camera live --seed 3                   tables rendered now
    python -m clue_ros.ros.demo --image photo.jpg --say "the red mug"    one step on any photograph

Prints the dialog as it happens and writes what the model saw, one PNG for each look, under build/demo/. Exit code 0
only when every instruction went as it should: an ambiguous one to a question and its answer to the right box
(IoU >= 0.5), a clear one straight to the right box.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from clue_ros.msg import AmbiguityHeatmap, GroundedObject
from clue_ros.ros.camera import Camera
from clue_ros.ros.conversions import box_from_message, frame_from_image
from clue_ros.ros.person import OUTCOMES, Person, Unheard
from clue_ros.ros.pictures import LIVE, demo_folder, read_picture, rendered
from clue_ros.ros.process import ended, ended_in_order, keep_apart, missing, running_node
from clue_ros.ros.qos import LATCHED_LISTENER
from clue_ros.ros.script import BOX, QUESTION, Step, live_script, read_script
from clue_ros.ros.spinning import spinning
from clue_ros.tabletop.questions import Oracle
from clue_ros.types import InputError

RIGHT = 0.5  # IoU from which a box is the right one
NAMESPACE = "/clue_demo"
PATIENCE = 180.0  # seconds until the node must have said something; a cold start loads the model


class DemoError(RuntimeError):
    """The demo could not be carried through; the message says why."""


class Spectator(Person):
    """A person who also keeps the overlays."""

    def __init__(self, **options):
        super().__init__(**options)
        self.pictures: dict[tuple[int, int], Image] = {}
        self.create_subscription(Image, "heatmap/image", self._keep, LATCHED_LISTENER)

    def _keep(self, msg: Image) -> None:
        self.pictures[msg.header.stamp.sec, msg.header.stamp.nanosec] = msg

    def picture_of(self, verdict: AmbiguityHeatmap, seconds: float = 5.0) -> np.ndarray | None:
        """uint8[H, W, 3] RGB: the overlay of that very look, or None when it does not come in time."""
        key, end = (verdict.header.stamp.sec, verdict.header.stamp.nanosec), time.monotonic() + seconds
        while key not in self.pictures and time.monotonic() < end:
            time.sleep(0.01)
        return frame_from_image(self.pictures.pop(key)).rgb if key in self.pictures else None


class Demo:
    """Plays steps with a running node, and prints them."""

    def __init__(self, person: Spectator, camera: Camera, node: subprocess.Popen, out: Path, seed: int):
        self.person, self.camera, self.node, self.out = person, camera, node, out
        self.rng = np.random.default_rng(seed)

    def play(self, number: int, step: Step) -> str:
        """One instruction to its end; "" or the expectation that failed, as a sentence."""
        print(f"\n{number}  {step.picture.name}" + (f", expects a {step.expect}" if step.expect else ""), flush=True)
        oracle = Oracle(step.picture.scene.objects, step.target, self.rng) if step.picture.scene else None
        asked, look = 0, 0
        _line("person", step.say)
        shown = self.camera.get_clock().now()
        self.camera.show(step.picture.rgb)
        start, (verdict, reply) = self.person.say_about(step.say, shown, PATIENCE, lambda: ended(self.node))
        while True:
            milliseconds = (time.perf_counter() - start) * 1000
            if verdict is not None:
                look += 1
                _line("detector", f"P(ambiguous) {verdict.probability:.2f}, asks from {verdict.threshold:.2f}")
                self._save(verdict, self.out / f"step{number}-look{look}.png")
            if isinstance(reply, GroundedObject):
                return self._judge(number, step, reply, asked, milliseconds)
            asked += 1
            _line("robot", reply.data, milliseconds)
            if oracle is None:
                return ""
            answer = oracle.answer(reply.data, step.candidates)
            _line("person", answer)
            start = time.perf_counter()
            self.person.reply(answer)
            verdict, reply = self.person.turn(PATIENCE, lambda: ended(self.node))

    def _save(self, verdict: AmbiguityHeatmap, path: Path) -> None:
        rgb = self.person.picture_of(verdict)
        if rgb is None:
            raise DemoError("the overlay of a look did not arrive on heatmap/image")
        cv2.imwrite(str(path), rgb[..., ::-1])

    def _judge(self, number: int, step: Step, end: GroundedObject, asked: int, milliseconds: float) -> str:
        """Print the outcome; "" or what should have been otherwise."""
        if end.outcome == GroundedObject.OUTCOME_ERROR:
            raise DemoError(f"step {number} ended in an error: {end.error}")  # the next one would meet it as well
        if end.outcome != GroundedObject.OUTCOME_GROUNDED:
            _line("robot", OUTCOMES[end.outcome], milliseconds)
            return f"step {number} did not end in a sure box: {OUTCOMES[end.outcome]}"
        box = box_from_message(end.box)
        text = f"[{box.x1:.0f} {box.y1:.0f} {box.x2:.0f} {box.y2:.0f}] {end.label}"
        if step.target is None:
            _line("robot", f"{text}   score {end.score:.2f}", milliseconds)
            return ""
        iou = box.iou(step.picture.box(step.target))
        _line("robot", f"{text}   IoU {iou:.2f}", milliseconds)
        if step.expect == QUESTION and not asked:
            return f"step {number}: \"{step.say}\" fits {len(step.candidates)} objects, but no question was asked"
        if step.expect == BOX and asked:
            return f"step {number}: \"{step.say}\" fits one object, but a question was asked"
        if iou < RIGHT:
            return f"step {number}: the box has IoU {iou:.2f} with the object that was meant, {RIGHT} is needed"
        return ""


def _line(speaker: str, text: str, milliseconds: float | None = None) -> None:
    time_taken = f"{milliseconds:6.0f} ms" if milliseconds is not None else ""
    print(f"   {speaker:<9} {text:<66} {time_taken}".rstrip(), flush=True)


def steps_of(options: argparse.Namespace) -> list[Step]:
    """What the command line asks for."""
    if options.say:
        live = options.camera == LIVE
        picture = next(rendered(options.seed)) if live else (
            read_picture(options.image) if options.image else read_script(demo_folder())[0].picture)
        return [Step(type(picture)(picture.name, picture.rgb), options.say)]
    return live_script(options.seed) if options.camera == LIVE else read_script(demo_folder())


def play(options: argparse.Namespace) -> list[str]:
    """Run everything; the expectations that failed."""
    steps = steps_of(options)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("step*.png"):
        old.unlink()
    domain = keep_apart()
    with running_node(NAMESPACE, out / "node.log", model=options.model, device=options.device) as node:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        person, camera = Spectator(namespace=NAMESPACE), Camera(manual=True, namespace=NAMESPACE)
        with spinning(person, camera):
            print(f"clue_node runs as process {node.pid}, model {options.model}, "
                  f"ROS_DOMAIN_ID {domain}; the first answer waits for the model to load")
            if trouble := missing(person.connected, [node], 60.0):
                raise DemoError(trouble)
            demo = Demo(person, camera, node, out, options.seed)
            return [failure for number, step in enumerate(steps, 1) if (failure := demo.play(number, step))]


def main(args: list[str] | None = None) -> None:
    """Parse, play, and say how it went."""
    parser = argparse.ArgumentParser(prog="clue-demo", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", help="a photograph, PNG or JPEG; needs --say")
    parser.add_argument("--say", help="the instruction for that one picture")
    parser.add_argument("--camera", choices=("demo", LIVE), default="demo", help="shipped pictures, or rendered now")
    parser.add_argument("--model", default="tabletop", help="model folder or name of an embedded one")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0, help="of rendered tables and of the person's wording")
    parser.add_argument("--out", default="build/demo", help="folder for the pictures and node.log")
    options = parser.parse_args(args)
    if options.image and not options.say:
        parser.error("--image needs --say \"what to look for\"")
    if options.image and options.camera == LIVE:
        parser.error("--image and --camera live exclude each other")
    try:
        with ended_in_order():
            failures = play(options)
    except (InputError, DemoError, Unheard) as error:
        log = Path(options.out) / "node.log"
        sys.exit(f"demo failed: {error}" + (f"; the node's own words are in {log}" if log.is_file() else ""))
    print(f"\nwhat the model saw: {options.out}/step*.png")
    if failures:
        sys.exit("\n".join(f"demo failed: {failure}" for failure in failures))
    print("every instruction went as it should" if not options.say else "done")


if __name__ == "__main__":
    main()
