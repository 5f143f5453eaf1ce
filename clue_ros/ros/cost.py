"""What several cameras cost: one node with so many of them, and so many nodes with one each, on this machine.

    python -m clue_ros.ros.cost --cameras 1 2 4 --nodes 2 4
    python -m clue_ros.ros.cost --cameras 1 --busy 2         beside two programs that keep a core busy each

Prints a Markdown table. Every camera sends 640 x 480 pixels five times a second; every instruction is a clear one, one look
from words to box, its time taken from the moment it is published to the outcome's arrival.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import rclpy
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from clue_ros.msg import GroundedObject
from clue_ros.ros.camera import Camera
from clue_ros.ros.customer import Customer
from clue_ros.ros.person import OUTCOMES
from clue_ros.ros.pictures import demo_folder
from clue_ros.ros.process import ended_in_order, keep_apart, missing, running_node
from clue_ros.ros.script import BOX, Step, read_script
from clue_ros.ros.spinning import spinning

NAMESPACE = "clue_cost"  # and a number: of each node
PATIENCE = 120.0  # seconds until an instruction must have ended; the first one waits for the model
IDLE = 4.0  # seconds over which the work without a request is taken
FRAMES = 5.0  # a second
HEAD = """| nodes | cameras | start s | memory MB (RSS) | unshared MB | idle, % of a core | one asked, ms p50 / p95 | all asked, ms |
|---|---|---|---|---|---|---|---|"""


class CostError(RuntimeError):
    """It could not be measured; the message says why."""


@dataclass(frozen=True)
class Cost:
    """Of some nodes with some cameras in all. start: seconds from the first process to the first box at every camera. rss,
    unshared: megabytes, of all nodes; idle: their share of a core, percent, while pictures come and nobody asks. one, all:
    milliseconds of instructions, given to one camera at a time and to all at once."""

    nodes: int
    cameras: int
    start: float
    rss: float
    unshared: float
    idle: float
    one: np.ndarray
    all: np.ndarray

    def row(self) -> str:
        """A row of the table."""
        one, together = ("{:.0f} / {:.0f}".format(*np.percentile(times, [50, 95])) for times in (self.one, self.all))
        return (f"| {self.nodes} | {self.cameras} | {self.start:.1f} | {self.rss:.0f} | {self.unshared:.0f} | "
                f"{self.idle:.0f} | {one} | {together} |")


def ask(customers: list[Customer], words: str) -> list[float]:
    """Say the words to each camera at once: milliseconds to each outcome. CostError when one is no box."""
    taken = []
    for customer, number in [(customer, customer.order(words)) for customer in customers]:
        if not customer.wait(lambda: customer.ends(number), PATIENCE):
            raise CostError(f"an instruction did not end within {PATIENCE:.0f} s")
        came, end = customer.ends(number)[0]
        if end.outcome != GroundedObject.OUTCOME_GROUNDED:
            raise CostError(f"an instruction did not end in a sure box: {end.error or OUTCOMES[end.outcome]}")
        taken.append((came - customer.said[number]) * 1000)
    return taken


def measure(nodes: int, cameras: int, step: Step, rounds: int, threads: int, folder: Path) -> Cost:
    """So many nodes with so many cameras each. CostError."""
    names = [f"camera{k}" for k in range(cameras)]
    places = [f"/{NAMESPACE}{node}/{name}" for node in range(nodes) for name in names]
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    customers = [Customer(namespace=place) for place in places]
    eyes = [Camera(manual=True, namespace=place, parameter_overrides=[Parameter("rate", value=FRAMES)]) for place in places]
    for eye in eyes:
        eye.show(step.picture.rgb)
    with spinning(*customers, *eyes), ExitStack() as running:
        began = time.monotonic()
        given = {"cameras": json.dumps(names), "threads": threads, "max_frame_age": 0.0}
        started = [running.enter_context(running_node(f"/{NAMESPACE}{node}", folder / f"node{node}.log", **given))
                   for node in range(nodes)]
        processes = [psutil.Process(process.pid) for process in started]
        if trouble := missing(lambda: all(customer.connected() for customer in customers), started, PATIENCE):
            raise CostError(trouble)
        ask(customers, step.say)
        start = time.monotonic() - began
        one = [ask([customers[k % len(customers)]], step.say)[0] for k in range(rounds)]
        together = [taken for _ in range(-(-rounds // len(customers))) for taken in ask(customers, step.say)]
        memory = [process.memory_full_info() for process in processes]
        return Cost(nodes, nodes * cameras, start, sum(m.rss for m in memory) / 1e6, sum(m.uss for m in memory) / 1e6,
                    _share_of_a_core(processes), np.array(one), np.array(together))


@contextmanager
def busy(programs: int) -> Iterator[None]:
    """Beside so many programs that never wait; each in a session of its own, between which Linux shares the cores out."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) for _ in range(programs)]
    try:
        yield
    finally:
        for program in started:
            program.kill()
            program.wait()


def _share_of_a_core(processes: list[psutil.Process]) -> float:
    """Percent, over some seconds."""
    def spent() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)
    before = spent()
    time.sleep(IDLE)
    return (spent() - before) / IDLE * 100


def main(args: list[str] | None = None) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, nargs="*", default=[1, 2, 4], help="of one node, a row each")
    parser.add_argument("--nodes", type=int, nargs="*", default=[], help="with one camera each, a row each")
    parser.add_argument("--rounds", type=int, default=60, help="instructions of each kind")
    parser.add_argument("--busy", type=int, default=0, help="programs beside it that compute without end")
    parser.add_argument("--threads", type=int, default=0, help="the parameter of that name, of each node")
    options = parser.parse_args(args)
    if min([*options.cameras, *options.nodes, options.rounds], default=1) < 1:
        parser.error("every number must be 1 or more")
    keep_apart()
    step = next(step for step in read_script(demo_folder()) if step.expect == BOX)
    print(HEAD, flush=True)
    with ended_in_order(), tempfile.TemporaryDirectory() as folder, busy(options.busy):
        try:
            for nodes, cameras in [*((1, n) for n in options.cameras), *((n, 1) for n in options.nodes)]:
                print(measure(nodes, cameras, step, options.rounds, options.threads, Path(folder)).row(), flush=True)
        except CostError as error:
            words = "".join(path.read_text(encoding="utf-8")[-2000:] for path in Path(folder).glob("*.log"))
            sys.exit(f"cost: {error}; the nodes' own words:\n{words}")


if __name__ == "__main__":
    main()
