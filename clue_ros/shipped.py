"""Where the files lie that come with the package: in the source tree, or below share/clue_ros of an installation."""

from __future__ import annotations

from pathlib import Path


def shipped(relative: str | Path) -> Path | None:
    """A file or folder by its path in the source tree, such as "config/fastdds.xml"; None where it was not installed."""
    for parent in Path(__file__).resolve().parents:
        for found in (parent / relative, parent / "share" / "clue_ros" / relative):
            if found.exists():
                return found
    return None
