"""The recipes that adapt a base, its own or a published one: *ivg* (LoRA dialog training), *ambiguity* (LoRA and detector
together), and the model folder that comes of it. `recipes` tells in which order."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from clue_ros.data.readers import Labelled
from clue_ros.data.scenes import SceneImages
from clue_ros.detector.calibration import FILE, Calibration
from clue_ros.detector.network import Detector, DetectorSettings, channel_count
from clue_ros.detector.weighing import Weighing
from clue_ros.model_folder import ADAPTER, DETECTOR, REQUIRED, calibrated_weights, forget_calibration, save_detector
from clue_ros.training.base import Batches
from clue_ros.training.configs import AmbiguityConfig, IvgConfig
from clue_ros.training.dialog import (DIALOG_MIXTURE, Dialogue, ambiguity_losses, continue_adapter, detector_losses,
                                      dialog_losses, look_at, seen_otherwise, with_adapter)
from clue_ros.training.lessons import DONE, LESSONS, LessonBatches, keep_lessons
from clue_ros.training.loop import ahead, claim, fit
from clue_ros.training.recipes import batches_of, check_depth, read_base, read_training
from clue_ros.types import InputError
from clue_ros.vlm.build import grid_of
from clue_ros.vlm.tokens import Grammar


Teaching = Sequence[Path] | Labelled  # folders of the tabletop, or any data set with answers


def _source(data: Teaching, out: Path) -> SceneImages | Labelled:
    """What to learn from. InputError when it cannot be read."""
    if not isinstance(data, Labelled):
        return read_training(data)
    if not (out / LESSONS / DONE).is_file():  # else an earlier run has read it, and it may be out of reach now
        next(iter(data.read()), None)
    return data


def _named(data: Teaching) -> Teaching:
    """What says which data that is: not how it gets here."""
    return replace(data, data=str(Path(data.data)), allow_download=False) if isinstance(data, Labelled) else list(map(Path, data))


def _paths(data: Teaching) -> list[str | Path]:
    return [data.data] if isinstance(data, Labelled) else list(data)


def _batches(config: IvgConfig | AmbiguityConfig, model: nn.Module, grammar: Grammar, source: SceneImages | Labelled, out: Path, seed: int,
             ) -> Batches:
    """What the adapters learn from: scenes, about which there is always more to say, or the records of a data set."""
    if isinstance(source, SceneImages):
        return replace(batches_of(config, model, grammar, source, seed, DIALOG_MIXTURE), positions=config.positions)
    vision, folder = model.config.vision_config, out / LESSONS
    lessons = keep_lessons(source, folder, vision.image_size)
    return LessonBatches(grammar, vision.image_size, grid_of(vision), config.images, config.prompts, seed, lessons=lessons,
                         folder=folder)


def train_ivg(config: IvgConfig, data: Teaching, base: str | Path, out: Path, *, seed: int = 0,
              allow_download: bool = False, stop_after: int | None = None) -> Path:
    """LoRA dialog training; returns `out/adapter`."""
    model, grammar = read_base(base, allow_download=allow_download)
    check_depth(config.emphasis, model, config.emphasis.look_layer)
    source = _source(data, out)
    claim(out, [*_paths(data), base], recipe="ivg", data=_named(data), seed=seed, config=config)
    batches = _batches(config, model, grammar, source, out, seed + 2)
    torch.manual_seed(seed)
    dialogue = Dialogue(with_adapter(model, layers=config.lora_layers), config.emphasis)
    fit(dialogue, batches, dialog_losses(grammar.first_location), replace(config.loop, seed=seed), out, name="ivg",
        stop_after=stop_after)
    dialogue.peft.save_pretrained(out / "adapter", save_embedding_layers=False)
    return out / "adapter"


def train_ambiguity(config: AmbiguityConfig, data: Teaching, base: str | Path, adapter: Path, out: Path, *, seed: int = 0,
                    allow_download: bool = False, stop_after: int | None = None) -> Path:
    """LoRA and detector together; returns `out` with adapter/ and detector/ (not yet calibrated)."""
    model, grammar = read_base(base, allow_download=allow_download)
    check_depth(config.emphasis, model, *config.layers)
    source = _source(data, out)
    claim(out, [*_paths(data), base, adapter], recipe="ambiguity", data=_named(data), seed=seed, config=config)
    batches = _batches(config, model, grammar, source, out, seed + 3)
    channels = channel_count(config.layers, model.config.get_text_config().num_attention_heads, closing=config.closing)
    settings = DetectorSettings(config.layers, channels, batches.grid, head_mean=config.head_mean, closing=config.closing)
    torch.manual_seed(seed)
    dialogue = Dialogue(continue_adapter(model, adapter), config.emphasis, Detector(settings, Weighing(zoom=config.zoom)))
    if config.loop is not None:
        groups = [{"params": [p for p in dialogue.peft.parameters() if p.requires_grad]},
                  {"params": list(dialogue.detector.parameters()), "lr": config.detector_rate}]
        fit(dialogue, batches, ambiguity_losses(grammar.first_location, config.detector), replace(config.loop, seed=seed), out,
            groups=groups, name="ambiguity", stop_after=stop_after)
    dialogue.peft.save_pretrained(out / "adapter", save_embedding_layers=False)
    if config.settle and stop_after is None:
        dialogue.to("cuda" if torch.cuda.is_available() else "cpu")  # where `fit` did not bring it
        _settle(dialogue, replace(batches, seed=seed + 7), config, out / "settle", seed)
    save_detector(dialogue.detector, out / "detector")
    return out


def _settle(dialogue: Dialogue, batches: Batches, config: AmbiguityConfig, out: Path, seed: int) -> None:
    """The detector alone: a look costs a thousand times what a step of the CNN does, so the looks are kept."""
    @cache  # not before it is needed: a run that came to its end needs none
    def seen() -> dict[str, torch.Tensor]:
        looks = ahead(batches, 0, config.settle_looks, config.look_workers)
        return look_at(dialogue, tqdm(looks, "looks to settle on", config.settle_looks))

    def some(step: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rows = torch.randint(0, len(seen()["maps"]), (config.settle_batch,), generator=generator)
        return seen_otherwise({key: value[rows] for key, value in seen().items()}, generator, heads=not config.head_mean)
    fit(dialogue.detector, some, detector_losses(config.detector), replace(config.settle, seed=seed), out, name="settle")


def assemble(base: Path, adapter: Path, detector: Path, out: Path) -> Path:
    """A model folder of its three parts; what lay in `out` under their names goes, but a detector with the same weights, which may
    have been calibrated since. A calibration that was made with other weights is left out. The files have the rights of any new
    file: safetensors writes for its user alone, and a robot's service may be another. InputError, and nothing is changed, when
    one of the parts is none."""
    parts = {"base": base, "adapter": adapter, "detector": detector}
    for name, file in (Path(needed).parts for needed in (*REQUIRED, *ADAPTER)):
        if not (parts[name] / file).is_file():
            raise InputError(f"{parts[name]} is no {name}: there is no {parts[name] / file}")
    kept = out / DETECTOR
    if kept.is_file() and kept.read_bytes() == (detector / kept.name).read_bytes():
        del parts["detector"]
    for name, source in parts.items():
        if source.resolve() != (out / name).resolve():
            shutil.rmtree(out / name, ignore_errors=True)
            shutil.copytree(source, out / name, ignore=shutil.ignore_patterns("README.md"), copy_function=shutil.copyfile)
    made = out / "detector" / FILE
    if made.is_file() and Calibration.read(made.parent).weights not in ("", calibrated_weights(out)):
        forget_calibration(made.parent)
    return out
