"""The same scores for any labelled data set, through its reader, and what a model says of any data set: no twins and no rules
about scenes are needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from clue_ros.data.readers import Labelled
from clue_ros.data.records import Record, draw
from clue_ros.evaluation.looks import Look, Seen, Table, Target, look, usable, verdict_scores
from clue_ros.evaluation.metrics import bootstrap, risk_scores
from clue_ros.files import check_file, replacing
from clue_ros.pipeline import Clue
from clue_ros.types import Box, InputError


def look_at(clue: Clue, data: Labelled, seed: int = 0, limit: int | None = None) -> list[Look]:
    """One look at each record of the data's part that is known to be clear or ambiguous, or at `limit` of them drawn with the
    seed; no more than one picture is in memory. InputError when there is none."""
    rng = np.random.default_rng(seed)
    def seen(record: Record) -> Look:
        return look(clue, record.picture.frame(), record.prompt, record.ambiguous, _in_mind(record, rng), record.picture.group)[0]
    looks = list(usable(seen, _drawn(data, rng, limit, lambda record: record.ambiguous is not None), attrgetter("id")))
    if not looks:
        raise InputError("no prompt of this data set is known to be clear or ambiguous: there is nothing to measure")
    return looks


def _drawn(data: Labelled, rng: np.random.Generator, limit: int | None, keep: Callable[[Record], bool]) -> Iterator[Record]:
    """The records of the data's part that `keep` takes, or `limit` of them, with a progress bar. To draw them all are read
    twice; else once, for those of a hub are fetched each time."""
    def wanted(record: Record) -> bool:
        return data.part.holds(record.picture.group) and keep(record)
    reading = data.read()
    chosen = None if limit is None else set(draw(range(reading.count(wanted)), rng, limit))
    drawn = (record for number, record in enumerate(filter(wanted, reading)) if chosen is None or number in chosen)
    yield from tqdm(drawn, total=chosen and len(chosen), desc="prompts")


def _in_mind(record: Record, rng: np.random.Generator) -> Target | None:
    """What the person means: what the record says, else one of the objects that the prompt may mean."""
    if record.target is not None or not record.boxes:
        return record.target
    return record.boxes[int(rng.integers(len(record.boxes)))]


def records(clue: Clue, data: Labelled, seed: int = 0, limit: int | None = None) -> Table:
    """What can be said of the data set: each score needs its kind of prompts, and is left out without them."""
    looks = look_at(clue, data, seed, limit)
    seen, table = Seen.of(looks), {}
    clear = [one for one in looks if not one.ambiguous and one.right is not None]
    if clear:
        table["clear prompts: right object"] = bootstrap(np.mean, [k.right for k in clear], groups=[k.group for k in clear])
    if seen.ambiguous.any() and not seen.ambiguous.all():
        table |= {f"ambiguity {k}": v for k, v in verdict_scores(clue, seen).items()}
    return table | risk_scores(seen.wrong, seen.probability, clue.threshold, seen.groups)


def write_predictions(clue: Clue, data: Labelled, file: Path, seed: int = 0, limit: int | None = None) -> int:
    """What the model says of each record, labelled or not, as JSON lines that `predictions` scores; returns how many.

    The box is where it would point if it acted at once, also where it asks; the question is null where it does not.
    InputError when there is nothing to look at, or the file is a folder.
    """
    check_file(file)  # before the looks, which take long
    count = 0
    with replacing(file) as part, part.open("w", encoding="utf-8") as lines:
        drawn = _drawn(data, np.random.default_rng(seed), limit, lambda record: True)
        for count, said in enumerate(usable(partial(_prediction, clue), drawn, attrgetter("id")), start=1):
            lines.write(json.dumps(said) + "\n")
        if not count:
            raise InputError(f"{data.data} holds no instruction about a picture: there is nothing to look at")
    return count


def _prediction(clue: Clue, record: Record) -> dict:
    frame = record.picture.frame()
    seen = clue.understand(frame, record.prompt)
    found = clue.point(seen.prefill, frame, seen.belief)
    question = clue.new_question(seen.prefill, record.prompt) if seen.in_doubt else None
    said = {"id": record.id, "image": record.picture.group, "instruction": record.prompt.instruction,
            "bbox": _corners(found.box), "label": found.label, "probability": float(seen.ambiguity.probability),
            "question": question and question.text}
    if record.ambiguous is not None:
        said["ambiguous"] = record.ambiguous
    if record.ambiguous is False and isinstance(record.target, Box):
        said["gt_bbox"] = _corners(record.target)
    return said


def _corners(box: Box) -> list[float]:
    """x1, y1, x2, y2 in source pixels."""
    return [round(float(v), 2) for v in (box.x1, box.y1, box.x2, box.y2)]
