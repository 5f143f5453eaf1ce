"""The first thing that every program with ROS arguments does."""

from __future__ import annotations

import signal
import sys

import rclpy
from rclpy.signals import SignalHandlerOptions


def begin(args: list[str] | None = None, **options) -> None:
    """`rclpy.init`; arguments that ROS refuses end the program with exit code 1 and its reason in a sentence."""
    try:
        rclpy.init(args=args, **options)
    except RuntimeError as error:  # rcl's reason, with where in its sources it was found
        reason = " ".join(str(error).split(", at /")[0].split())
        sys.exit(f"these ROS arguments cannot be used: {reason}")


def begin_until_signal(args: list[str] | None = None) -> list[int]:
    """`begin` a program that SIGINT and SIGTERM, however often they come, only tell to end: they are noted in the list. ROS's own
    handlers would close its context in another thread, under a callback that publishes, which can end in a crash, and a second
    Ctrl-C in a traceback."""
    begin(args, signal_handler_options=SignalHandlerOptions.NO)
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: stopping.append(received))
    return stopping
