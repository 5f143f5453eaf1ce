"""The one training loop of all recipes: Accelerate, AdamW or Muon, warm-up and cosine decay, checkpoints, exact resume.

A batch is a pure function of (seed, step), so a run that is stopped and resumed sees the same batches as one that is
not, and reaches the same loss.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from transformers import get_cosine_schedule_with_warmup

from clue_ros.devices import gpu_has_bf16
from clue_ros.files import as_it_reads_back, keep_settings, kept_settings, recovered, replacing
from clue_ros.provenance import digest, hash_files
from clue_ros.training.muon import Muon32
from clue_ros.types import InputError

logging.getLogger("accelerate.checkpointing").setLevel(logging.ERROR)  # tied weights are meant to be shared
logging.getLogger("accelerate.accelerator").setLevel(logging.ERROR)
Losses = dict[str, Tensor]  # "loss" is minimised; the others are logged


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast to train. seed: of the batches and of dropout. bf16: matrix products in bfloat16 where the
    processor has them (a GPU, or a CPU with AVX512-BF16 or AMX). muon: the layers' matrices by Muon instead of AdamW."""

    steps: int
    learning_rate: float
    weight_decay: float = 1e-4
    warmup: int = 100
    clip: float = 1.0
    seed: int = 0
    save_every: int = 250
    log_every: int = 25
    workers: int = 1
    bf16: bool = True
    muon: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.learning_rate <= 0:
            raise ValueError(f"steps must be >= 1 and learning_rate > 0, got {self.steps}, {self.learning_rate}")


class _Steps(Dataset):
    """Batch number `step`, ready to be made in a loader's worker."""

    def __init__(self, make_batch: Callable[[int], object], start: int, steps: int):
        self.make_batch, self.start, self.steps = make_batch, start, steps

    def __len__(self) -> int:
        return self.steps - self.start

    def __getitem__(self, index: int) -> object:
        try:
            return self.make_batch(self.start + index)
        except (InputError, OSError) as error:  # torch would pass it on from a worker as the text of a traceback
            return error


def fit(model: nn.Module, make_batch: Callable[[int], object], losses_of: Callable[[nn.Module, object], Losses],
        config: LoopConfig, folder: str | Path, *, groups: Iterable[dict] | None = None, name: str = "training",
        stop_after: int | None = None) -> dict[str, float]:
    """Train `model` in place; returns the last logged means.

    make_batch(step) gives a batch (any tree of tensors); losses_of(model, batch) gives its losses.
    groups: AdamW parameter groups (default: every trainable parameter), not with Muon. A checkpoint in `folder` is resumed.
    stop_after: leave after that step as if interrupted. FloatingPointError names the loss and step that became NaN.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    set_seed(config.seed)
    accelerator = Accelerator(mixed_precision="bf16" if config.bf16 and fast_bf16() else "no")
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimisers = optimisers_of(model, config, groups)
    schedules = [get_cosine_schedule_with_warmup(o, config.warmup, config.steps) for o in optimisers]
    model, *stepped = accelerator.prepare(model, *optimisers, *schedules)
    start = _resume(accelerator, folder)
    if start >= config.steps:
        return {}
    model.train()
    sums: dict[str, float] = {}
    means: dict[str, float] = {}
    began = time.monotonic()
    _cut_log(folder / "log.jsonl", start)
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log, \
            tqdm(total=config.steps, initial=start, desc=name, unit="step", mininterval=2) as bar:
        for step, batch in enumerate(ahead(make_batch, start, config.steps, config.workers), start):
            with accelerator.autocast():
                losses = losses_of(model, to_device(batch, accelerator.device))
            accelerator.backward(losses["loss"])
            accelerator.clip_grad_norm_(trainable, config.clip)
            for each in stepped:
                each.step()
            for optimiser in stepped[:len(optimisers)]:
                optimiser.zero_grad(set_to_none=True)
            for key, value in losses.items():
                value = float(value.detach())
                if not math.isfinite(value):
                    raise FloatingPointError(f"{key} became {value} at step {step} of {name}")
                sums[key] = sums.get(key, 0.0) + value
            done = step + 1
            bar.update()
            if done % config.log_every == 0 or done == config.steps:
                count = min(done - start, (done - 1) % config.log_every + 1)  # since the sums were empty
                means = {key: value / count for key, value in sums.items()}
                sums = {}
                bar.set_postfix({k: f"{v:.3f}" for k, v in means.items()})
                record = {"step": done, "seconds": round(time.monotonic() - began, 1), **means}
                log.write(json.dumps(record) + "\n")
                log.flush()
            last = done == config.steps or done == stop_after
            if done % config.save_every == 0 or last:
                _save(accelerator, folder, done)
            if last:
                break
    return means


def ahead(make_batch: Callable[[int], object], start: int, stop: int, workers: int) -> Iterator[object]:
    """The batches from `start` to before `stop`, made ahead of their use by so many processes, or none."""
    loader = DataLoader(_Steps(make_batch, start, stop), batch_size=None, num_workers=workers, pin_memory=torch.cuda.is_available(),
                        prefetch_factor=max(2, 4 // workers) if workers else None,
                        generator=torch.Generator())  # its own: it must not move the one that `fit` has just restored
    for batch in loader:
        if isinstance(batch, Exception):
            raise batch
        yield batch


def optimisers_of(model: nn.Module, config: LoopConfig, groups: Iterable[dict] | None = None) -> list[torch.optim.Optimizer]:
    """AdamW for everything; or Muon (Jordan et al. 2024) for the matrices of attention and MLPs and AdamW for the rest.

    Muon's updates are scaled to the size of AdamW's (Liu et al., arXiv 2502.16982), then taken twice as long: from scratch
    the tower's loss after 400 steps was that of AdamW after 800.
    """
    common = {"weight_decay": config.weight_decay}
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    matrices = [p for n, p in named if config.muon and p.ndim == 2 and ".layers." in n]
    taken = set(map(id, matrices))
    rest = groups or [p for _, p in named if id(p) not in taken]
    adamw = torch.optim.AdamW(rest, lr=config.learning_rate, betas=(0.9, 0.98), **common)
    if not matrices:
        return [adamw]
    rate = 2 * config.learning_rate
    if fast_bf16():
        return [torch.optim.Muon(matrices, lr=rate, adjust_lr_fn="match_rms_adamw", **common), adamw]
    return [Muon32(matrices, lr=rate, **common), adamw]


def fast_bf16() -> bool:
    """Whether bfloat16 products are faster than float32 ones on this machine."""
    if torch.cuda.is_available():
        return gpu_has_bf16()
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def to_device(batch, device: torch.device):
    """The tensors of a dict on the device; everything else as it is."""
    return {k: v.to(device, non_blocking=v.is_pinned()) if isinstance(v, Tensor) else v for k, v in batch.items()}


def claim(out: Path, inputs: Sequence[str | Path], **settings: object) -> None:
    """Mark the folder of a run as of these settings, and of what the input files and folders hold now (a hub's name is taken as it
    is). InputError when it is a run of others, which must not be resumed."""
    held = {str(Path(path)): digest(hash_files(Path(path), "")) for path in inputs}
    file, mine = out / "run.json", as_it_reads_back(settings | {"inputs": held})
    there = kept_settings(file) or mine
    if differing := [key for key in sorted({*there, *mine}) if there.get(key) != mine.get(key)]:
        raise InputError(f"{out} is the folder of another run, or what it was made from has changed since: give another --out, or "
                         f"remove it ({'; '.join(_change(key, there.get(key), mine.get(key)) for key in differing)})")
    keep_settings(file, mine)


def _change(key: str, was: object, now: object) -> str:
    """What differs, such as "seed was 0, is 1"."""
    if key == "inputs" and isinstance(was, dict):
        names = sorted(name for name in {*was, *now} if was.get(name) != now.get(name))
        return f"{', '.join(names)} {'was not read then, or holds' if set(was) != set(now) else 'holds'} something else"
    return f"{key} was {was}, is {now}"


def _cut_log(log: Path, start: int) -> None:
    """Without the steps after the checkpoint that is gone on from: they come again."""
    if log.is_file():
        lines = [line for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
        with replacing(log) as part:
            part.write_text("".join(line for line in lines if json.loads(line)["step"] <= start), encoding="utf-8")


def _save(accelerator: Accelerator, folder: Path, step: int) -> None:
    """Replace the checkpoint; wherever it is stopped, a whole one is left (`_resume` finds it)."""
    with replacing(folder / "checkpoint") as fresh:
        shutil.rmtree(fresh, ignore_errors=True)
        accelerator.save_state(str(fresh))
        (fresh / "step.json").write_text(json.dumps({"step": step}), encoding="utf-8")


def _resume(accelerator: Accelerator, folder: Path) -> int:
    """Load the checkpoint, if there is one; the number of steps already done."""
    record = recovered(folder / "checkpoint") / "step.json"
    if not record.is_file():
        return 0
    accelerator.load_state(str(folder / "checkpoint"))
    return int(json.loads(record.read_text(encoding="utf-8"))["step"])
