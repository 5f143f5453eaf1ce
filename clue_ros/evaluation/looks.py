"""One look at a prompt whose truth is known: what the detector and the decoder made of it, and where the box would be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.special import expit

from clue_ros.evaluation.metrics import Score, bootstrap, detection_scores, f1
from clue_ros.pipeline import Clue
from clue_ros.types import Ambiguity, Box, Frame, InputError, Prompt
from clue_ros.vlm.paligemma import Prefill

log = logging.getLogger(__name__)
Asked, T = TypeVar("Asked"), TypeVar("T")
Table = dict[str, Score]
Target = Box | tuple[float, float]  # pixels; only a point on the object where no more is known


def is_hit(box: Box, target: Target) -> bool:
    """Whether a box is that object: IoU >= 0.5 with its box, or its point inside."""
    return box.iou(target) >= 0.5 if isinstance(target, Box) else box.contains(*target)


def acting_is_wrong(ambiguous: np.ndarray, right: np.ndarray) -> np.ndarray:
    """bool[n]: whether acting at once would be: the prompt fits several objects, so that even the right one would be a guess, or
    the box is not the object in mind. ambiguous bool[n], right float[n]: as in `Seen`."""
    return ambiguous | (right == 0)


@dataclass(frozen=True)
class Look:
    """What one look gave. ambiguous: the truth. settled: the dialog left one object, so that the robot acts whatever the verdict.
    right: whether the box, had the robot acted at once, is the object in mind; None where nobody says which that is. group: what it
    shares with looks that are not independent of it, such as its picture's name."""

    ambiguous: bool
    verdict: Ambiguity
    settled: bool
    right: bool | None
    group: object


def look(clue: Clue, frame: Frame, prompt: Prompt, ambiguous: bool, target: Target | None, group: object,
         ) -> tuple[Look, Prefill]:
    """Take it; the prefill is for those who want to ask on, and too large to be kept for many. ambiguous and group: as in
    `Look`; target: what the person has in mind."""
    seen = clue.understand(frame, prompt)
    right = None if target is None else is_hit(clue.point(seen.prefill, frame, seen.belief).box, target)
    return Look(ambiguous, seen.ambiguity, seen.belief.settled, right, group), seen.prefill


def usable(take: Callable[[Asked], T], asked: Iterable[Asked], name: Callable[[Asked], str]) -> Iterator[T]:
    """What is made of each; those whose picture cannot be used, or whose words are more than the model can read, are left out,
    and told at the end. InputError where that is all of them."""
    left_out, made = [], 0
    for one in asked:
        try:
            taken = take(one)
        except InputError as error:
            left_out.append(f"{name(one)}: {error}")
        else:
            made += 1
            yield taken
    if left_out and not made:
        raise InputError(f"none of {len(left_out)} prompts can be used, the first {left_out[0]}")
    if left_out:
        log.warning("left out %d prompts that cannot be used, the first %s", len(left_out), left_out[0])


@dataclass(frozen=True)
class Seen:
    """n looks as arrays. ambiguous bool[n]: the truth. probability float[n]: by which the robot asks: the detector's P, 0 where the
    dialog settled it; settled bool[n]: where it did. cnn, asks: as in `Ambiguity`. right float[n]: `Look.right` as 0 or 1, NaN
    where nobody says. groups: `Look.group` of each."""

    ambiguous: np.ndarray
    probability: np.ndarray
    settled: np.ndarray
    cnn: np.ndarray
    asks: np.ndarray
    right: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(cls, looks: Iterable[Look]) -> Seen:
        """InputError when there is no look."""
        rows = [(k.ambiguous, 0.0 if k.settled else k.verdict.probability, k.settled, k.verdict.cnn, k.verdict.asks,
                 np.nan if k.right is None else float(k.right), k.group) for k in looks]
        if not rows:
            raise InputError("there is nothing to score: no prompts were found")
        return cls(*(np.array(column) for column in zip(*rows)))

    @property
    def wrong(self) -> np.ndarray:
        """bool[n]: `acting_is_wrong`."""
        return acting_is_wrong(self.ambiguous, self.right)

    @property
    def asks_probability(self) -> np.ndarray:
        """float[n]: P that the decoder would ask."""
        return expit(self.asks)


def verdict_scores(clue: Clue, seen: Seen) -> Table:
    """`detection_scores` at the threshold the risk sets, and F1 at P = 0.5 beside it. InputError where all prompts are of one
    kind, of which there is nothing to tell apart."""
    if seen.ambiguous.all() or not seen.ambiguous.any():
        kind, other = ("ambiguous", "clear") if seen.ambiguous.any() else ("clear", "ambiguous")
        raise InputError(f"all {len(seen.ambiguous)} prompts that were drawn are {kind}: ambiguity is scored on both kinds, so take "
                         f"data with {other} ones, or draw more (--limit)")
    scores = detection_scores(seen.ambiguous, seen.probability, clue.threshold, groups=seen.groups)
    return scores | {"F1 at P 0.5": bootstrap(f1, seen.ambiguous, seen.probability >= 0.5, groups=seen.groups)}
