"""Scores, each with a 95 % bootstrap interval. Pure: arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score


@dataclass(frozen=True)
class Score:
    """A metric's value, its 95 % interval over resampled examples, and how many examples there were."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(metric: Callable[..., float], *columns: np.ndarray, rounds: int = 1000, seed: int = 0) -> Score:
    """The metric of the columns and its percentile interval (Efron 1979); rounds in which it is undefined are left out."""
    columns = tuple(np.asarray(c) for c in columns)
    count = len(columns[0])
    if count == 0:
        raise ValueError("there is nothing to score: no examples were found")
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(rounds):
        index = rng.integers(count, size=count)
        value = metric(*(c[index] for c in columns))
        if np.isfinite(value):
            values.append(value)
    low, high = np.percentile(values, [2.5, 97.5]) if values else (np.nan, np.nan)
    return Score(float(metric(*columns)), float(low), float(high), count)


def accuracy_at(threshold: float) -> Callable[[np.ndarray], float]:
    """Share of IoUs of at least `threshold`; an invalid output counts as IoU 0."""
    return lambda iou: float(np.mean(iou >= threshold))


def auroc(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve; nan when only one class is present."""
    return float(roc_auc_score(truth, score)) if 0 < truth.sum() < len(truth) else float("nan")


def expected_calibration_error(truth: np.ndarray, probability: np.ndarray, bins: int = 10) -> float:
    """ECE with equal-width bins (Guo et al. 2017): mean |share of positives - mean probability|, weighted by count."""
    which = np.minimum((probability * bins).astype(int), bins - 1)
    return float(sum(abs(truth[which == b].mean() - probability[which == b].mean()) * (which == b).mean()
                     for b in range(bins) if (which == b).any()))


def detection_scores(truth: np.ndarray, probability: np.ndarray, threshold: float) -> dict[str, Score]:
    """Precision, recall, F1 at the threshold; AUROC, AUPRC and ECE of the probability. truth bool[n], probability [n]."""
    truth, said = np.asarray(truth, bool), np.asarray(probability) >= threshold
    hard = {"precision": precision_score, "recall": recall_score, "F1": f1_score}
    scores = {name: bootstrap(lambda t, s, m=metric: float(m(t, s, zero_division=0)), truth, said)
              for name, metric in hard.items()}
    scores["AUROC"] = bootstrap(auroc, truth, probability)
    scores["AUPRC"] = bootstrap(lambda t, p: float(average_precision_score(t, p)) if t.any() else np.nan, truth, probability)
    scores["ECE"] = bootstrap(expected_calibration_error, truth, probability)
    return scores
