"""Muon with its products in float32: torch's own are in bfloat16, which costs several times as much where the processor has none."""

from __future__ import annotations

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration (Jordan et al. 2024), as in torch.optim.Muon

# What a checkpoint must say for torch.optim.Muon to go on with it, on another machine.
TORCHS = {"nesterov": True, "ns_coefficients": COEFFICIENTS, "eps": 1e-7, "ns_steps": 5, "adjust_lr_fn": "match_rms_adamw"}


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """The matrices with all singular values near 1, float32[n, rows, columns]: Newton and Schulz's iteration."""
    a, b, c = COEFFICIENTS
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    wide = wide / wide.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(steps):
        gram = wide @ wide.mT
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide if matrices.shape[1] <= matrices.shape[2] else wide.mT


class Muon32(torch.optim.Optimizer):
    """What `torch.optim.Muon(…, adjust_lr_fn="match_rms_adamw")` computes, but for rounding. Matrices only."""

    def __init__(self, params, lr: float, weight_decay: float, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, **TORCHS})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One step, all matrices of one shape at once."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            shapes: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    shapes.setdefault(weight.shape, []).append(weight)
            for shape, weights in shapes.items():
                updates = []
                for weight in weights:
                    mean = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                    mean.lerp_(weight.grad, 1 - momentum)
                    updates.append(weight.grad.lerp(mean, momentum))
                rate = lr * 0.2 * max(shape) ** 0.5
                for weight, update in zip(weights, orthogonalised(torch.stack(updates))):
                    weight.mul_(1 - lr * group["weight_decay"]).add_(update, alpha=-rate)
