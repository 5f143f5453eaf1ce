"""Batches from the records of any data set: what `clue-train ivg --reader invig` learns from, as the paper's dialog training does.

    Reading of Record --> lessons, kept in the run's folder --> batch n

A record teaches when it says what is right to answer: to ask, in which words if they are known, or the box of the one object
that is meant. Its picture is kept squashed to the model's side, so that tens of thousands of photographs fit on a disk and
are read in any order.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from clue_ros.data.augment import camera_noise
from clue_ros.data.collate import collate, encode
from clue_ros.data.examples import Example
from clue_ros.data.readers import Labelled
from clue_ros.data.records import Record, decode
from clue_ros.files import replacing
from clue_ros.training.base import Batches, supervision
from clue_ros.training.vision import patch_at, patches_in
from clue_ros.types import Box, InputError, Prompt, Turn
from clue_ros.vlm.preprocess import squash, to_pixel_values

log = logging.getLogger(__name__)
QUALITY = 95  # of the kept JPEG files
LESSONS, DONE = "lessons", "lessons.jsonl"  # in a run's folder; in that, when all of them are written
UNTOLD = "record that does not say what is right to answer"
UNREADABLE = "record whose picture cannot be read"


@dataclass(frozen=True)
class Lesson:
    """picture: its number. example: what was said, and what is right to answer."""

    picture: int
    example: Example

    @property
    def known(self) -> bool:
        """Whether the example's boxes are all that the prompt may mean: a record has all of them or none."""
        return bool(self.example.boxes)


def lesson_of(record: Record, picture: int) -> Lesson | None:
    """None when the record does not say what is right to answer. Ambiguous: the question, "" where nobody worded one."""
    if record.ambiguous is None or not (record.ambiguous or record.boxes):
        return None
    width, height = record.picture.size or record.picture.frame().size
    boxes = tuple(Box(b.x1 / width, b.y1 / height, b.x2 / width, b.y2 / height) for b in record.boxes)
    example = Example(record.prompt, boxes, record.label, (record.question or "") if record.ambiguous else None)
    return Lesson(picture, example)


def keep_lessons(labelled: Labelled, folder: Path, side: int) -> list[Lesson]:
    """The lessons of a data set, written to `folder` with their pictures, or as an earlier run left them there. InputError when
    there are none, or when they teach only to ask or only to point: such a model would do nothing else."""
    done = folder / DONE
    if not done.is_file():
        left_out: Counter[str] = Counter()
        with replacing(done) as part, part.open("w", encoding="utf-8") as file:
            kinds = set()
            for lesson in _written(labelled, folder, side, left_out):
                file.write(json.dumps(asdict(lesson)) + "\n")
                kinds.add(lesson.example.question is None)
            for reason, count in left_out.items():
                log.warning("%s: left out %d x %s", labelled.data, count, reason)
            _check_kinds(kinds, labelled)
    return [_read(json.loads(line)) for line in done.read_text(encoding="utf-8").splitlines()]


def _check_kinds(kinds: set[bool], labelled: Labelled) -> None:
    """kinds: whether a lesson's right answer is to point."""
    if len(kinds) < 2:
        only = ("nothing but to point" if True in kinds else "nothing but to ask") if kinds else "nothing"
        raise InputError(f"{labelled.data} teaches {only}: it needs records whose one object has a box, and others which are "
                         "ambiguous")


def _written(labelled: Labelled, folder: Path, side: int, left_out: Counter[str]) -> Iterator[Lesson]:
    """Lessons in the order of their records; records about one picture follow one another."""
    name, number, unreadable = None, -1, None
    for record in tqdm(labelled.read(), desc="lessons"):
        if not labelled.part.holds(record.picture.group):
            continue
        if record.picture.name == unreadable:
            left_out[UNREADABLE] += 1
            continue
        another = record.picture.name != name
        try:
            lesson = lesson_of(record, number + another)
            small = squash(record.picture.frame().rgb, side) if lesson and another else None
        except InputError:
            unreadable = record.picture.name
            left_out[UNREADABLE] += 1
            continue
        if lesson is None:
            left_out[UNTOLD] += 1
            continue
        if another:
            name, number = record.picture.name, lesson.picture
            (folder / f"{number}.jpg").write_bytes(
                cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
        yield lesson


def _read(kept: dict) -> Lesson:
    """Inverse of `asdict`."""
    example = kept["example"]
    prompt = Prompt(example["prompt"]["instruction"], tuple(Turn(**turn) for turn in example["prompt"]["turns"]))
    boxes = tuple(Box(**box) for box in example["boxes"])
    return Lesson(kept["picture"], Example(prompt, boxes, example["label"], example["question"]))


@dataclass(frozen=True, kw_only=True)
class LessonBatches(Batches):
    """Pictures out of `folder` with some of their lessons, clear ones half of the time where a picture has both kinds."""

    lessons: list[Lesson]
    folder: Path

    @cached_property
    def _by_picture(self) -> list[list[list[Lesson]]]:
        """Of every picture, one or both kinds: those that are clear, those that are not."""
        found: dict[int, tuple[list[Lesson], list[Lesson]]] = defaultdict(lambda: ([], []))
        for lesson in self.lessons:
            found[lesson.picture][lesson.example.question is not None].append(lesson)
        return [[kind for kind in kinds if kind] for _, kinds in sorted(found.items())]

    def __call__(self, step: int) -> dict[str, Tensor]:
        """The fields of `base.GroundedBatches` that the adapters' recipes read."""
        rng = np.random.default_rng((self.seed, step))
        pixels, chosen = [], []
        for _ in range(self.images):
            kinds = self._by_picture[int(rng.integers(len(self._by_picture)))]
            some = [kinds[int(rng.integers(len(kinds)))] for _ in range(self.prompts)]
            chosen += [lessons[int(rng.integers(len(lessons)))] for lessons in some]
            file = self.folder / f"{chosen[-1].picture}.jpg"
            pixels.append(to_pixel_values(camera_noise(decode(file.read_bytes(), str(file)), rng), self.side))
        said = [lesson.example for lesson in chosen]
        batch = collate([encode(example, self.grammar) for example in said], self.grammar.pad)
        batch["pixel_values"] = torch.from_numpy(np.stack(pixels))
        batch |= supervision([self._patches(example) for example in said], [example.boxes for example in said])
        batch["ambiguous"] = torch.tensor([example.question is not None for example in said])
        batch["known"] = torch.tensor([lesson.known for lesson in chosen])
        return batch

    def _patches(self, example: Example) -> np.ndarray:
        """bool[n, N]: the patches whose centre lies in each of the boxes; that under the box's own centre always does."""
        found = np.zeros((len(example.boxes), self.grid, self.grid), bool)
        for mine, box in zip(found, example.boxes):
            mine[:] = patches_in(box, self.grid)
            mine[patch_at(*box.centre, self.grid)] = True
        return found.reshape(len(found), self.grid ** 2)
