"""The two adapter recipes, on any base: *ivg* (when to ask and what, what answers mean) and *ambiguity* (the detector).

Facts of the paper kept: LoRA of rank 16, alpha 32, dropout 0.05 on q, k, v, o and the MLP of the decoder; the detector is
trained with binary cross-entropy together with the LoRA, at a far smaller rate for the LoRA. Our choices: the detector
continues the dialog's own adapter, and the dialog's loss stays in the sum, so that one adapter and one prefill serve the
question, the box and the detector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F

from clue_ros.data import examples
from clue_ros.detector.jitter import Symmetry, shaken
from clue_ros.detector.network import Detector, DetectorSettings, centres_of, channels_of
from clue_ros.model_folder import check_weights, open_adapter
from clue_ros.offline import network
from clue_ros.training.base import Emphasis, Mixture, Pupil, attention_losses
from clue_ros.training.forward import Forward, run, suffix_losses
from clue_ros.training.loop import Losses, to_device
from clue_ros.types import InputError
from clue_ros.vlm.build import quiet_peft
from clue_ros.vlm.paligemma import image_shares

DIALOG_MIXTURE: Mixture = (
    (0.40, examples.clear), (0.35, examples.ambiguous), (0.25, examples.answered))
PROJECTIONS = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"


def with_adapter(model: nn.Module, rank: int = 16, alpha: int = 32, dropout: float = 0.05,
                 layers: int | None = None) -> PeftModel:
    """The base, frozen, with a fresh LoRA on its decoder, or on its first `layers` only; freshly added it changes nothing."""
    numbers = r"\d+" if layers is None else "|".join(map(str, range(layers)))
    targets = rf".*language_model.*layers\.({numbers})\..*({PROJECTIONS})"
    with quiet_peft():
        return get_peft_model(model, LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets))


def continue_adapter(model: nn.Module, folder: str | Path) -> PeftModel:
    """The base with a saved LoRA, ready to train on. InputError when the folder holds none, ModelError when it is damaged or another
    base's."""
    if not (Path(folder) / "adapter_config.json").is_file():
        raise InputError(f"{folder} holds no adapter: give the adapter/ that `clue-train ivg` wrote")
    check_weights(Path(folder) / "adapter_model.safetensors")
    with network(False):
        return open_adapter(model, Path(folder), trainable=True)


@dataclass(frozen=True)
class DetectorEmphasis:
    """Weights of the detector's losses beside the dialog's own."""

    ambiguous: float = 1.0
    cells: float = 1.0
    sides: float = 5.0
    dialog: float = 1.0


class Dialogue(Pupil):
    """An adapted PaliGemma, with a detector when that is trained too."""

    @property
    def peft(self) -> PeftModel:
        """The wrapper that saves the adapter."""
        return self.peft_of()

    def __init__(self, peft: PeftModel, emphasis: Emphasis, detector: Detector | None = None):
        super().__init__(peft.get_base_model(), emphasis)
        self.peft_of, self.detector = (lambda: peft), detector  # not registered twice: its weights are model's


def dialog_losses(first_location: int) -> Callable[[Dialogue, dict], Losses]:
    """The loss of the ivg recipe: the suffix, and attention on what is meant."""

    def losses(dialogue: Dialogue, batch: dict[str, Tensor]) -> Losses:
        e = dialogue.emphasis
        out = run(dialogue.model, batch, (e.look_layer, e.point_layer))
        terms = _dialog_terms(dialogue, out, batch, first_location)
        return {"loss": sum(terms.values()), **terms}

    return losses


def _dialog_terms(dialogue: Dialogue, out: Forward, batch: dict[str, Tensor], first_location: int) -> Losses:
    e = dialogue.emphasis
    location, text = suffix_losses(dialogue.model, out.hidden[-1], batch["labels"], first_location, dialogue.smooth)
    attention = attention_losses(e, out, batch)
    return {"location": location, "text": e.text * text, "look": e.look * attention["look"],
            "point": e.point * attention.get("point", torch.zeros(()))}


def ambiguity_losses(first_location: int, weights: DetectorEmphasis) -> Callable[[Dialogue, dict], Losses]:
    """The loss of the ambiguity recipe: verdict, candidate cells and their boxes, and the dialog's own loss."""

    def losses(dialogue: Dialogue, batch: dict[str, Tensor]) -> Losses:
        e, settings = dialogue.emphasis, dialogue.detector.settings
        out = run(dialogue.model, batch, tuple({*settings.layers, e.look_layer, e.point_layer}))
        terms, right = _detector_terms(dialogue.detector, batch_maps(out, batch, settings), batch, weights)
        terms["dialog"] = weights.dialog * sum(_dialog_terms(dialogue, out, batch, first_location).values())
        return {"loss": sum(terms.values()), **terms, "right": right}

    return losses


TRUTH = ("ambiguous", "referents", "known", "point", "boxes")  # what the detector's losses need beside the maps


@torch.no_grad()
def look_at(dialogue: Dialogue, batches: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The attention of a finished model for all prompts of these batches, "maps" of `batch_maps`, and the truth about them;
    point and boxes padded to the most referents of any."""
    dialogue.model.eval()  # no dropout: it is looked at as it will be used
    settings, rows = dialogue.detector.settings, []
    for batch in batches:
        batch = to_device(batch, dialogue.model.device)
        maps = batch_maps(run(dialogue.model, batch, settings.layers), batch, settings)
        rows.append(to_device({"maps": maps, **{key: batch[key] for key in TRUTH}}, torch.device("cpu")))
    most = max(row["point"].shape[1] for row in rows)
    for row in rows:
        missing = most - row["point"].shape[1]
        row |= {key: F.pad(row[key], (0, 0, 0, missing)) for key in ("point", "boxes")}
    return {key: torch.cat([row[key] for row in rows]) for key in rows[0]}


def seen_otherwise(batch: dict[str, Tensor], generator: torch.Generator, *, heads: bool = True) -> dict[str, Tensor]:
    """Some rows of `look_at` through the detector's jitter, the truth with them. heads: some of them may be left out."""
    way, grid = Symmetry.random(generator), batch["maps"].shape[-1]
    cells = {key: way.of(batch[key].unflatten(-1, (grid, grid))).flatten(-2) for key in ("point", "referents")}
    return batch | cells | {"maps": shaken(way.of(batch["maps"]), generator, heads=heads), "boxes": way.of_boxes(batch["boxes"])}


def detector_losses(weights: DetectorEmphasis) -> Callable[[Detector, dict], Losses]:
    """The loss of the detector alone, on batches with "maps"."""

    def losses(detector: Detector, batch: dict[str, Tensor]) -> Losses:
        terms, right = _detector_terms(detector, batch["maps"], batch, weights)
        return {"loss": sum(terms.values()), **terms, "right": right}

    return losses


def _detector_terms(detector: Detector, maps: Tensor, batch: dict[str, Tensor], weights: DetectorEmphasis,
                    ) -> tuple[Losses, Tensor]:
    """Losses of verdict, candidate cells and their boxes; share of verdicts that are right."""
    reading = detector(maps)
    cells, known = batch["referents"].view_as(reading.cells), batch["known"]
    terms = {"verdict": weights.ambiguous * F.binary_cross_entropy_with_logits(reading.ambiguous, batch["ambiguous"].float()),
             "cells": weights.cells * mean_or_nothing(F.binary_cross_entropy_with_logits(
                 reading.cells[known], cells[known].float(), reduction="none")),
             "sides": weights.sides * sides_loss(reading.sides, batch)}
    return terms, ((reading.ambiguous > 0) == batch["ambiguous"]).float().mean()


def batch_maps(out: Forward, batch: dict[str, Tensor], settings: DetectorSettings) -> Tensor:
    """What `Prefill` has for one prompt, for a padded batch, and of it what the detector reads: float[B, channels, G, G]."""
    patches = batch["look"].shape[1]
    grid = round(patches ** 0.5)
    words = batch["words"].float()
    words = words / words.sum(1, keepdim=True)
    closing = F.one_hot(batch["prefix"] - 1, words.shape[1]).float()
    rows = torch.stack([words, closing], 1)[..., patches:]  # (B, 2, T - N), what part of each; all of them are text
    maps = [torch.einsum("bhtn,bkt->bkhn", image_shares(out.probe.weights[layer][:, :, patches:], patches), rows)
            for layer in settings.layers]
    return channels_of(torch.stack(maps, 1).unflatten(-1, (grid, grid)), closing=settings.closing)


def sides_loss(sides: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Smooth L1 between predicted and true distances to the box of the object that owns the cell, on referents' cells."""
    point, boxes = batch["point"], batch["boxes"]  # (B, n, N), (B, n, 4)
    x, y = centres_of(sides.shape[-1], sides.device)
    target = torch.stack([x - boxes[..., 0, None], y - boxes[..., 1, None],
                          boxes[..., 2, None] - x, boxes[..., 3, None] - y], 2)  # (B, n, 4, N)
    mine = (point > 0)[:, :, None].expand_as(target)
    predicted = sides.flatten(2)[:, None].expand_as(target)
    return mean_or_nothing(F.smooth_l1_loss(predicted[mine], target[mine], beta=0.02, reduction="none"))


def mean_or_nothing(terms: Tensor) -> Tensor:
    """The mean of some losses, 0 of none: where a data set does not say what else may be meant, nothing is to be learned."""
    return terms.mean() if terms.numel() else terms.sum()
