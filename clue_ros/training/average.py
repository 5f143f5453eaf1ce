"""The mean of trainings that began with the same weights: often better than each, most of all where it is new to them
("model soups", Wortsman et al., arXiv 2203.05482). One of them may be the weights that another began with: the mean keeps what those
knew (WiSE-FT, Wortsman et al., arXiv 2109.01903)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file

from clue_ros.files import replacing
from clue_ros.model_folder import ADAPTER, check_weights, read_json, save_weights
from clue_ros.training.recipes import base_in
from clue_ros.types import InputError

PARTS = ("model/model.safetensors", "heads.safetensors", "adapter/adapter_model.safetensors")


def _file(run: Path, part: str) -> Path:
    """Where a run has that part; of a base alone, such as a shipped model's, it is the base that would be in a run's model/."""
    return base_in(run) / Path(part).name if part == PARTS[0] else run / part


def _check_scales(runs: Sequence[Path]) -> None:
    """InputError where the factors of adapters count for more in one run than in another."""
    kinds = []
    for run in runs:
        config = read_json(run / ADAPTER[0])
        kinds.append({key: config.get(key) for key in ("r", "lora_alpha", "use_rslora")})
        if kinds[-1] != kinds[0]:
            raise InputError(f"the adapter of {run} is another one than that of {runs[0]}: {kinds[-1]} and {kinds[0]}")


def average(runs: Sequence[Path], out: Path) -> Path:
    """A run folder with the mean weights of the runs' base (and its heads) or adapter; returns `out`. Of adapters the two factors of every
    LoRA are averaged, not their product. A detector is left out: it reads what has changed, so train it again (`ambiguity --config
    detector`). InputError when they do not hold the same weights, their adapters differ in scale, or `out` is there, ModelError when
    a file is damaged."""
    parts = [part for part in PARTS if all(_file(run, part).is_file() for run in runs)]
    if not parts or len(runs) < 2:
        raise InputError(f"{', '.join(map(str, runs))}: give two or more runs of `clue-train further`, or bases, or runs of `ivg` "
                         "or `ambiguity`, that came to their end")
    if out.exists():
        raise InputError(f"{out} is there already: give another --out, or remove it")
    for file in (_file(run, part) for run in runs for part in parts):
        check_weights(file)
    if PARTS[-1] in parts:
        _check_scales(runs)
    with replacing(out) as folder:
        shutil.rmtree(folder, ignore_errors=True)
        for part in parts:
            states = [load_file(_file(run, part)) for run in runs]
            shapes = [{name: weight.shape for name, weight in state.items()} for state in states]
            for run, other in zip(runs, shapes):
                if other != shapes[0]:
                    raise InputError(f"{_file(run, part)} holds other weights than {_file(runs[0], part)}: only trainings of one model can be "
                                     "averaged")
            if Path(part).parent.name:
                shutil.copytree(_file(runs[0], part).parent, folder / Path(part).parent)
            mean = {name: (sum(state[name].float() for state in states) / len(states)).to(weight.dtype)
                    for name, weight in states[0].items()}
            save_weights(mean, folder / part)
    return out
