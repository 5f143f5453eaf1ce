"""Examples to padded token batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clue_ros.data.examples import Example
from clue_ros.vlm.tokens import LOCATIONS, Grammar

UNIT = (1, 1)  # boxes of examples are fractions: an image of one pixel by one


@dataclass(frozen=True)
class Row:
    """Tokens of one example. instance[k]: which of the example's boxes suffix token k belongs to, -1 for none."""

    prefix: tuple[int, ...]
    words: tuple[bool, ...]
    suffix: tuple[int, ...]
    instance: tuple[int, ...]


def encode(example: Example, grammar: Grammar, *, places: bool = True) -> Row:
    """A question when the example has one, else its boxes in order, or without `places` what it is called only."""
    encoded = grammar.prefix(example.prompt)
    if example.question is not None or not places:
        suffix = grammar.name_suffix(example.label) if example.question is None else grammar.question_suffix(example.question)
        return Row(encoded.ids, encoded.words, suffix, (-1,) * len(suffix))
    suffix = grammar.boxes_suffix(list(example.boxes), UNIT, example.label)
    instance, box = [], -1
    for token in suffix:
        location = 0 <= token - grammar.first_location < LOCATIONS
        if location and (not instance or instance[-1] < 0):
            box += 1
        instance.append(box if location else -1)
    return Row(encoded.ids, encoded.words, suffix, tuple(instance))


def collate(rows: Sequence[Row], pad: int) -> dict[str, Tensor]:
    """Right-padded batch.

    ids int64[B, T]; prefix, lengths int64[B]; words bool[B, T]: the detector's query rows; labels int64[B, T]: the
    token that position t should predict (the suffix shifted by one), -100 elsewhere; instance int64[B, T]: the box
    number that position t is about to predict a corner of, -1 elsewhere.
    """
    total = max(len(r.prefix) + len(r.suffix) for r in rows)
    ids = np.full((len(rows), total), pad)
    words = np.zeros((len(rows), total), bool)
    labels, instance = np.full((len(rows), total), -100), np.full((len(rows), total), -1)
    for k, row in enumerate(rows):
        start, end = len(row.prefix), len(row.prefix) + len(row.suffix)
        ids[k, :end] = row.prefix + row.suffix
        words[k, :start] = row.words
        labels[k, start - 1:end - 1] = row.suffix
        instance[k, start - 1:end - 1] = row.instance
    return {"ids": torch.from_numpy(ids), "words": torch.from_numpy(words), "labels": torch.from_numpy(labels),
            "instance": torch.from_numpy(instance), "prefix": torch.tensor([len(r.prefix) for r in rows]),
            "lengths": torch.tensor([len(r.prefix) + len(r.suffix) for r in rows])}
