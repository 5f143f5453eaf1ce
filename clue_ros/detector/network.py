"""Attention maps in, P(ambiguous), heatmap and candidate boxes out.

CLUE (arXiv 2602.08999) averages the heads of one middle layer into one map; here every head is a channel of its own,
since few heads localize and the mean is noisy (arXiv 2503.06287); `head_mean` gives the paper's variant. Candidate boxes
are read from the cells as in FCOS (arXiv 1904.01355).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from clue_ros.types import Ambiguity, Box, Candidate, ModelError

MOST = 4096  # of anything that is counted in a detector: a damaged file must not take the memory


@dataclass(frozen=True)
class DetectorSettings:
    """Everything a detector file says beside its weights.

    layers: probed decoder layers, 0-based. channels: layers x heads. grid: image tokens a side. scale, first_token, shift:
    calibration, P = sigmoid(scale x logit + first_token x log odds of the decoder's own first token + shift); with
    first_token 0 it is Platt's. threshold: of the calibrated P. zoom: logit and log odds are the mean of two views, the whole
    picture and its middle that many times as large (test-time augmentation); 1: of the whole picture alone.
    """

    layers: tuple[int, ...]
    channels: int
    grid: int
    width: int = 32
    head_mean: bool = False
    scale: float = 1.0
    first_token: float = 0.0
    shift: float = 0.0
    threshold: float = 0.5
    zoom: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers or any(type(layer) is not int or layer < 0 for layer in self.layers):
            raise ValueError(f"layers must be whole numbers from 0, at least one, got {list(self.layers)}")
        for name in ("channels", "grid", "width"):
            if type(value := getattr(self, name)) is not int or not 1 <= value <= MOST:
                raise ValueError(f"{name} must be a whole number from 1 to {MOST}, got {value!r}")
        for name in ("scale", "first_token", "shift", "threshold", "zoom"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{name} must be a number, got {value!r}")
        if type(self.head_mean) is not bool:
            raise ValueError(f"head_mean must be true or false, got {self.head_mean!r}")
        if not 0.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold must lie in 0..1, got {self.threshold}")
        if not 1.0 <= self.zoom <= 2.0:
            raise ValueError(f"zoom must lie in 1..2, got {self.zoom}")

    @property
    def zooms(self) -> tuple[float, ...]:
        """Of every view that is taken, the whole picture first."""
        return (1.0, self.zoom) if self.zoom > 1 else (1.0,)


def probability_of(settings: DetectorSettings, cnn: np.ndarray | float, asks: np.ndarray | float) -> np.ndarray:
    """Calibrated P(ambiguous), float64[n] or a number, of the CNN's logit and the log odds that the decoder would ask."""
    evidence = settings.scale * cnn + settings.first_token * asks + settings.shift
    return 0.5 * (1 + np.tanh(0.5 * evidence))  # the logistic function, which cannot overflow so


@dataclass(frozen=True, eq=False)
class View:
    """What one prefill has for the detector. maps: float32[C, G, G], as in `Prefill`. asks: log odds that the decoder would
    ask (`Vlm.log_odds_to_ask`)."""

    maps: np.ndarray
    asks: float = 0.0


@dataclass
class Reading:
    """Raw outputs: ambiguous float[B] logits; cells float[B, G, G] logits "part of a candidate"; sides
    float[B, 4, G, G], distances from the cell's centre to the candidate's left, top, right, bottom, image fractions."""

    ambiguous: Tensor
    cells: Tensor
    sides: Tensor


class Detector(nn.Module):
    """Three convolutions, two dense heads, and a pooled verdict. About 40,000 parameters."""

    def __init__(self, settings: DetectorSettings):
        super().__init__()
        self.settings = settings
        width, inputs = settings.width, 1 if settings.head_mean else settings.channels
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1), nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1), nn.GELU())
        self.dense = nn.Conv2d(width, 5, 1)
        self.dropout = nn.Dropout(0.2)
        self.verdict = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, 1))

    def forward(self, maps: Tensor) -> Reading:
        """maps float[B, C, G, G], attention shares, each map summing to 1."""
        if self.settings.head_mean:
            maps = maps.mean(1, keepdim=True)
        cells = maps.shape[-1] * maps.shape[-2]
        features = self.body(torch.log1p(maps.float() * cells))  # uniform attention becomes log 2 everywhere
        dense = self.dense(features)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        return Reading(self.verdict(self.dropout(pooled))[:, 0], dense[:, 0], nn.functional.softplus(dense[:, 1:] - 2))

    @torch.inference_mode()
    def judge(self, views: Sequence[View], size: tuple[int, int], threshold: float | None = None) -> Ambiguity:
        """The verdict on an image of (width, height) pixels: P of the views' mean; heatmap and candidates of the first view,
        which is the whole image. ModelError when it is no number: as such it would be below every threshold, and the robot
        would act."""
        s = self.settings
        for view in views:
            if view.maps.shape != (s.channels, s.grid, s.grid):
                raise ValueError(f"the detector expects maps float32[{s.channels}, {s.grid}, {s.grid}], received "
                                 f"{list(view.maps.shape)}: it was trained for another model")
        reading = self(torch.from_numpy(np.stack([view.maps for view in views])).to(self.dense.weight.device))
        heat = reading.cells[0].sigmoid().cpu().numpy()
        cnn, asks = float(reading.ambiguous.mean()), float(np.mean([view.asks for view in views]))
        probability = float(probability_of(s, cnn, asks))
        if not (math.isfinite(probability) and np.isfinite(heat).all()):
            raise ModelError("the detector's verdict is no number: use another dtype than the present one, or copy the "
                             "model again")
        candidates = boxes_from_cells(heat, reading.sides[0].cpu().numpy(), size)
        return Ambiguity(probability, s.threshold if threshold is None else threshold, heat, candidates, cnn, asks)


def boxes_from_cells(heat: np.ndarray, sides: np.ndarray, size: tuple[int, int], least: float = 0.3,
                     overlap: float = 0.4, most: int = 8) -> tuple[Candidate, ...]:
    """Boxes of the cells above `least`, greedy non-maximum suppression at IoU `overlap`, best first.

    heat float32[G, G], 0..1; sides float32[4, G, G] as in `Reading`; size (width, height) in pixels.
    """
    grid = heat.shape[0]
    width, height = size
    kept: list[Candidate] = []
    for flat in np.argsort(-heat, axis=None):
        row, column = divmod(int(flat), grid)
        if heat[row, column] < least or len(kept) == most:
            break
        x, y = (column + 0.5) / grid, (row + 0.5) / grid
        left, top, right, bottom = sides[:, row, column]
        box = Box(max(0.0, float(x - left)) * width, max(0.0, float(y - top)) * height,
                  min(1.0, float(x + right)) * width, min(1.0, float(y + bottom)) * height)
        if all(box.iou(k.box) < overlap for k in kept):
            kept.append(Candidate(box, float(heat[row, column])))
    return tuple(kept)
