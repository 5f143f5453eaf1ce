"""JSON read with care: what is missing or of the wrong kind is named by file, line and field."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

from clue_ros.types import Box, InputError
from clue_ros.vlm.tokens import clean_text

KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "an object"}


def read_bytes(path: Path) -> bytes:
    """The file's bytes. InputError when it cannot be read."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from error


def parse_json(data: bytes, where: str) -> object:
    """The value of a JSON text in UTF-8."""
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise InputError(f"{where}: no valid JSON at {line}column {error.colno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8; a number or a nesting that is too long
        raise InputError(f"{where}: no valid JSON: {error}") from error


def read_json_lines(path: Path) -> Iterator[tuple[str, dict]]:
    """(where, object) of every line that is not blank; where is "FILE, line N"."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    where = f"{path}, line {number}"
                    yield where, expect(parse_json(line.strip(), where), dict, where)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def expect(value: object, kind: type, where: str) -> object:
    """The value, checked to be of that kind: one of KINDS. true is no number."""
    fits = isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))
    if not fits:
        shown = repr(value)
        raise InputError(f"{where} must be {KINDS[kind]}, is {shown if len(shown) <= 60 else shown[:57] + '...'}")
    return value


def field(record: dict, name: str, kind: type, where: str) -> object:
    """record[name], checked to be there and of that kind. `where` says which record it is."""
    if name not in record:
        raise InputError(f'{where}: field "{name}" is missing')
    return expect(record[name], kind, f'{where}: field "{name}"')


def numbers(value: object, where: str) -> tuple[float, float, float, float]:
    """Four finite numbers, such as the corners of a box."""
    four = expect(value, list, where)
    try:
        found = tuple(float(expect(v, float, where)) for v in four)
    except OverflowError:
        found = ()
    if len(found) != 4 or not all(map(math.isfinite, found)):
        raise InputError(f"{where} must be four finite numbers, is {str(value)[:60]}")
    return found


def clip(box: Box, size: tuple[int, int]) -> Box | None:
    """The part of the box inside an image of (width, height) pixels; None when nothing is."""
    inside = Box(max(box.x1, 0.0), max(box.y1, 0.0), min(box.x2, float(size[0])), min(box.y2, float(size[1])))
    return inside if inside.area > 0 else None


def image_size(record: dict, where: str) -> tuple[int, int]:
    """(width, height) of a record with these fields, in pixels."""
    size = field(record, "width", int, where), field(record, "height", int, where)
    if not all(0 < side < 1_000_000 for side in size):
        raise InputError(f"{where}: there is no image of {str(size[0])[:20]} x {str(size[1])[:20]} pixels")
    return size


def words(text: str) -> str | None:
    """The text as a prompt takes it; None when nothing or far too much is left of it."""
    try:
        return clean_text(text)
    except InputError:
        return None
