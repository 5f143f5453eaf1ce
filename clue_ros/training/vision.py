"""First stage of the base recipe: teach the SigLIP tower what stands where, patch by patch.

From scratch, location tokens alone teach the tower very slowly. Every patch inside an object's box is asked for the
object's colour, shape and size, and for the distances to the four sides of its box, as in FCOS (Tian et al. 2019).
The head goes on as an auxiliary loss of the later stages; it is no part of the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clue_ros.data.scenes import SceneImages
from clue_ros.tabletop.scene import COLOURS, SHAPES, SIZES, Scene
from clue_ros.training.loop import Losses
from clue_ros.types import Box
from clue_ros.vlm.preprocess import to_pixel_values


def patch_centres(grid: int) -> np.ndarray:
    """float64[grid]: where the patches' centres lie along one side, fractions of the image."""
    return (np.arange(grid) + 0.5) / grid


def patches_in(box: Box, grid: int) -> np.ndarray:
    """bool[grid, grid]: the patches whose centre lies in the box."""
    c = patch_centres(grid)
    return ((c >= box.y1) & (c <= box.y2))[:, None] & ((c >= box.x1) & (c <= box.x2))[None]


def patch_at(x: float, y: float, grid: int) -> tuple[int, int]:
    """Row and column of the patch that a point lies in, given in fractions of the image."""
    return min(int(y * grid), grid - 1), min(int(x * grid), grid - 1)


def patch_owner(scene: Scene, grid: int) -> np.ndarray:
    """int64[grid, grid]: index of the object a patch belongs to, or -1.

    A patch belongs to the smallest box that contains its centre; the patch under an object's centre always to it.
    """
    owner = np.full((grid, grid), -1)
    boxes = [Box(*item.box) for item in scene.objects]
    for i in sorted(range(len(boxes)), key=lambda i: -boxes[i].area):
        owner[patches_in(boxes[i], grid)] = i
    for i, item in enumerate(scene.objects):
        owner[patch_at(*item.centre, grid)] = i
    return owner


def dense_target(scene: Scene, owner: np.ndarray) -> dict[str, np.ndarray]:
    """What every patch should say. owner int64[grid, grid] of `patch_owner`.

    owned bool[N]; colour, shape, size int64[N] (-100 outside objects); sides float32[N, 4], distances from the patch
    centre to the box's left, top, right and bottom, fractions of the image.
    """
    grid, flat = len(owner), owner.ravel()
    centres = patch_centres(grid).astype(np.float32)
    y, x = (a.ravel() for a in np.meshgrid(centres, centres, indexing="ij"))
    classes = np.array([(COLOURS.index(o.colour), SHAPES.index(o.shape), SIZES.index(o.size)) for o in scene.objects])
    labels = np.where(flat[:, None] >= 0, classes[flat], -100)
    boxes = np.array([o.box for o in scene.objects], np.float32)[flat]
    sides = np.stack([x - boxes[:, 0], y - boxes[:, 1], boxes[:, 2] - x, boxes[:, 3] - y], 1)
    return {"owned": flat >= 0, "colour": labels[:, 0], "shape": labels[:, 1], "size": labels[:, 2],
            "sides": sides.astype(np.float32)}


@dataclass(frozen=True)
class DenseBatches:
    """Batch number n, as a pure function of (seed, n)."""

    images: SceneImages
    side: int
    grid: int
    batch: int
    seed: int
    zoom: float = 0.6

    def __call__(self, step: int) -> dict[str, Tensor]:
        """pixel_values float32[B, 3, S, S] and the fields of `dense_target`, one row an image."""
        rng = np.random.default_rng((self.seed, step))
        pixels, targets = [], []
        for _ in range(self.batch):
            rgb, scene = self.images.augmented(rng, self.zoom)
            pixels.append(to_pixel_values(rgb, self.side))
            targets.append(dense_target(scene, patch_owner(scene, self.grid)))
        return {"pixel_values": torch.from_numpy(np.stack(pixels)), **stack(targets)}


def stack(targets: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    """Rows of `dense_target` as one batch."""
    return {key: torch.from_numpy(np.stack([t[key] for t in targets])) for key in targets[0]}


class DenseHead(nn.Module):
    """One linear reading of every patch: object, colour, shape, size logits and sides."""

    def __init__(self, width: int):
        super().__init__()
        self.splits = [1, len(COLOURS), len(SHAPES), len(SIZES), 4]
        self.linear = nn.Linear(width, sum(self.splits))

    def forward(self, patches: Tensor) -> tuple[Tensor, ...]:
        """float[B, N, width] to five tensors [B, N, k]."""
        return self.linear(patches).split(self.splits, -1)


class DenseTower(nn.Module):
    """A SigLIP tower with a dense head, a new one by default."""

    def __init__(self, tower: nn.Module, width: int, head: DenseHead | None = None):
        super().__init__()
        self.tower, self.head = tower, head or DenseHead(width)


def dense_losses(model: DenseTower, batch: dict[str, Tensor]) -> Losses:
    """Losses of one batch, and the share of patches whose colour, shape and size are right."""
    said = model.head(model.tower(pixel_values=batch["pixel_values"]).last_hidden_state)
    losses = dense_terms(said, batch)
    return {"loss": sum(losses.values()), **losses, **dense_accuracy(said, batch)}


def dense_terms(said: tuple[Tensor, ...], batch: dict[str, Tensor]) -> Losses:
    """Weighted losses of a dense head's reading."""
    objects, colour, shape, size, sides = said
    owned = batch["owned"]
    return {"object": F.binary_cross_entropy_with_logits(objects[..., 0], owned.float()),
            "colour": F.cross_entropy(colour.flatten(0, 1), batch["colour"].flatten()),
            "shape": 2 * F.cross_entropy(shape.flatten(0, 1), batch["shape"].flatten()),
            "size": F.cross_entropy(size.flatten(0, 1), batch["size"].flatten()),
            "sides": 10 * F.smooth_l1_loss(sides[owned], batch["sides"][owned], beta=0.02)}


@torch.no_grad()
def dense_accuracy(said: tuple[Tensor, ...], batch: dict[str, Tensor]) -> Losses:
    """Share of object patches whose class is right, by attribute."""
    owned = batch["owned"]
    return {f"{key}_right": (logits[owned].argmax(-1) == batch[key][owned]).float().mean()
            for key, logits in zip(("colour", "shape", "size"), said[1:4])}
