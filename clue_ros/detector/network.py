"""Attention maps in, P(ambiguous), heatmap and candidate boxes out.

CLUE (arXiv 2602.08999) averages the heads of one middle layer into one map; here every head is a channel of its own,
since few heads localize and the mean is noisy (arXiv 2503.06287); `head_mean` gives the paper's variant. Beside where the
words look, a channel may be where the newline that closes the prompt does: there the decoder makes up its mind. Candidate
boxes are read from the cells as in FCOS (arXiv 1904.01355).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from clue_ros.detector.jitter import SYMMETRIES
from clue_ros.detector.weighing import Weighing, bounded
from clue_ros.types import Ambiguity, Box, Candidate, ModelError

MOST = 4096  # of anything that is counted in a detector: a damaged file must not take the memory
RIVALS = 3  # candidates that the verdict compares
ABSENT = -12.0  # logit of a rival that is not there


@dataclass(frozen=True)
class DetectorSettings:
    """The shape of a detector's CNN, which its weights fit.

    layers: probed decoder layers, 0-based, a middle one first. closing: whether the newline that closes the prompt is read
    beside the words. channels: layers x heads, twice as many with `closing`. grid: image tokens a side. width: of the CNN's own
    layers, in channels. head_mean: the mean of all channels is read, not each.
    """

    layers: tuple[int, ...]
    channels: int
    grid: int
    width: int = 32
    head_mean: bool = False
    closing: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers or any(type(layer) is not int or layer < 0 for layer in self.layers):
            raise ValueError(f"layers must be whole numbers from 0, at least one, got {list(self.layers)}")
        for name in ("channels", "grid", "width"):
            if type(value := getattr(self, name)) is not int or not 1 <= value <= MOST:
                raise ValueError(f"{name} must be a whole number from 1 to {MOST}, got {value!r}")
        for name in ("head_mean", "closing"):
            if type(value := getattr(self, name)) is not bool:
                raise ValueError(f"{name} must be true or false, got {value!r}")


Maps = TypeVar("Maps", np.ndarray, Tensor)


def channels_of(maps: Maps, *, closing: bool) -> Maps:
    """What a detector reads of float[..., layers, 2, heads, G, G], as in `Prefill`: float[..., channels, G, G]."""
    chosen = maps[..., :2 if closing else 1, :, :, :]
    return chosen.reshape(*maps.shape[:-5], -1, *maps.shape[-2:])


def channel_count(layers: Sequence[int], heads: int, *, closing: bool) -> int:
    """How many maps `channels_of` gives."""
    return len(layers) * (1 + closing) * heads


@dataclass(frozen=True, eq=False)
class View:
    """What one prefill has for the detector. maps: float32[C, G, G] (`channels_of`). asks: log odds that the decoder would
    ask (`Vlm.log_odds_to_ask`)."""

    maps: np.ndarray
    asks: float = 0.0


@dataclass
class DetectorOutput:
    """Raw outputs: ambiguous float[B] logits; cells float[B, G, G] logits "part of a candidate"; sides
    float[B, 4, G, G], distances from the cell's centre to the candidate's left, top, right, bottom, image fractions."""

    ambiguous: Tensor
    cells: Tensor
    sides: Tensor


class Detector(nn.Module):
    """Three convolutions, two dense heads, and a verdict that compares the best candidates. About 40,000 parameters.

    The verdict reads the pooled picture, as in CLUE, and the features and logits of the `RIVALS` best candidates (`rivals`):
    an instruction is ambiguous when the second is as good as the first, wherever the two lie.
    """

    def __init__(self, settings: DetectorSettings, weighing: Weighing = Weighing()):
        super().__init__()
        self.settings, self.weighing = settings, weighing
        width, inputs = settings.width, 1 if settings.head_mean else settings.channels
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1), nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1), nn.GELU())
        self.dense = nn.Conv2d(width, 5, 1)
        self.dropout = nn.Dropout(0.2)
        self.verdict = nn.Sequential(nn.Linear((2 + RIVALS) * width + RIVALS, 2 * width), nn.GELU(), nn.Linear(2 * width, 1))

    def forward(self, maps: Tensor) -> DetectorOutput:
        """maps float[B, C, G, G], attention shares, each map summing to 1."""
        if self.settings.head_mean:
            maps = maps.mean(1, keepdim=True)
        patches = maps.shape[-1] * maps.shape[-2]
        features = self.body(torch.log1p(maps.float() * patches))  # uniform attention becomes log 2 everywhere
        dense = self.dense(features)
        cells, sides = dense[:, 0], nn.functional.softplus(dense[:, 1:] - 2)
        where, score = rivals(cells.detach(), boxes_of(sides.detach()), RIVALS)
        there = score.isfinite()
        theirs = features.flatten(2).gather(2, where[:, None].expand(-1, features.shape[1], -1)) * there[:, None]
        compared = cells.flatten(1).gather(1, where).where(there, ABSENT)
        seen = torch.cat([features.mean((2, 3)), features.amax((2, 3)), theirs.flatten(1), compared], 1)
        return DetectorOutput(self.verdict(self.dropout(seen))[:, 0], cells, sides)

    def from_all_sides(self, maps: Tensor) -> DetectorOutput:
        """The mean of what it finds in the maps float[B, C, G, G] as they are, and laid in the seven other ways (`Symmetry`): that is
        as true of them, and the errors differ."""
        count = len(SYMMETRIES)
        found = self(torch.cat([way.of(maps) for way in SYMMETRIES]))
        cells = [way.undo(part) for way, part in zip(SYMMETRIES, found.cells.chunk(count))]
        sides = [way.undo_sides(part) for way, part in zip(SYMMETRIES, found.sides.chunk(count))]
        return DetectorOutput(torch.stack(found.ambiguous.chunk(count)).mean(0), torch.stack(cells).mean(0), torch.stack(sides).mean(0))

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
        found = self.from_all_sides(torch.from_numpy(np.stack([view.maps for view in views])).to(self.dense.weight.device))
        heat = found.cells[0].sigmoid().cpu().numpy()
        cnn, asks = (float(bounded(opinions).mean()) for opinions in (found.ambiguous.cpu().numpy(), [view.asks for view in views]))
        probability = float(self.weighing.probability(cnn, asks))
        if not (math.isfinite(probability) and np.isfinite(heat).all()):
            raise ModelError("the detector's verdict is no number: use another dtype than the present one, or copy the "
                             "model again")
        candidates = candidates_of(found.cells[0], found.sides[0], size)
        return Ambiguity(probability, self.weighing.threshold if threshold is None else threshold, heat, candidates, cnn, asks)


def centres_of(grid: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """x and y of the cells' centres, row by row, both float[G x G], image fractions."""
    centres = (torch.arange(grid, device=device) + 0.5) / grid
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return x.flatten(), y.flatten()


def boxes_of(sides: Tensor) -> Tensor:
    """The box that each cell names, cut at the image's edge: float[B, 4, G, G] as in `DetectorOutput` to float[B, G x G, 4], x1 y1 x2
    y2 in image fractions."""
    x, y = centres_of(sides.shape[-1], sides.device)
    left, top, right, bottom = sides.flatten(2).unbind(1)
    return torch.stack([x - left, y - top, x + right, y + bottom], -1).clamp(0, 1)


def rivals(cells: Tensor, boxes: Tensor, count: int, overlap: float = 0.4) -> tuple[Tensor, Tensor]:
    """The best cells that name different objects, best first: greedy non-maximum suppression at IoU `overlap`.

    cells float[B, G, G], logits; boxes float[B, G x G, 4] as `boxes_of` gives. Returns cells' numbers int64[B, count], row by
    row, and their logits float[B, count], -inf where no further object is left.
    """
    left, area = cells.flatten(1).clone(), (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    where, scores = [], []
    for _ in range(count):
        score, best = left.max(1, keepdim=True)
        box = boxes.gather(1, best[..., None].expand(-1, 1, 4))
        common = (torch.minimum(box[..., 2:], boxes[..., 2:]) - torch.maximum(box[..., :2], boxes[..., :2])).clamp(min=0).prod(-1)
        same = common >= overlap * (area + area.gather(1, best) - common)
        left = left.masked_fill(same, -math.inf).scatter(1, best, -math.inf)
        where.append(best)
        scores.append(score)
    return torch.cat(where, 1), torch.cat(scores, 1)


def candidates_of(cells: Tensor, sides: Tensor, size: tuple[int, int], least: float = 0.3, overlap: float = 0.4,
                  most: int = 8) -> tuple[Candidate, ...]:
    """Boxes of the `rivals` whose score is at least `least`, best first.

    cells float[G, G] and sides float[4, G, G] as in `DetectorOutput`; size (width, height) in pixels.
    """
    width, height = size
    boxes = boxes_of(sides[None])
    where, logits = rivals(cells[None], boxes, most, overlap)
    kept = []
    for (x1, y1, x2, y2), score in zip(boxes[0, where[0]].tolist(), logits[0].sigmoid().tolist()):
        if score >= least:
            kept.append(Candidate(Box(x1 * width, y1 * height, x2 * width, y2 * height), score))
    return tuple(kept)
