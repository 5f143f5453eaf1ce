"""From several opinions to one P(ambiguous): of the CNN and of the decoder's own first token, about one view or two."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

SUREST = 4.0  # log odds; no opinion about one view counts for more, since among unfamiliar things each is surer than it is right


def bounded(log_odds: np.ndarray) -> np.ndarray:
    """float64 of the same shape: as they are near 0, never beyond +-`SUREST`."""
    return SUREST * np.tanh(np.asarray(log_odds, np.float64) / SUREST)


@dataclass(frozen=True)
class Weighing:
    """What calibrating sets of a detector; its weights stay as they are.

    P = sigmoid(scale x logit + first_token x log odds of the decoder's own first token + shift); with first_token 0 it is Platt's.
    threshold: of that P. zoom: logit and log odds are the mean of two views, each `bounded`, the whole picture and its middle
    that many times as large (test-time augmentation); 1: of the whole picture alone.
    """

    scale: float = 1.0
    first_token: float = 0.0
    shift: float = 0.0
    threshold: float = 0.5
    zoom: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{field.name} must be a number, got {value!r}")
        if not 0.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold must lie in 0..1, got {self.threshold}")
        if not 1.0 <= self.zoom <= 2.0:
            raise ValueError(f"zoom must lie in 1..2, got {self.zoom}")

    @property
    def zooms(self) -> tuple[float, ...]:
        """Of every view that is taken, the whole picture first."""
        return (1.0, self.zoom) if self.zoom > 1 else (1.0,)

    def probability(self, cnn: np.ndarray | float, asks: np.ndarray | float) -> np.ndarray:
        """Calibrated P(ambiguous), float64[n] or a number, of the CNN's logit and the log odds that the decoder would ask, each the
        mean of the views' (`bounded`)."""
        evidence = self.scale * cnn + self.first_token * asks + self.shift
        return 0.5 * (1 + np.tanh(0.5 * evidence))  # the logistic function, which cannot overflow so
