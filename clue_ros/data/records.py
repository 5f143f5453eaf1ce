"""One record type for every data set: a picture, what was said about it, and what is known of what was meant.

    read_tabletop, read_invig, read_it2p, read_coco, read_recording  -->  Reading of Record

`examples.Example` is the tabletop's own, richer kind: it also knows the labels that a model is trained on.
"""

from __future__ import annotations

import logging
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from clue_ros import encodings
from clue_ros.data.fields import read_bytes
from clue_ros.types import Box, Frame, InputError, Prompt

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Picture:
    """An image that is decoded only when it is looked at.

    name: where it comes from, and the key of its frame. load: gives uint8[H, W, 3] RGB. size: (width, height) in pixels
    that its annotations speak of, where they say it. group: what it shares with pictures that are not independent of it, such as
    its twin; by default its name.
    """

    name: str
    load: Callable[[], np.ndarray]
    size: tuple[int, int] | None = None
    group: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "group", self.group or self.name)

    @classmethod
    def of_file(cls, path: str | Path, size: tuple[int, int] | None = None) -> Picture:
        """A JPEG, PNG or other image file that OpenCV reads."""
        def load() -> np.ndarray:
            if not Path(path).is_file():
                raise InputError(f"{path} is not there: if the pictures lie elsewhere, give their folder (--images)")
            return decode(read_bytes(Path(path)), str(path))
        return cls(str(path), load, size)

    @classmethod
    def of_bytes(cls, name: str, data: bytes | np.ndarray, size: tuple[int, int] | None = None, group: str = "") -> Picture:
        """The same, of the file's bytes (uint8[n])."""
        return cls(name, partial(decode, data, name), size, group)

    def frame(self) -> Frame:
        """The pixels. InputError when they cannot be read, or when boxes would not fit them."""
        frame = Frame(self.load(), key=self.name)
        if self.size not in (None, frame.size):
            raise InputError(f"{self.name} is {frame.size[0]} x {frame.size[1]} pixels, its annotations are for "
                             f"{self.size[0]} x {self.size[1]}: give the images that were annotated")
        return frame


def decode(data: bytes | np.ndarray, name: str) -> np.ndarray:
    """uint8[H, W, 3] RGB of an image file's bytes; as stored, for boxes know nothing of the turn EXIF asks for."""
    return _readable(encodings.decode(data), name)


def read_photo(path: str | Path) -> np.ndarray:
    """uint8[H, W, 3] RGB of a person's photo, turned as its EXIF asks for. InputError when there is none."""
    return _readable(encodings.decode(read_bytes(Path(path)), upright=True), str(path))


def _readable(rgb: np.ndarray | None, name: str) -> np.ndarray:
    if rgb is None:
        raise InputError(f"{name} is no readable image: give a JPEG or PNG")
    return rgb


@dataclass(frozen=True, eq=False)
class Record:
    """What was said about a picture, and what is known of what was meant. Boxes and points are in source pixels.

    id: unique within its data set. ambiguous: whether the prompt may mean several objects; None where nobody said.
    boxes: every object that the prompt may mean: one when it is clear, several when it is ambiguous, () where the data
    set does not say. target: the one object that the person has in mind, as a box, or as a point (x, y) on it where only
    that is known; None where nobody chose one. question: what was asked next, None where nothing was. label: what the objects
    are called, "" where nobody says.
    """

    picture: Picture
    prompt: Prompt
    id: str
    source: str
    ambiguous: bool | None = None
    boxes: tuple[Box, ...] = ()
    target: Box | tuple[float, float] | None = None
    question: str | None = None
    label: str = ""

    def __post_init__(self) -> None:
        several = len(self.boxes) > 1
        if self.boxes and self.ambiguous != several:
            raise ValueError(f"{self.source} {self.id}: ambiguous is {self.ambiguous} with {len(self.boxes)} boxes")
        if self.boxes and isinstance(self.target, Box) and self.target not in self.boxes:
            raise ValueError(f"{self.source} {self.id}: the target is none of the objects meant")
        if self.question is not None and self.ambiguous is False:
            raise ValueError(f"{self.source} {self.id}: a question about a clear prompt")


class Reading:
    """The records of a data set, read one at a time, again on every pass.

    skipped: after a pass, what was left out of it, counted by reason; the same is logged as a warning.
    """

    def __init__(self, source: str, read: Callable[[Counter[str]], Iterator[Record]]):
        self.source, self.skipped = source, Counter()
        self._read = read

    def __iter__(self) -> Iterator[Record]:
        self.skipped.clear()
        yield from self._read(self.skipped)
        if self.skipped.total():
            log.warning("%s", self.summary())

    def count(self, keep: Callable[[Record], bool]) -> int:
        """How many records there are that `keep` takes. Nothing is logged."""
        return sum(map(keep, self._read(Counter())))

    def summary(self) -> str:
        """One sentence about what the last pass left out."""
        reasons = ", ".join(f"{count} x {reason}" for reason, count in sorted((+self.skipped).items()))
        return f"{self.source}: left out {reasons or 'nothing'}"


@dataclass(frozen=True)
class Part:
    """One of `count` parts of a data set, number 1 the first. A picture's group decides: two parts share none."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(f"part {self.number}/{self.count}: give one such as 1/2 or 2/2")

    @classmethod
    def parse(cls, text: str) -> Part:
        """Of "1/2"."""
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal()):
            raise InputError(f"part {text[:40]}: give one such as 1/2 or 2/2")
        return cls(int(number), int(count))

    def holds(self, group: str) -> bool:
        """Whether the pictures of that group belong to it; where they lie does not matter."""
        return zlib.crc32(Path(group).name.encode()) % self.count == self.number - 1

    def words(self) -> str:
        """", part 1/2"; "" for the whole."""
        return f", part {self.number}/{self.count}" if self.count > 1 else ""


def draw(items: Sequence[T], rng: np.random.Generator, limit: int | None) -> list[T]:
    """A random `limit` of the items, all of them without one, in their own order."""
    return [items[i] for i in sorted(rng.permutation(len(items))[:limit])]


def in_pixels(box: Box, size: tuple[int, int]) -> Box:
    """A box of image fractions in pixels of (width, height)."""
    return Box(box.x1 * size[0], box.y1 * size[1], box.x2 * size[0], box.y2 * size[1])
