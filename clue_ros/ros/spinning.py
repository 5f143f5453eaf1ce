"""Nodes whose callbacks run beside the main thread, for programs that talk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node


@contextmanager
def spinning(*nodes: Node, patience: float | None = None) -> Iterator[None]:
    """The nodes' callbacks run on another thread; at the end rclpy is shut down.

    patience: seconds to wait for a callback that is still running then, before the program ends without it; None: until
    it is done.
    """
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
    thread = threading.Thread(target=spin, name="ros", daemon=patience is not None)
    thread.start()
    try:
        yield
    finally:
        rclpy.try_shutdown()
        thread.join(patience)
