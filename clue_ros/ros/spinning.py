"""Nodes whose callbacks run on this thread, whatever they meet, or beside the main thread, for programs that talk."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rclpy
import rclpy.logging
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node

from clue_ros.ros.begin import begin_until_signal
from clue_ros.types import InputError


def spin_some(executor: SingleThreadedExecutor, seconds: float, log: RcutilsLogger) -> None:
    """Run the next callback, or wait for one. What it raises is told, and is not the end of the node.

    rclpy itself raises over messages that anybody may send: a parameter of no known type, a /clock before the epoch.
    ExternalShutdownException once rclpy was shut down, also where a callback raised something else for that reason.
    """
    try:
        executor.spin_once(timeout_sec=seconds)
    except Exception as error:
        if not executor.context.ok():  # rclpy was shut down: there is nothing to go on with
            raise ExternalShutdownException from error
        log.error(f"a message or request was dropped: {type(error).__name__}: {error}")
        log.debug(traceback.format_exc())


def spin(*nodes: Node) -> None:
    """Run the nodes' callbacks until rclpy is shut down; one that fails is told, as by `spin_some`."""
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)
    while executor.context.ok():
        spin_some(executor, 1.0, nodes[0].get_logger())


def made(name: str, make: Callable[[], Node]) -> Node:
    """The node. What keeps it from being made is told under `name`, and ends the program with exit code 1."""
    try:
        return make()
    except InputError as error:
        rclpy.logging.get_logger(name).fatal(str(error))
        rclpy.shutdown()
        sys.exit(1)


def run_node(name: str, make: Callable[[], Node], args: list[str] | None = None) -> None:
    """The whole program of a node, `made`, that needs no more than its callbacks: until SIGINT or SIGTERM; then it is destroyed and
    rclpy shut down, in order."""
    stopping = begin_until_signal(args)
    node = made(name, make)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not stopping:
        spin_some(executor, 0.2, node.get_logger())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # one more must not end it halfway, nor while Python itself comes down
    executor.remove_node(node)
    node.destroy_node()
    rclpy.shutdown()


@contextmanager
def spinning(*nodes: Node, patience: float | None = None) -> Iterator[None]:
    """The nodes' callbacks run on another thread; at the end rclpy is shut down.

    patience: seconds to wait for a callback that is still running then, before the program ends without it; None: until
    it is done.
    """
    def run() -> None:
        try:
            spin(*nodes)
        except ExternalShutdownException:
            pass
    thread = threading.Thread(target=run, name="ros", daemon=patience is not None)
    thread.start()
    try:
        yield
    finally:
        rclpy.try_shutdown()
        thread.join(patience)
