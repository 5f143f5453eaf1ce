"""What every command shares: a clear sentence instead of a traceback, and a quiet library underneath."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from clue_ros.types import InputError, ModelError


def execute(parser: argparse.ArgumentParser) -> None:
    """Parse the command line and call what it names (`call`, by set_defaults), as `run` does."""
    arguments = parser.parse_args()
    run(lambda: arguments.call(arguments))


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)


def natural(text: str) -> int:
    """A whole number of at least 0, for argparse."""
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return int(text)


def run(command: Callable[[], None]) -> None:
    """Call the command; expected errors end in one sentence on stderr and exit status 1, Ctrl-C in 130."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        command()
    except EOFError:
        sys.exit("error: the input ended before the answer")
    except (InputError, ModelError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except RuntimeError as error:
        if type(error).__name__ not in ("RenderingUnavailable", "OutOfMemoryError"):
            raise
        sys.exit(f"error: {error}")
