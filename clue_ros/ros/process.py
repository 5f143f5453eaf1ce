"""clue_node as a process of its own, for programs that try it or measure it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clue_ros.shipped import shipped

# Where Fast DDS looks for its settings; Kilted warns of the name that it had before.
PROFILES = ("FASTRTPS" if os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy") else "FASTDDS") + "_DEFAULT_PROFILES_FILE"


def free_domain() -> int:
    """A DDS domain that nobody on this machine seems to use (its first discovery port is free)."""
    start = os.getpid()
    for domain in ((start + k) % 90 + 10 for k in range(90)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", 7410 + 250 * domain))
            except OSError:
                continue
            return domain
    return 0


def keep_apart() -> str:
    """Use a domain of this machine alone from now on, where the environment names none; its number. Fast DDS gets room for
    images in shared memory, where the environment does not say how it is set up."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    if profiles := shipped("config/fastdds.xml"):
        os.environ.setdefault(PROFILES, str(profiles))
    return os.environ.setdefault("ROS_DOMAIN_ID", str(free_domain()))


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP end the process without a traceback, and what it started with it. rclpy's own handlers must
    not be installed: they would only shut its context down."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda given, _: sys.exit(128 + given))
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def running_node(namespace: str, log: Path, **parameters: object) -> Iterator[subprocess.Popen]:
    """The node with these parameters; its output goes to the file `log`. It is stopped at the end, as by Ctrl-C."""
    given = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    command = [sys.executable, "-m", "clue_ros.ros.node", "--ros-args", "-r", f"__ns:={namespace}", *given]
    with log.open("w", encoding="utf-8") as file:
        node = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield node
        finally:
            node.send_signal(signal.SIGINT)
            try:
                node.wait(5.0)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()


def ended(node: subprocess.Popen) -> str:
    """That the node is no longer there, in a sentence; "" while it runs."""
    return f"clue_node ended by itself with exit code {node.returncode}" if node.poll() is not None else ""


def missing(connected: Callable[[], bool], nodes: Sequence[subprocess.Popen], seconds: float) -> str:
    """Wait until these nodes can be talked to: "" as soon as `connected` says so, else why not, in a sentence."""
    end = time.monotonic() + seconds
    while not connected():
        if gone := next(filter(None, map(ended, nodes)), ""):
            return gone
        if time.monotonic() > end:
            return f"clue_node did not appear within {seconds:.0f} s"
        time.sleep(0.05)
    return ""
