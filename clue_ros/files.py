"""Files that are there whole or not at all, and the settings of an earlier run in one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clue_ros.types import InputError


def check_file(path: Path) -> None:
    """InputError where a file cannot be written: a folder is there, or no file may be made where it would lie."""
    try:
        there = path.is_dir() or not path.name
        folder = next(parent for parent in path.absolute().parents if parent.exists())
    except OSError as error:  # such as a name that is too long
        raise InputError(f"{str(path)[:100]} cannot be written: {error.strerror}") from error
    if there:
        raise InputError(f"{path} is a folder: give the name of a file")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{path} cannot be written: {folder} is " + ("not yours to write in" if folder.is_dir() else "no folder"))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write the file or folder that shall lie at `path`, instead of what may lie there: it gets there when the block ends
    without an error, so that a stop in the middle leaves nothing half-written under the final name. What an error leaves of it goes.
    InputError for a file that would take the place of a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    recovered(path)
    part = path.with_name(f"{path.stem}.part{path.suffix}")  # with its ending, which some writers choose a format by
    try:
        yield part
        if part.is_file():
            check_file(path)
    except Exception:
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
        raise
    if not path.is_dir():
        part.rename(path)
        return
    old = _old(path)
    shutil.rmtree(old, ignore_errors=True)
    path.rename(old)
    try:
        part.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old)


def recovered(path: Path) -> Path:
    """The same path; what lay there is back in its place where `replacing` was killed between the old folder's going and the new one's
    coming."""
    if not path.exists() and _old(path).exists():
        _old(path).rename(path)
    return path


def _old(path: Path) -> Path:
    return path.with_name(f"{path.stem}.old{path.suffix}")


def as_it_reads_back(settings: dict) -> dict:
    """The settings as JSON gives them back, to compare with those of an earlier run: tuples are lists, what JSON has no kind for is
    text."""
    return json.loads(json.dumps(settings, default=str))


def kept_settings(file: Path) -> dict | None:
    """The settings that an earlier run left there; None where none did. InputError when the file is damaged."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read, so it is not known what lies beside it: give another --out, or remove "
                         f"{file.parent} ({error})") from error
    if not isinstance(kept, dict):
        raise InputError(f"{file} holds no settings: give another --out, or remove {file.parent}")
    return kept


def keep_settings(file: Path, settings: dict) -> None:
    """Leave them for a later run."""
    with replacing(file) as part:
        part.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
