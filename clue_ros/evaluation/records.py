"""The same scores for any labelled data set, through its reader: no twins and no rules about scenes are needed."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from clue_ros.data.readers import Labelled
from clue_ros.data.records import Record, draw
from clue_ros.evaluation.looks import Look, Seen, Table, Target, look, verdict_scores
from clue_ros.evaluation.metrics import bootstrap, risk_scores
from clue_ros.pipeline import Clue
from clue_ros.types import InputError


def look_at(clue: Clue, data: Labelled, seed: int = 0, limit: int | None = None) -> list[Look]:
    """One look at each record of the data's part that is known to be clear or ambiguous, or at `limit` of them drawn with the
    seed; no more than one picture is in memory. InputError when there is none."""
    def known(record: Record) -> bool:
        return record.ambiguous is not None and data.part.holds(record.picture.name)
    reading = data.read()
    rng, count = np.random.default_rng(seed), reading.count(known)
    if not count:
        raise InputError("no prompt of this data set is known to be clear or ambiguous: there is nothing to measure")
    chosen = set(draw(range(count), rng, limit))
    records = (record for number, record in enumerate(filter(known, reading)) if number in chosen)
    return [look(clue, record.picture.frame(), record.prompt, record.ambiguous, _in_mind(record, rng),
                 record.picture.name)[0]
            for record in tqdm(records, total=len(chosen), desc="prompts")]


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
