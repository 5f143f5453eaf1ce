"""The same attention, seen otherwise: what keeps a CNN from learning a few thousand maps by heart, and what it is asked for its
second opinions.

Whether an instruction fits one object or two does not depend on where they stand, nor on any single head: maps are turned
over, their shares shaken, and heads left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor


@dataclass(frozen=True)
class Symmetry:
    """One of the eight ways to lay a square on itself: first transposed, then mirrored, then turned upside down."""

    transposed: bool
    mirrored: bool
    upended: bool

    @classmethod
    def random(cls, generator: torch.Generator) -> Symmetry:
        """Each of the eight as likely."""
        return cls(*torch.randint(0, 2, (3,), generator=generator).bool().tolist())

    def of(self, grids: Tensor) -> Tensor:
        """Any tensor [..., G, G], rows before columns."""
        grids = grids.transpose(-1, -2) if self.transposed else grids
        grids = grids.flip(-1) if self.mirrored else grids
        return grids.flip(-2) if self.upended else grids

    def undo(self, grids: Tensor) -> Tensor:
        """Inverse of `of`."""
        grids = grids.flip(-2) if self.upended else grids
        grids = grids.flip(-1) if self.mirrored else grids
        return grids.transpose(-1, -2) if self.transposed else grids

    def undo_sides(self, sides: Tensor) -> Tensor:
        """float[..., 4, G, G], distances to the left, top, right and bottom side, as they are before `of`."""
        order = [0, 1, 2, 3]
        if self.upended:
            order = [order[k] for k in (0, 3, 2, 1)]
        if self.mirrored:
            order = [order[k] for k in (2, 1, 0, 3)]
        if self.transposed:
            order = [order[k] for k in (1, 0, 3, 2)]
        return self.undo(sides)[..., order, :, :]

    def of_boxes(self, boxes: Tensor) -> Tensor:
        """float[..., 4], x1 y1 x2 y2 in image fractions; they follow the grids."""
        x1, y1, x2, y2 = boxes.unbind(-1)
        if self.transposed:
            x1, y1, x2, y2 = y1, x1, y2, x2
        if self.mirrored:
            x1, x2 = 1 - x2, 1 - x1
        if self.upended:
            y1, y2 = 1 - y2, 1 - y1
        return torch.stack([x1, y1, x2, y2], -1)


SYMMETRIES = tuple(Symmetry(*way) for way in product((False, True), repeat=3))


def shaken(maps: Tensor, generator: torch.Generator, noise: float = 0.3, left_out: float = 0.2, *,
           heads: bool = True) -> Tensor:
    """Maps float[B, C, G, G], each share of attention times exp(noise x normal), and `left_out` of the channels empty, where
    they are `heads`: of a detector that reads their mean, the mean would not be what it reads later."""
    maps = maps * torch.exp(noise * torch.randn(maps.shape, generator=generator))
    if not heads:
        return maps
    return maps * (torch.rand(maps.shape[:2], generator=generator) >= left_out)[..., None, None]
