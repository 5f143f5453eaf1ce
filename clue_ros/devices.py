"""Where a model computes, in what, and with how many threads."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from clue_ros.types import ModelError

SMALL = 100_000_000  # weights of a model whose single steps are too short to be worth sharing
NO_DEVICE = 'device "{}" is none of auto, cpu, cuda, cuda:0 ...'


def pick_device(device: str) -> torch.device:
    """"auto" is the first CUDA GPU, else the CPU."""
    try:
        chosen = torch.device("cuda:0" if torch.cuda.is_available() else "cpu") if device == "auto" else torch.device(device)
    except RuntimeError as error:
        raise ModelError(NO_DEVICE.format(device)) from error
    if chosen.type not in ("cpu", "cuda"):
        raise ModelError(NO_DEVICE.format(device))
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device \"{device}\" was asked for, but torch sees no CUDA GPU: install a CUDA build of torch "
                         "and its driver, or set device to cpu")
    if chosen.type == "cuda" and (chosen.index or 0) >= (count := torch.cuda.device_count()):
        raise ModelError(f"device \"{device}\" was asked for, but torch sees {count} CUDA GPU(s), from cuda:0: set device to one "
                         "of them")
    return chosen


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """"auto" is bfloat16 on a GPU that computes in it (NVIDIA's from Ampere on), else float32."""
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" and gpu_has_bf16(device) else torch.float32
    if dtype not in names:
        raise ModelError(f"dtype \"{dtype}\" is none of auto, {', '.join(names)}")
    return names[dtype]


def gpu_has_bf16(device: torch.device | str = "cuda") -> bool:
    """Whether this CUDA GPU computes in bfloat16; older ones only make as if, slowly."""
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def pick_threads(threads: int, weights: int, device: torch.device) -> int:
    """Of the CPU, 0 is one for a model of few weights, or one on a GPU; else all `usable_cores`. Threads that share a step wait for
    the slowest of them, many hundred times a look: with two on two cores, one busy program of somebody else slows a small
    model's look from 0.06 s to 4 s; with one it takes 0.06 s all the same."""
    if threads:
        return threads
    return usable_cores() if device.type == "cpu" and weights >= SMALL else 1


def usable_cores(quota_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The cores that this process may run on, and no more than a container's quota is worth. quota_file: cgroup v2's, quota and period
    in microseconds, "max" for none."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = map(int, quota_file.read_text().split())
    except (OSError, ValueError):
        return cores
    return max(1, min(cores, quota // period))
