"""What every command shares: a clear sentence instead of a traceback, and a quiet library underneath."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from clue_ros.types import InputError, ModelError


def run(command: Callable[[], None]) -> None:
    """Call the command; expected errors end in one sentence on stderr and exit status 1, Ctrl-C in 130."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        command()
    except (InputError, ModelError, FileNotFoundError, NotADirectoryError, PermissionError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except RuntimeError as error:
        if type(error).__name__ not in ("RenderingUnavailable", "OutOfMemoryError"):
            raise
        sys.exit(f"error: {error}")
