"""The base recipe: a small PaliGemma-2 from scratch on a detection mixture.

`clue-train base --data DATA --out RUN`. Three stages: the tower alone (`vision.py`), then the whole decoder on clear
instructions and `detect` prompts, with a share of dialogs, since a vocabulary trained from scratch must meet the words of
questions and answers somewhere (the published mix checkpoints know them), then the same again with counterfactual twins.
From scratch, location tokens alone leave words and objects unbound for very long, so the decoder is also told what it is
looking for, by auxiliary losses; their heads are no part of the model, and kept beside it for `clue-train further`:

- match: after a lower layer every patch says whether it belongs to an object that fits the attributes, after a middle
  layer whether it belongs to what is meant;
- look: the words' attention at the probed layer goes to what is meant;
- dense: the tower goes on learning what stands where, as in its own stage;
- corners: after the middle layer every patch of what is meant names the four locations of its box, in the location
  tokens' own embedding, so that the tokens that predict the box only have to look and copy;
- point: the attention of the tokens that predict a box goes to the object they predict.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clue_ros.data import examples
from clue_ros.data.collate import collate, encode
from clue_ros.data.examples import Example
from clue_ros.data.scenes import SceneImages
from clue_ros.tabletop.language import TAUGHT, Phrasing
from clue_ros.tabletop.scene import Scene
from clue_ros.training.forward import map_loss, run, smooth_locations, suffix_losses
from clue_ros.training.loop import Losses
from clue_ros.training.vision import DenseHead, dense_accuracy, dense_target, dense_terms, patch_owner, stack
from clue_ros.types import Box, InputError
from clue_ros.vlm.preprocess import to_pixel_values
from clue_ros.vlm.tokens import LOCATIONS, Grammar

MOST_TRIES = 1000  # scenes without words in one batch
Sampler = Callable[[Scene, np.random.Generator, Phrasing], Example | None]
Mixture = tuple[tuple[float, Sampler], ...]  # shares, which need not sum to 1
BASE_MIXTURE: Mixture = (
    (0.58, examples.clear), (0.20, examples.detect), (0.10, examples.ambiguous), (0.12, examples.answered))


@dataclass(frozen=True)
class Batches(ABC):
    """How large batches are: `images` pictures of `side` pixels, cut into grid x grid patches, with `prompts` prompts each. Batch n
    is a pure function of (seed, n)."""

    grammar: Grammar
    side: int
    grid: int
    images: int
    prompts: int
    seed: int

    def __post_init__(self) -> None:
        if self.grammar.image_tokens != self.grid ** 2:
            raise ValueError(f"prompts for {self.grammar.image_tokens} image tokens, pictures of {self.grid ** 2}")

    @abstractmethod
    def __call__(self, step: int) -> dict[str, Tensor]:
        """Batch number `step`."""


@dataclass(frozen=True, kw_only=True)
class GroundedBatches(Batches):
    """Augmented scenes and what is said about them.

    twins: chance that the next two images are a counterfactual pair with the same words, where the data has pairs. positions:
    share of those words that must say where in the picture, since "the left mug" of three is the harder to judge.
    places: whether the suffix of a clear prompt says where the object is; else it only names it.
    """

    source: SceneImages
    mixture: Mixture = BASE_MIXTURE
    twins: float = 0.0
    positions: float = 0.0
    places: bool = True

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Fields of `collate` and of `supervision`, pixel_values float32[I, 3, S, S], `dense_target` of every image, and for
        every sequence matches bool[B, N], the patches of what fits the attributes, ambiguous bool[B], and known bool[B]:
        whether the referents are all that the prompt may mean.

        Dialogs are longer than all else, and a batch is padded to its longest: it has dialogs only, or none."""
        rng = np.random.default_rng((self.seed, step))
        shares = np.array([share for share, _ in self.mixture])
        talk = np.array([sampler is examples.answered for _, sampler in self.mixture])
        shares = shares * (talk == (rng.random() < shares[talk].sum() / shares.sum()))
        shares /= shares.sum()
        dialogs = bool(shares[talk].any())
        pixels, rows, truths, dense = [], [], [], []
        for tries in count():
            if len(pixels) >= self.images:
                break
            if tries >= MOST_TRIES + self.images:
                raise InputError(f"{MOST_TRIES} scenes of {', '.join(map(str, self.source.folders))} gave no words to learn from: "
                                 "they need several objects each, some of them alike (clue-tabletop write)")
            paired = not dialogs and self.images - len(pixels) > 1 and self.source.twins and rng.random() < self.twins
            for rgb, scene, found in self._twins(rng) if paired else self._single(shares, rng):
                pixels.append(to_pixel_values(rgb, self.side))
                owner = patch_owner(scene, self.grid)
                dense.append(dense_target(scene, owner))
                owner = owner.ravel()
                rows += [encode(e, self.grammar, places=self.places) for e in found]
                truths += [(owner, e) for e in found]
        batch = collate(rows, self.grammar.pad)
        batch["pixel_values"] = torch.from_numpy(np.stack(pixels))
        batch |= stack(dense)
        batch["matches"] = torch.from_numpy(np.stack([np.isin(o, e.matches) for o, e in truths]))
        batch |= supervision([owner == np.array(e.referents)[:, None] for owner, e in truths], [e.boxes for _, e in truths])
        batch["ambiguous"] = torch.tensor([e.ambiguous for _, e in truths])
        batch["known"] = torch.ones(len(truths), dtype=torch.bool)
        return batch

    def _twins(self, rng: np.random.Generator) -> list[tuple[np.ndarray, Scene, list[Example]]]:
        """Two images and the same words about both; nothing when not enough words fit."""
        (rgb, full), (rgb_fewer, fewer) = self.source.augmented_twins(rng)
        found = [p for _ in range(self.prompts) if (p := self._counterfactual(full, fewer, rng)) is not None]
        if len(found) < self.prompts:
            return []
        return [(rgb, full, [p[0] for p in found]), (rgb_fewer, fewer, [p[1] for p in found])]

    def _counterfactual(self, full: Scene, fewer: Scene, rng: np.random.Generator) -> tuple[Example, Example] | None:
        """One that says where, if the dice want it and the scenes have it; else any."""
        where = rng.random() < self.positions and examples.counterfactual(full, fewer, rng, TAUGHT, position=True)
        return where or examples.counterfactual(full, fewer, rng, TAUGHT)

    def _single(self, shares: np.ndarray, rng: np.random.Generator) -> list[tuple[np.ndarray, Scene, list[Example]]]:
        """One image and its examples; nothing when not enough words fit."""
        rgb, scene = self.source.augmented(rng)
        found = [e for _ in range(self.prompts) if (e := self._one(scene, shares, rng)) is not None]
        return [(rgb, scene, found)] if len(found) == self.prompts else []

    def _one(self, scene: Scene, shares: np.ndarray, rng: np.random.Generator, tries: int = 6) -> Example | None:
        for _ in range(tries):
            sampler = self.mixture[int(rng.choice(len(shares), p=shares))][1]
            if (found := sampler(scene, rng, TAUGHT)) is not None:
                return found
        return None


def supervision(patches: Sequence[np.ndarray], boxes: Sequence[Sequence[Box]]) -> dict[str, Tensor]:
    """Where what is meant is, for B prompts: referents bool[B, N] patches, look float32[B, N] their shares, point
    float32[B, n, N] the shares and boxes float32[B, n, 4] the boxes (image fractions) of up to n referents.

    patches: bool[k, N] of the k referents of each prompt; boxes: theirs. One may own no patch, when another object's centre
    lies on the same, or be unknown: it cannot be looked at.
    """
    most = max(1, *map(len, boxes))
    point = np.zeros((len(boxes), most, patches[0].shape[-1]), np.float32)
    corners = np.zeros((len(boxes), most, 4), np.float32)
    for k, (mine, found) in enumerate(zip(patches, boxes)):
        point[k, :len(mine)] = mine / np.maximum(mine.sum(-1, keepdims=True), 1)
        corners[k, :len(found)] = np.array([(b.x1, b.y1, b.x2, b.y2) for b in found]).reshape(-1, 4)
    shares = torch.from_numpy(point)
    return {"referents": (shares > 0).any(1), "look": shares.sum(1) / shares.sum((1, 2)).clamp_min(1.0)[:, None],
            "point": shares, "boxes": torch.from_numpy(corners)}


@dataclass(frozen=True)
class Emphasis:
    """Layers (0-based) that carry the auxiliary losses, and the losses' weights."""

    match_layers: tuple[int, int] = (1, 3)
    look_layer: int = 3
    point_layer: int = 4
    heads: int = 3
    match: float = 4.0
    look: float = 0.15
    point: float = 0.3
    corners: float = 0.5
    dense: float = 0.5
    text: float = 0.5
    sigma: float = 12.0


class Pupil(nn.Module):
    """A PaliGemma that learns, what of it is to be emphasized, and the smoothed targets of its location tokens."""

    def __init__(self, model: nn.Module, emphasis: Emphasis):
        super().__init__()
        self.model, self.emphasis = model, emphasis
        self.register_buffer("smooth", smooth_locations(emphasis.sigma), persistent=False)


class Taught(Pupil):
    """With the heads of the auxiliary losses."""

    def __init__(self, model: nn.Module, emphasis: Emphasis):
        super().__init__(model, emphasis)
        width = model.config.get_text_config().hidden_size
        self.match = nn.ModuleList(nn.Linear(width, 1) for _ in emphasis.match_layers)
        self.dense = DenseHead(model.config.vision_config.hidden_size)
        self.corners = nn.Linear(width, 4 * width)


def corner_loss(taught: Taught, hidden: Tensor, batch: dict[str, Tensor], first_location: int) -> Tensor:
    """Cross-entropy of the four locations that patches of the referents name. hidden float[B, T, d]."""
    sequence, instance, patch = torch.nonzero(batch["point"] > 0, as_tuple=True)
    named = taught.corners(F.rms_norm(hidden[sequence, patch], hidden.shape[-1:])).unflatten(-1, (4, -1))  # (n, 4, d)
    table = taught.model.get_input_embeddings().weight[first_location:first_location + LOCATIONS]
    boxes = batch["boxes"][sequence, instance][:, [1, 0, 3, 2]]  # y1 x1 y2 x2, as the tokens are ordered
    target = taught.smooth[(boxes * (LOCATIONS - 1)).round().long().clamp(0, LOCATIONS - 1)]
    return -(target * (named @ table.T).log_softmax(-1)).sum(-1).mean()


def grounded_losses(first_location: int) -> Callable[[Taught, dict], Losses]:
    """The loss function of the base recipe, for `loop.fit`."""

    def losses(taught: Taught, batch: dict[str, Tensor]) -> Losses:
        e = taught.emphasis
        out = run(taught.model, batch, (e.look_layer, e.point_layer), tower_grad=True)
        said = taught.dense(out.seen)
        location, text = suffix_losses(taught.model, out.hidden[-1], batch["labels"], first_location, taught.smooth)
        terms = {"location": location, "text": text, **match_losses(taught, out, batch),
                 **attention_losses(e, out, batch),
                 "corners": corner_loss(taught, out.hidden[e.match_layers[1] + 1], batch, first_location)}
        weights = {"text": e.text, "corners": e.corners, "match0": e.match / 2, "match1": e.match, "look": e.look, "point": e.point}
        total = sum(weights.get(k, 1.0) * v for k, v in terms.items())
        total = total + e.dense * sum(dense_terms(said, batch).values())
        return {"loss": total, **terms,
                "pointing": pointing_accuracy(e, out, batch), **dense_accuracy(said, batch)}

    return losses


def match_losses(taught: Taught, out, batch: dict[str, Tensor]) -> Losses:
    """match0 (attributes) and match1 (what is meant), as the module's docstring describes them."""
    terms: Losses = {}
    for k, (head, layer, key) in enumerate(zip(taught.match, taught.emphasis.match_layers, ("matches", "referents"))):
        logits = head(out.hidden[layer + 1][:, :batch["look"].shape[1]])[..., 0]
        terms[f"match{k}"] = F.binary_cross_entropy_with_logits(logits, batch[key].to(logits.dtype))
    return terms


def attention_losses(e: Emphasis, out, batch: dict[str, Tensor]) -> Losses:
    """look and, where a box is said, point, as the module's docstring describes them."""
    patches, terms = batch["look"].shape[1], {}
    words = batch["words"][:, patches:].to(out.hidden[-1].dtype)
    look = out.probe.weights[e.look_layer][:, :e.heads, patches:, :patches]  # (B, h, T - N, N)
    look = torch.einsum("bhtn,bt->bhn", look, words / words.sum(1, keepdim=True))
    terms["look"] = map_loss(look.flatten(0, 1), batch["look"].repeat_interleave(e.heads, 0))
    point, target = _pointing(e, out, batch)
    if len(point):
        terms["point"] = map_loss(point.flatten(0, 1), target.repeat_interleave(e.heads, 0))
    return terms


@torch.no_grad()
def pointing_accuracy(e: Emphasis, out, batch: dict[str, Tensor]) -> Tensor:
    """Share of predicted corners whose attention peaks on the right object."""
    point, target = _pointing(e, out, batch)
    if not len(point):
        return torch.tensor(0.0)
    return (target.gather(1, point.mean(1).argmax(-1, keepdim=True)) > 0).float().mean()


def _pointing(e: Emphasis, out, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """For the n tokens that predict a box: their attention on the patches, float[n, h, N], and where it should be, float[n, N]."""
    patches = batch["look"].shape[1]
    sequence, position = torch.nonzero(batch["instance"] >= 0, as_tuple=True)
    point = out.probe.weights[e.point_layer][sequence, :e.heads, position, :patches]
    return point, batch["point"][sequence, batch["instance"][sequence, position]]
