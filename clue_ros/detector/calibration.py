"""From logits to probabilities that mean something, on held-out data: Platt scaling and the threshold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from clue_ros.detector.network import DetectorSettings


def calibrate(settings: DetectorSettings, probability: np.ndarray, truth: np.ndarray) -> DetectorSettings:
    """Settings whose P is calibrated (Platt 1999) and whose threshold gives the best F1 on this data.

    probability float[n]: P of a detector with these `settings`; truth bool[n]: whether the prompt was ambiguous.
    """
    clipped = np.clip(probability.astype(np.float64), 1e-6, 1 - 1e-6)
    logit = np.log(clipped / (1 - clipped))
    raw = (logit - settings.shift) / settings.scale
    fitted = LogisticRegression(C=1e6).fit(raw[:, None], truth)
    scale, shift = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if scale <= 0:
        raise ValueError("the detector's logit does not grow with ambiguity: train it before calibrating")
    calibrated = 1 / (1 + np.exp(-(scale * raw + shift)))
    grid = np.linspace(0.02, 0.98, 97)
    scores = np.array([f1_score(truth, calibrated >= t, zero_division=0) for t in grid])
    best = grid[scores >= scores.max() - 1e-12]
    return replace(settings, scale=scale, shift=shift, threshold=float(np.median(best)))
