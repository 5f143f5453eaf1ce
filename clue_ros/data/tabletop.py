"""Records of rendered tabletop scenes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from clue_ros.data import examples
from clue_ros.data.examples import Example
from clue_ros.data.records import Picture, Reading, Record, in_pixels
from clue_ros.data.scenes import SceneImages
from clue_ros.encodings import promised_size


def read_tabletop(*folders: str | Path, seed: int = 0) -> Reading:
    """A clear and an ambiguous instruction about every scene of `clue-tabletop write` folders, drawn with the seed.

    Left out and counted: scenes in which no such instruction was found, or whose picture cannot be read. InputError names a
    line that is no scene.
    """
    return Reading(f"tabletop {', '.join(map(str, folders))}", partial(_records, folders, seed))


def record_of(picture: Picture, size: tuple[int, int], example: Example, name: str) -> Record:
    """An example about a scene as a record called `name`. size: (width, height) of its picture in pixels."""
    boxes = tuple(in_pixels(box, size) for box in example.boxes)
    return Record(picture, example.prompt, name, "tabletop", example.ambiguous, boxes,
                  None if example.ambiguous else boxes[0], example.question, example.label)


def _records(folders: tuple[str | Path, ...], seed: int, skipped: Counter[str]) -> Iterator[Record]:
    source = SceneImages(*folders)
    for index, scene in enumerate(source.scenes):
        picture = source.picture(index)
        size = promised_size(source.encoded[index])
        if not all(size):
            skipped["scene whose picture cannot be read"] += 1
            continue
        for name, draw in (("clear", examples.clear), ("ambiguous", examples.ambiguous)):
            example = draw(scene, np.random.default_rng((seed, index)), source.phrasing)
            if example is None:
                skipped[f"scene without an instruction that is {name}"] += 1
            else:
                yield record_of(picture, size, example, f"{index}/{name}")
