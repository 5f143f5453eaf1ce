"""Scores, each with a 95 % bootstrap interval. Pure: arrays in, numbers out.

They are written in NumPy because an interval computes each a thousand times, and scikit-learn's checks of its input take
longer than the score; the tests hold them against scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from clue_ros.types import InputError

AURC, ACTS_WRONGLY, ASKS = "area under risk-coverage", "acts wrongly, of all prompts", "asks"


@dataclass(frozen=True)
class Score:
    """A metric's value, its 95 % interval over resampled examples, and how many examples there were."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(metric: Callable[..., float], *columns: np.ndarray, rounds: int = 1000, seed: int = 0,
              groups: np.ndarray | None = None, basic: bool = False) -> Score:
    """The metric of the columns and its percentile interval (Efron 1979); rounds in which it is undefined are left out. basic: the
    basic interval instead (Davison & Hinkley 1997), not below 0, for a metric such as the calibration error that is greater the fewer
    the examples: every resample has that bias once more, so that the percentiles lie above the truth.

    groups: one of n labels for each example; examples of one label, such as those of one photograph, are not independent and
    are drawn together (the cluster bootstrap, Davison & Hinkley 1997). None: each is drawn alone. InputError when there are
    no examples.
    """
    columns = tuple(np.asarray(c) for c in columns)
    count = len(columns[0])
    if count == 0:
        raise InputError("there is nothing to score: no examples were found")
    rng = np.random.default_rng(seed)
    values = []
    draw = _drawing(count, groups)
    for _ in range(rounds):
        index = draw(rng)
        value = metric(*(c[index] for c in columns))
        if np.isfinite(value):
            values.append(value)
    low, high = np.percentile(values, [2.5, 97.5]) if values else (np.nan, np.nan)
    value = float(metric(*columns))
    if basic:
        low, high = max(0.0, 2 * value - high), max(0.0, 2 * value - low)
    return Score(value, float(low), float(high), count)


def _drawing(count: int, groups: np.ndarray | None) -> Callable[[np.random.Generator], np.ndarray]:
    """What draws as many examples, or as many groups of them, as there are: their indices, int64[about count]."""
    if groups is None:
        return lambda rng: rng.integers(count, size=count)
    _, number = np.unique(groups, return_inverse=True)
    members, sizes = np.argsort(number, kind="stable"), np.bincount(number)
    starts = np.cumsum(sizes) - sizes

    def draw(rng: np.random.Generator) -> np.ndarray:
        drawn = rng.integers(len(sizes), size=len(sizes))
        ends = np.cumsum(sizes[drawn])
        return members[np.arange(ends[-1]) + np.repeat(starts[drawn] - ends + sizes[drawn], sizes[drawn])]
    return draw


def accuracy_at(threshold: float) -> Callable[[np.ndarray], float]:
    """Share of IoUs of at least `threshold`; an invalid output counts as IoU 0."""
    return lambda iou: float(np.mean(iou >= threshold))


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0


def precision(truth: np.ndarray, said: np.ndarray) -> float:
    """Share of what was said that is true; 0 when nothing was said. bool[n] each."""
    return _ratio((truth & said).sum(), said.sum())


def recall(truth: np.ndarray, said: np.ndarray) -> float:
    """Share of what is true that was said; 0 when nothing is true. bool[n] each."""
    return _ratio((truth & said).sum(), truth.sum())


def f1(truth: np.ndarray, said: np.ndarray) -> float:
    """Harmonic mean of precision and recall. bool[n] each."""
    return _ratio(2 * (truth & said).sum(), truth.sum() + said.sum())


def best_f1_threshold(truth: np.ndarray, probability: np.ndarray) -> float:
    """The threshold of 0.02, 0.03 ... 0.98 with the greatest F1; where several have it, the middle of their longest run."""
    grid = np.linspace(0.02, 0.98, 97)
    scores = np.array([f1(truth, probability >= t) for t in grid])
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    longest = max(np.split(best, np.flatnonzero(np.diff(best) > 1) + 1), key=len)
    return float(grid[longest[len(longest) // 2]])


def auroc(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve, by ranks (Mann & Whitney 1947); nan when only one class is present."""
    positive = int(truth.sum())
    negative = len(truth) - positive
    if not positive or not negative:
        return float("nan")
    return float((rankdata(score)[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def auroc_within(truth: np.ndarray, score: np.ndarray, stratum: np.ndarray) -> float:
    """AUROC among examples of one stratum: the share of pairs of a true and an untrue one there that the score puts in order, ties
    half (Janes & Pepe 2009); nan where no stratum has both. bool[n], float[n], labels[n]."""
    ordered = pairs = 0.0
    for value in np.unique(stratum):
        mine = truth[stratum == value]
        count = float(mine.sum()) * float((~mine).sum())
        if count:
            ordered, pairs = ordered + count * auroc(mine, score[stratum == value]), pairs + count
    return ordered / pairs if pairs else float("nan")


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """AUPRC as the sum of precision times the step in recall, equal scores together; nan when nothing is true."""
    if not truth.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)  # of each group of equal scores
    hits, said = np.cumsum(truth[order])[last], np.flatnonzero(last) + 1
    return float(np.sum(np.diff(hits, prepend=0) / truth.sum() * hits / said))


def expected_calibration_error(truth: np.ndarray, probability: np.ndarray, bins: int = 10) -> float:
    """ECE with equal-width bins (Guo et al. 2017): mean |share of positives - mean probability|, weighted by count."""
    said, found, weight = reliability(truth, probability, bins)
    return float(np.abs(found - said) @ weight)


def reliability(truth: np.ndarray, probability: np.ndarray, bins: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each equal-width bin that holds any: mean probability, share of positives, and its share of all; float64[up to bins]."""
    which = np.minimum((probability * bins).astype(int), bins - 1)
    full, which, counts = np.unique(which, return_inverse=True, return_counts=True)
    sums = [np.bincount(which, weights=values, minlength=len(full)) for values in (probability, truth)]
    return sums[0] / counts, sums[1] / counts, counts / len(truth)


def area_under_risk_coverage(wrong: np.ndarray, probability: np.ndarray) -> float:
    """AURC (Geifman & El-Yaniv 2017): mean share of wrong acts over all coverages."""
    return float(np.mean(risk_by_coverage(wrong, probability)))


def risk_by_coverage(wrong: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """float64[n]: share of wrong acts among the k least ambiguous prompts, k = 1..n; of prompts that are equally ambiguous, as
    many as their order would give on average. bool[n], float[n]."""
    _, which, counts = np.unique(probability, return_inverse=True, return_counts=True)
    share = np.bincount(which, weights=wrong) / counts
    return np.cumsum(np.repeat(share, counts)) / np.arange(1, len(which) + 1)


def risk_scores(wrong: np.ndarray, probability: np.ndarray, threshold: float,
                groups: np.ndarray | None = None) -> dict[str, Score]:
    """What acting without a question below the threshold costs. wrong bool[n]: acting would be. groups: as `bootstrap`."""
    acts = probability < threshold
    return {ACTS_WRONGLY: bootstrap(np.mean, acts & wrong, groups=groups),
            ASKS: bootstrap(np.mean, ~acts, groups=groups),
            AURC: bootstrap(area_under_risk_coverage, wrong, probability, groups=groups)}


def detection_scores(truth: np.ndarray, probability: np.ndarray, threshold: float, rounds: int = 1000,
                     groups: np.ndarray | None = None) -> dict[str, Score]:
    """Precision, recall, F1 at the threshold; AUROC, AUPRC and ECE of the probability. truth bool[n], probability [n].
    groups: as `bootstrap`."""
    truth, probability = np.asarray(truth, bool), np.asarray(probability, np.float64)
    said = probability >= threshold
    scores = {name: bootstrap(metric, truth, said, rounds=rounds, groups=groups) for name, metric in
              {"precision": precision, "recall": recall, "F1": f1}.items()}
    soft = {"AUROC": auroc, "AUPRC": average_precision, "ECE": expected_calibration_error}
    return scores | {name: bootstrap(metric, truth, probability, rounds=rounds, groups=groups, basic=name == "ECE")
                     for name, metric in soft.items()}
