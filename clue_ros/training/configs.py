"""How long, how fast and on how much each recipe trains: the numbers of `clue-train --config`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from clue_ros.training.base import Emphasis
from clue_ros.training.dialog import DetectorEmphasis
from clue_ros.training.loop import LoopConfig
from clue_ros.vlm.build import Size


class Batching(Protocol):
    """What all of the configs below say of their batches, as in `GroundedBatches`."""

    images: int
    prompts: int
    twins: float


@dataclass(frozen=True)
class BaseConfig:
    """The base recipe. vision: the tower's stage, batches of `vision_batch` images; decoder: batches of images x prompts;
    refine: the same once more from a new warm-up, `twins` of the images drawn as counterfactual pairs."""

    size: Size = Size()
    vision: LoopConfig = LoopConfig(steps=5000, learning_rate=1e-3, weight_decay=0.02)
    vision_batch: int = 24
    decoder: LoopConfig = LoopConfig(steps=4500, learning_rate=1e-3, weight_decay=0.02, warmup=150)
    refine: LoopConfig = LoopConfig(steps=3000, learning_rate=7e-4, weight_decay=0.02, warmup=150)
    images: int = 12
    prompts: int = 3
    twins: float = 0.35
    emphasis: Emphasis = Emphasis()


@dataclass(frozen=True)
class FurtherConfig:
    """Going on with a base: the tower alone with `layers` new blocks, or for larger pictures (`side` pixels), then the whole
    as in the base's last stage. heads: for a base that comes without the heads of the auxiliary losses, these alone first."""

    layers: int = 2
    side: int | None = None
    close_ups: float = 0.6  # share of the pictures in the tower's stage
    vision: LoopConfig = LoopConfig(steps=3500, learning_rate=7e-4, weight_decay=0.02, muon=True)
    vision_batch: int = 24
    refine: LoopConfig = LoopConfig(steps=1400, learning_rate=4.5e-4, weight_decay=0.02, warmup=100, muon=True)
    images: int = 12
    prompts: int = 3
    twins: float = 0.45
    emphasis: Emphasis = Emphasis()
    heads: LoopConfig = LoopConfig(steps=150, learning_rate=3e-3, warmup=20)


@dataclass(frozen=True)
class NamingConfig:
    """The base without the detection mixture: batches of images x prompts."""

    loop: LoopConfig = LoopConfig(steps=800, learning_rate=7e-4, weight_decay=0.02, muon=True)
    images: int = 12
    prompts: int = 3
    twins: float = 0.35


@dataclass(frozen=True)
class IvgConfig:
    """The ivg recipe: batches of images x prompts. twins, positions: of `GroundedBatches`. lora_layers: how many of the decoder's
    first layers get a LoRA (None: all)."""

    loop: LoopConfig
    images: int = 8
    prompts: int = 4
    emphasis: Emphasis = Emphasis(text=1.0)
    twins: float = 0.35
    positions: float = 0.0
    lora_layers: int | None = None


@dataclass(frozen=True)
class AmbiguityConfig:
    """The ambiguity recipe: first LoRA and detector together, the learning rate of `loop` the LoRA's, detector_rate the CNN's;
    without a `loop` the adapter stays as it is. Then, if there is one to `settle`, the detector goes on alone, on attention that no
    longer moves: `settle_looks` batches of it, made by `look_workers` processes and kept, from which every step takes `settle_batch`
    prompts. layers, closing, head_mean: of `DetectorSettings`; zoom: of `Weighing`; images to positions: as in `IvgConfig`."""

    loop: LoopConfig | None
    images: int = 8
    prompts: int = 4
    emphasis: Emphasis = Emphasis(text=1.0)
    twins: float = 0.35
    positions: float = 0.0
    layers: tuple[int, ...] = (3,)
    closing: bool = False
    head_mean: bool = False
    zoom: float = 1.0
    detector: DetectorEmphasis = DetectorEmphasis()
    detector_rate: float = 1e-3
    settle: LoopConfig | None = None
    settle_looks: int = 300
    settle_batch: int = 128
    look_workers: int = 1


_TINY = Size(side=64, patch=16, vision_width=32, vision_layers=2, vision_heads=2, vision_mlp=64, width=48, layers=3,
             heads=4, key_value_heads=2, mlp=64)
_SETTLE = LoopConfig(steps=1500, learning_rate=2e-3, weight_decay=5e-2, workers=0)
_SHORT = LoopConfig(steps=4, learning_rate=1e-3, warmup=1, save_every=2, log_every=1, workers=0)
# On a GPU, where the processors that make the batches are what is short: eight times the pictures a step, four times the prompts.
_FED = LoopConfig(steps=4500, learning_rate=6e-4, weight_decay=0.02, warmup=150, muon=True, workers=12, save_every=1000)
_TALK = LoopConfig(steps=600, learning_rate=1e-3, warmup=50, workers=12, save_every=1000)
_JUDGE = replace(_TALK, steps=3000, learning_rate=4e-4)
_LONG = replace(_SETTLE, steps=4500, save_every=2500)
# The detector that is shipped; the others differ from it in what they say.
_AMBIGUITY = AmbiguityConfig(LoopConfig(steps=1700, learning_rate=4e-4, warmup=50), twins=0.6, positions=0.5, layers=(3, 4, 5), closing=True,
                           zoom=1.1, settle=replace(_SETTLE, steps=4000), settle_looks=900)
_ON_GPU = replace(_AMBIGUITY, loop=_JUDGE, images=32, settle=_LONG, settle_looks=1200, settle_batch=256, look_workers=12)
_HEAD_MEAN = {"head_mean": True, "layers": (3,), "closing": False}  # the paper's own map, of the words in a middle layer
_LOW = Emphasis(match_layers=(0, 1), look_layer=1, point_layer=2)
# The paper's rates, for the published 3B model: layer 14 of 26, LoRA 1e-4 (dialog) and 5e-6 (detector), CNN 1e-4.
_DEEP = Emphasis(match_layers=(6, 14), look_layer=14, point_layer=18, look=0.0, point=0.0, text=1.0)
_PALIGEMMA2 = {"ivg": IvgConfig(LoopConfig(steps=5000, learning_rate=1e-4, warmup=200), 2, 2, emphasis=_DEEP),
               "ambiguity": AmbiguityConfig(LoopConfig(steps=3000, learning_rate=5e-6, warmup=200), 2, 2, _DEEP, layers=(14,), detector_rate=1e-4)}

CONFIGS: dict[str, dict[str, BaseConfig | FurtherConfig | NamingConfig | IvgConfig | AmbiguityConfig]] = {
    "tabletop": {
        "base": BaseConfig(),
        "further": FurtherConfig(),
        "naming": NamingConfig(),
        "ivg": IvgConfig(LoopConfig(steps=200, learning_rate=1e-3, warmup=50)),
        "ambiguity": _AMBIGUITY,
    },
    # Larger pictures: 14 x 14 patches of 20 pixels where `tabletop` has 10 x 10.
    "fine": {
        "further": FurtherConfig(
            layers=0, side=280, close_ups=0.3,
            vision=LoopConfig(steps=2200, learning_rate=7e-4, weight_decay=0.02, muon=True),
            refine=LoopConfig(steps=1300, learning_rate=5e-4, weight_decay=0.02, warmup=100, muon=True)),
    },
    # All of it on a GPU, beginning with a base for pictures of 280 pixels.
    "gpu": {
        "further": FurtherConfig(layers=0, side=280, close_ups=0.3, vision=replace(_FED, steps=3000, learning_rate=7e-4),
                                 vision_batch=128, refine=_FED, images=96, heads=LoopConfig(steps=300, learning_rate=3e-3, warmup=20, workers=12)),
        "naming": NamingConfig(replace(_FED, steps=1500, learning_rate=7e-4), images=96),
        "ivg": IvgConfig(_TALK, images=32),
        "ambiguity": _ON_GPU,
    },
    "gpu-head-mean": {"ambiguity": replace(_ON_GPU, **_HEAD_MEAN)},
    "gpu-half-full": {"ivg": IvgConfig(_TALK, images=32, twins=0.6, lora_layers=4)},
    # The paper's Half-Full Disambig.: a LoRA up to the middle layer only, the decoder's first token decides.
    "half-full": {"ivg": IvgConfig(LoopConfig(steps=2400, learning_rate=1e-3, warmup=50), twins=0.6, lora_layers=4)},
    # The paper's own map: the heads' mean, with a LoRA that is trained for it.
    "head-mean": {"ambiguity": replace(_AMBIGUITY, loop=replace(_AMBIGUITY.loop, steps=600), settle=_SETTLE, settle_looks=300,
                                       **_HEAD_MEAN)},
    # The detector alone, on an adapter that stays as it is.
    "detector": {"ambiguity": replace(_AMBIGUITY, loop=None, settle=replace(_SETTLE, steps=3000), settle_looks=600)},
    "debug": {
        "base": BaseConfig(_TINY, _SHORT, 2, _SHORT, _SHORT, 2, 2, emphasis=_LOW),
        "further": FurtherConfig(1, 80, 0.6, replace(_SHORT, muon=True), 2, replace(_SHORT, muon=True), 2, 2, emphasis=_LOW,
                                 heads=_SHORT),
        "naming": NamingConfig(_SHORT, 2, 2),
        "ivg": IvgConfig(_SHORT, 2, 2, emphasis=_LOW),
        "ambiguity": AmbiguityConfig(_SHORT, 2, 2, emphasis=_LOW, layers=(1,), closing=True, settle=_SHORT, settle_looks=2,
                                   settle_batch=4),
    },
    "paligemma2": _PALIGEMMA2,
    # For a GPU with less memory.
    "paligemma2-24gb": {recipe: replace(config, prompts=1) for recipe, config in _PALIGEMMA2.items()},
}
