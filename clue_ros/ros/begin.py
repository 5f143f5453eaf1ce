"""The first thing that every program with ROS arguments does."""

from __future__ import annotations

import sys

import rclpy


def begin(args: list[str] | None = None, **options) -> None:
    """`rclpy.init`; arguments that ROS refuses end the program with exit code 1 and its reason in a sentence."""
    try:
        rclpy.init(args=args, **options)
    except RuntimeError as error:  # rcl's reason, with where in its sources it was found
        reason = " ".join(str(error).split(", at /")[0].split())
        sys.exit(f"these ROS arguments cannot be used: {reason}")
