"""Where a model computes, and in what."""

from __future__ import annotations

import torch

from clue_ros.types import ModelError

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
