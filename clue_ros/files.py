"""Files that are there whole or not at all, and what settings look like in one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write the file or new folder that shall lie at `path`: it gets there when the block ends without an error, so
    that a stop in the middle leaves nothing half-written under the final name. What an error leaves of it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.part{path.suffix}")  # with its ending, which some writers choose a format by
    try:
        yield part
    except Exception:
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
        raise
    part.rename(path)


def as_it_reads_back(settings: dict) -> dict:
    """The settings as JSON gives them back, to compare with those of an earlier run: tuples are lists, what JSON has no kind for is
    text."""
    return json.loads(json.dumps(settings, default=str))
