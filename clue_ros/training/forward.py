"""One training forward pass of any PaliGemma, and the losses that all recipes share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clue_ros.vlm.attention import Probe, prefix_mask, soft_capped
from clue_ros.vlm.tokens import LOCATIONS


@dataclass
class Forward:
    """Named intermediates of a pass.

    hidden: the decoder's hidden states by layer, [0] its input, float[B, T, d]; the last one is normalised. probe: the
    attention weights of the layers that were asked for.
    """

    hidden: tuple[Tensor, ...]
    probe: Probe
    seen: Tensor  # the tower's patches, float[I, N, d]


def run(model: nn.Module, batch: dict[str, Tensor], layers: tuple[int, ...] = (), *, tower_grad: bool = False) -> Forward:
    """Encode every image once, put it before each of its sequences, and run the decoder.

    batch: pixel_values float[I, 3, S, S] and the fields of `data.collate.collate` for B = I x k sequences, k in a row
    an image. layers: whose attention weights to keep.
    """
    inner = model.model
    with torch.set_grad_enabled(tower_grad and torch.is_grad_enabled()):
        seen = inner.vision_tower(pixel_values=batch["pixel_values"]).last_hidden_state
    images = inner.multi_modal_projector(seen)  # (I, N, d)
    ids, count = batch["ids"], images.shape[1]
    words = model.get_input_embeddings()(ids[:, count:])
    embeddings = torch.cat([images.repeat_interleave(len(ids) // len(images), 0).to(words.dtype), words], 1)
    mask = prefix_mask(batch["prefix"], batch["lengths"], ids.shape[1], embeddings.dtype)
    positions = torch.arange(1, ids.shape[1] + 1, device=ids.device)[None]  # PaliGemma counts from 1
    probe = Probe(layers)
    out = inner.language_model(inputs_embeds=embeddings, position_ids=positions, use_cache=False, probe=probe,
                               attention_mask={"full_attention": mask, "sliding_attention": mask},
                               output_hidden_states=True)
    return Forward(out.hidden_states, probe, seen)


def smooth_locations(sigma: float) -> Tensor:
    """float32[1024, 1024]: row t is a Gaussian around location t, `sigma` locations wide, summing to 1."""
    steps = torch.arange(LOCATIONS, dtype=torch.float32)
    return torch.softmax(-0.5 * ((steps[:, None] - steps[None]) / sigma) ** 2, -1)


def suffix_losses(model: nn.Module, hidden: Tensor, labels: Tensor, first_location: int, smooth: Tensor,
                  ) -> tuple[Tensor, Tensor]:
    """(location loss, text loss) of the suffix: mean cross-entropy a token; location targets are Gaussians."""
    here = labels >= 0
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    logits = soft_capped(model.lm_head(hidden[here]), cap)  # (n, vocabulary)
    logp, target = F.log_softmax(logits.float(), -1), labels[here]
    number = target - first_location
    is_location = (number >= 0) & (number < LOCATIONS)
    text = -logp[~is_location].gather(1, target[~is_location, None]).mean()
    spans = logp[is_location, first_location:first_location + LOCATIONS]
    location = -(smooth[number[is_location]] * spans).sum(-1).mean() if is_location.any() else text.new_zeros(())
    return location, text


def map_loss(maps: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy between where attention goes and where it should.

    maps float[n, N]: attention on the image's patches (any scale); target float[n, N], rows summing to 1.
    """
    shares = maps / maps.sum(-1, keepdim=True).clamp_min(1e-9)
    return -(target * shares.clamp_min(1e-6).log()).sum(-1).mean()


def fourier_locations_(embedding: nn.Embedding, first_location: int, seed: int = 0, gain: float = 2.5) -> None:
    """Start the location tokens' embeddings as random Fourier features of the coordinate, so that near is alike.

    (Rahimi & Recht 2007.) Learned one by one from scratch, 1,024 embeddings would each need many examples. They start
    `gain` times as long as words', since tied to the output they must also tell 1,024 neighbours apart.
    """
    width = embedding.weight.shape[1]
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.exp(torch.empty(width).uniform_(math.log(1.5), math.log(120.0), generator=generator))
    phase = torch.empty(width).uniform_(0, 2 * math.pi, generator=generator)
    at = torch.linspace(0, 1, LOCATIONS)[:, None]
    with torch.no_grad():
        scale = gain * embedding.weight.std() * math.sqrt(2)
        embedding.weight[first_location:first_location + LOCATIONS] = scale * torch.cos(at * frequency + phase)
