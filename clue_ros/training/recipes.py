"""The recipes, end to end: data in, a folder of a model out. Every one resumes where it was stopped.

    clue-tabletop write --out data/train --count 10000 --seed 1
    clue-train base      --data data/train --out runs/base
    clue-train further   --data data/train --base runs/base --out runs/further        (optional; from here runs/further/model;
                         with --config fine for larger pictures)
    clue-train average   --runs runs/further runs/further-b --out runs/mean           (optional, of trainings with one beginning,
                                                                                       or of one and what it went on from)
    clue-train ivg       --data data/train --base runs/base/model --out runs/ivg
    clue-train ambiguity --data data/train --validation data/val --base runs/base/model --adapter runs/ivg/adapter \\
                         --out runs/ambiguity                                 (data/val: written with --pairs, another seed)

The last one leaves the model in runs/ambiguity/model, calibrated. Of other parts, `clue-train assemble` makes a model, and
`clue-train calibrate` sets its threshold.

For ablations: `clue-train naming --base runs/base/model --out runs/naming` makes a base that was never taught where things are
(runs/naming/model), `ivg --config half-full` a LoRA on the decoder's first half only, `ambiguity --config head-mean` a detector on
the heads' mean. `ambiguity --config detector` trains the detector alone, on an adapter that stays as it is. Each takes `--config
debug` to run in under a minute on a CPU. `--config paligemma2 --base google/paligemma2-3b-mix-448` (a folder, or an id with
`--allow-download`) trains the adapters of the published model by the same code. The adapters' recipes themselves are in `adapters`;
they also learn from photographs, as the paper's do from InViG (`--reader invig`, in `lessons`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import (AutoTokenizer, PaliGemmaForConditionalGeneration, PaliGemmaProcessor, PreTrainedTokenizerFast,
                          SiglipImageProcessorPil, SiglipVisionModel)

from clue_ros.data import examples
from clue_ros.data.scenes import SceneImages
from clue_ros.files import replacing
from clue_ros.model_folder import open_base, save_weights
from clue_ros.offline import network
from clue_ros.tabletop.scene import Scene
from clue_ros.training.base import BASE_MIXTURE, Emphasis, GroundedBatches, Mixture, Pupil, Taught, grounded_losses
from clue_ros.training.configs import BaseConfig, Batching, FurtherConfig, NamingConfig
from clue_ros.training.forward import fourier_locations_
from clue_ros.training.loop import LoopConfig, claim, fit
from clue_ros.training.naming import NAMING_MIXTURE, naming_losses
from clue_ros.training.vision import DenseBatches, DenseTower, dense_losses
from clue_ros.types import InputError
from clue_ros.vlm.build import (grid_of, new_model, sincos_positions_, vision_config, whiten_patches_, with_fresh_decoder,
                                with_grown_tower)
from clue_ros.vlm.paligemma import use_probed_attention
from clue_ros.vlm.tokens import Grammar
from clue_ros.vlm.vocabulary import train_tokenizer

HEADS = "heads.safetensors"
LARGE = 500_000_000  # parameters from which on float32 is too much for many a GPU


def train_base(config: BaseConfig, data: Sequence[Path], out: Path, *, seed: int = 0) -> Path:
    """The three stages of the base recipe; returns `out/model`, a folder that `from_pretrained` reads."""
    source = read_training(data)
    claim(out, data, recipe="base", seed=seed, config=config)
    tower, head = _tower(out, replace(config.vision, seed=seed), lambda: _new_tower(config, source, seed))
    tokenizer = _tokenizer(source, out)
    torch.manual_seed(seed)
    model = new_model(config.size, tokenizer)
    use_probed_attention(model)
    grammar = Grammar(tokenizer, config.size.grid ** 2)
    fourier_locations_(model.get_input_embeddings(), grammar.first_location, seed)
    load_tower(model.model.vision_tower, tower)
    taught = Taught(model, config.emphasis)
    taught.dense.load_state_dict(head)
    fit(taught, replace(batches_of(config, model, grammar, source, seed + 1), twins=0.0),
        grounded_losses(grammar.first_location), replace(config.decoder, seed=seed), out / "decoder", name="base")
    return _refined(taught, config, tokenizer, source, out, seed, seed + 4)


def train_further(config: FurtherConfig, data: Sequence[Path], run: Path, out: Path, *, seed: int = 0) -> Path:
    """Go on with the base of the folder `run`, on other or more data; returns `out/model`. run: of `clue-train base` or
    `further`, or a base itself, such as that of a shipped model. InputError when it is neither."""
    base = base_in(run)
    if not (base / "config.json").is_file():
        raise InputError(f"{run} is no run of `clue-train base` or `further` that came to its end, and no base: there is no "
                         f"{base / 'config.json'}")
    source = read_training(data)
    old, grammar = read_base(base)
    check_depth(config.emphasis, old)
    claim(out, [*data, base, run / HEADS], recipe="further", seed=seed, config=config)
    heads = _heads(config, old.float(), grammar, source, run, out, seed)
    torch.manual_seed(seed)
    model = with_grown_tower(old, config.layers, config.side)
    use_probed_attention(model)
    model.model.vision_tower.set_attn_implementation("eager")  # as in `_new_tower`
    taught = Taught(model, config.emphasis)
    taught.load_state_dict(heads, strict=False)
    vision = model.config.vision_config
    side, grid = vision.image_size, grid_of(vision)
    tower, head = _tower(out, replace(config.vision, seed=seed), lambda: (
        DenseTower(model.model.vision_tower, vision.hidden_size, taught.dense),
        DenseBatches(source, side, grid, config.vision_batch, seed + 5, config.close_ups)))
    load_tower(model.model.vision_tower, tower)
    taught.dense.load_state_dict(head)
    return _refined(taught, config, grammar.tokenizer, source, out, seed, seed + 6)


def _heads(config: FurtherConfig, model: PaliGemmaForConditionalGeneration, grammar: Grammar, source: SceneImages, run: Path,
           out: Path, seed: int) -> dict[str, torch.Tensor]:
    """The heads of the auxiliary losses: those that `run` left, or, where a base comes without, new ones, trained on the base
    as it is."""
    if (run / HEADS).is_file():
        return load_file(run / HEADS)
    made = out / HEADS.replace(".", "-fitted.")
    if not made.is_file():
        model.requires_grad_(False)
        torch.manual_seed(seed)
        taught = Taught(model, config.emphasis)
        fit(taught, batches_of(config, model, grammar, source, seed + 9), grounded_losses(grammar.first_location),
            replace(config.heads, seed=seed), out / "heads", name="heads")
        _save_heads(taught, made)
        model.requires_grad_(True)
    return load_file(made)


def _save_heads(taught: Taught, file: Path) -> None:
    with replacing(file) as part:
        save_weights({k: v for k, v in taught.state_dict().items() if not k.startswith("model.")}, part)


def train_naming(config: NamingConfig, data: Sequence[Path], base: str | Path, out: Path, *, seed: int = 0) -> Path:
    """A base without the detection mixture, of the tower of `base`; returns `out/model`."""
    source = read_training(data)
    old, grammar = read_base(base)
    claim(out, [*data, base], recipe="naming", seed=seed, config=config)
    torch.manual_seed(seed)
    model = with_fresh_decoder(old.float())
    model.model.vision_tower.requires_grad_(False)
    use_probed_attention(model)
    fourier_locations_(model.get_input_embeddings(), grammar.first_location, seed)  # as in the base recipe, here never trained
    batches = replace(batches_of(config, model, grammar, source, seed + 8, NAMING_MIXTURE), places=False)
    fit(Pupil(model, Emphasis()), batches, naming_losses(grammar.first_location), replace(config.loop, seed=seed),
        out, name="naming")
    save_base(model, grammar.tokenizer, out / "model")
    return out / "model"


def _refined(taught: Taught, config: BaseConfig | FurtherConfig, tokenizer, source: SceneImages, out: Path, seed: int,
             words_seed: int) -> Path:
    """The last stage, its words drawn with their own seed: `out/model`, and the heads of the auxiliary losses for those
    who go on with it."""
    grammar = Grammar(tokenizer, grid_of(taught.model.config.vision_config) ** 2)
    fit(taught, batches_of(config, taught.model, grammar, source, words_seed), grounded_losses(grammar.first_location),
        replace(config.refine, seed=seed), out / "refine", name="refine")
    save_base(taught.model, tokenizer, out / "model")
    _save_heads(taught, out / HEADS)
    return out / "model"


def base_in(run: Path) -> Path:
    """The base that a run left, or the folder itself where it is one."""
    return run if (run / "config.json").is_file() else run / "model"


def read_training(folders: Sequence[Path]) -> SceneImages:
    """The scenes to train on. InputError for those of the world that is kept for evaluation."""
    source = SceneImages(*folders)
    if source.unseen:
        raise InputError(f"one of {', '.join(map(str, folders))} was written with --unseen, to evaluate on: "
                         "training on it would make that evaluation worthless")
    return source


def check_depth(emphasis: Emphasis, model: nn.Module, *layers: int) -> None:
    """InputError when one of the decoder layers that carry losses, or of these, is none of this decoder's, or when these lie so low
    that they are meant for another one."""
    depth = model.config.get_text_config().num_hidden_layers
    highest = max(emphasis.look_layer, emphasis.point_layer, *emphasis.match_layers, *layers)
    if highest >= depth or (layers and max(layers) < depth // 4):
        raise InputError(f"this config reads decoder layer {max(layers, default=highest)}, the base has {depth}: use --config paligemma2 "
                         "for a published PaliGemma 2, debug for a base of --config debug, else tabletop")


def _new_tower(config: BaseConfig, source: SceneImages, seed: int) -> tuple[DenseTower, DenseBatches]:
    """An untrained tower with its dense head, and what to train it on."""
    size = config.size
    torch.manual_seed(seed)
    dense = DenseTower(SiglipVisionModel(vision_config(size)), size.vision_width)
    dense.tower.set_attn_implementation("eager")  # on a CPU in bfloat16 its backward pass is the fastest
    sincos_positions_(dense.tower, size)
    batches = DenseBatches(source, size.side, size.grid, config.vision_batch, seed)
    whiten_patches_(dense.tower, torch.cat([batches(10 ** 6 + i)["pixel_values"] for i in range(80)]))
    return dense, batches


def _tower(out: Path, loop: LoopConfig, make: Callable[[], tuple[DenseTower, DenseBatches]]) -> tuple[dict, dict]:
    """The weights of the tower and of its dense head after the first stage: of an earlier run, or trained now."""
    if not (done := out / "tower.safetensors").is_file():
        dense, batches = make()
        fit(dense, batches, dense_losses, loop, out / "vision", name="vision")
        with replacing(done) as part:
            save_weights(dense.state_dict(), part)
    weights = load_file(done)
    part = lambda name: {k.removeprefix(name): v for k, v in weights.items() if k.startswith(name)}  # noqa: E731
    return part("tower."), part("head.")


def load_tower(tower: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Weights of a SiglipVisionModel into a PaliGemma's tower; their names differ by a prefix only."""
    bare = {k.split("vision_model.")[-1]: v for k, v in weights.items()}
    tower.load_state_dict({name: bare[name.split("vision_model.")[-1]] for name in tower.state_dict()})


def corpus(scenes: list[Scene], seed: int = 0):
    """Sentences of the tabletop's whole language, for the tokenizer."""
    rng = np.random.default_rng(seed)
    for scene in scenes:
        for sampler in (examples.clear, examples.ambiguous, examples.answered, examples.detect):
            if (example := sampler(scene, rng)) is None:
                continue
            yield from (example.prompt.instruction, " " + example.label, example.question or "")
            for turn in example.prompt.turns:
                yield from (" assistant:", " " + turn.question, " user:", " " + turn.answer)
    yield from [" ; \n"] * 50


def _tokenizer(source: SceneImages, out: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of this run; trained once, then read."""
    folder = out / "tokenizer"
    if not folder.is_dir():
        with replacing(folder) as part:
            train_tokenizer(corpus(source.scenes[:3000])).save_pretrained(part)
    return AutoTokenizer.from_pretrained(folder)


def save_base(model: PaliGemmaForConditionalGeneration, tokenizer, folder: Path) -> None:
    """base/: weights, configuration, tokenizer and processor, as `from_pretrained` expects them."""
    vision = model.config.vision_config
    side = vision.image_size
    images = SiglipImageProcessorPil(size={"height": side, "width": side}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    images.image_seq_length = grid_of(vision) ** 2
    PaliGemmaProcessor(images, tokenizer).save_pretrained(folder)
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder)  # half the size; the adapters are trained on this


def read_base(base: str | Path, *, allow_download: bool = False) -> tuple[PaliGemmaForConditionalGeneration, Grammar]:
    """A base to adapt: a folder or a Hugging Face id, in float32, but a large one on a GPU in bfloat16. ModelError when it is none."""
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    folder = Path(base)
    with network(allow_download):
        model, tokenizer = open_base(folder if folder.is_dir() else str(base), dtype, folder, allow_download=allow_download)
    if sum(p.numel() for p in model.parameters()) < LARGE:
        model.float()
    use_probed_attention(model)
    return model, Grammar(tokenizer, grid_of(model.config.vision_config) ** 2)


def batches_of(config: Batching, model: nn.Module, grammar: Grammar, source: SceneImages, seed: int,
               mixture: Mixture = BASE_MIXTURE) -> GroundedBatches:
    """What to train this model on, as large as its pictures are."""
    vision = model.config.vision_config
    return GroundedBatches(grammar, vision.image_size, grid_of(vision), config.images, config.prompts, seed, source=source,
                           mixture=mixture, twins=config.twins)
