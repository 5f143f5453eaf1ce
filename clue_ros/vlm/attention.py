"""Attention weights as a pure function, and how a decoder layer's weights reach the caller.

transformers lets a model's attention be named; ours is registered under `NAME` and computes what "eager" computes. A
`Probe` passed to the model's forward as the keyword `probe` travels to every layer, and the layers it names leave their
weights in it: no hooks, no globals, no patched code.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import AttentionInterface

NAME = "clue_probe"


@dataclass
class Probe:
    """Which layers' weights are wanted, and for which query rows (None: all).

    weights[layer]: float[B, heads, rows, keys], each row a softmax over *all* keys; filled by the forward pass.
    """

    layers: tuple[int, ...]
    rows: Tensor | slice | None = None
    weights: dict[int, Tensor] = field(default_factory=dict)


def soft_capped(scores: Tensor, cap: float | None) -> Tensor:
    """tanh(scores / cap) x cap, as Gemma 2 caps attention scores and logits; the scores themselves without a cap."""
    return scores if cap is None else torch.tanh(scores / cap) * cap


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: float, softcap: float | None) -> Tensor:
    """softmax(softcap(query key^T scale) + mask), as Gemma 2 defines it (arXiv 2408.00118).

    query float[B, heads, Q, d]; key float[B, heads, K, d]; mask float, broadcastable to [B, heads, Q, K], 0 where a
    query may look and -inf (or the dtype's minimum) where not. Returns float[B, heads, Q, K] in query's dtype; the
    softmax itself is computed in float32.
    """
    scores = soft_capped(query @ key.transpose(-1, -2) * scale, softcap)
    if mask is not None:
        scores = scores + mask
    return scores.softmax(-1, dtype=torch.float32).to(query.dtype)


def probed_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
                     dropout: float = 0.0, scaling: float | None = None, softcap: float | None = None,
                     probe: Probe | None = None, **_: object) -> tuple[Tensor, None]:
    """An attention function of transformers' AttentionInterface. Returns ([B, Q, heads, d], None)."""
    scale = module.head_dim ** -0.5 if scaling is None else scaling
    shape = query.shape
    wanted = probe is not None and module.layer_idx in probe.layers
    if wanted and probe.rows is not None:
        chosen = query[:, :, probe.rows]
        mask_rows = attention_mask
        if attention_mask is not None and attention_mask.shape[-2] > 1:
            mask_rows = attention_mask[..., probe.rows, :]
        folded, mask_rows = fold_groups(chosen, mask_rows, key.shape[1])
        probe.weights[module.layer_idx] = attention_weights(folded, key, mask_rows, scale, softcap).reshape(
            *chosen.shape[:3], -1)
    query, attention_mask = fold_groups(query, attention_mask, key.shape[1])
    if softcap is None and not (wanted and probe.rows is None):
        # Without a soft-cap this is the same sum, several times faster.
        output = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, scale=scale,
                                                dropout_p=dropout)
    else:
        weights = attention_weights(query, key, attention_mask, scale, softcap)
        if wanted and probe.rows is None:
            probe.weights[module.layer_idx] = weights.reshape(*shape[:3], -1)
        output = F.dropout(weights, dropout, module.training) @ value
    return output.reshape(shape).transpose(1, 2).contiguous(), None


def fold_groups(query: Tensor, mask: Tensor | None, key_heads: int) -> tuple[Tensor, Tensor | None]:
    """Grouped-query attention (arXiv 2305.13245) without copying a key: the queries that share a key head become more
    rows of one head. query float[B, heads, Q, d] to [B, key_heads, heads / key_heads x Q, d]; the mask's rows repeat."""
    groups = query.shape[1] // key_heads
    if groups == 1:
        return query, mask
    if mask is not None and mask.shape[-2] > 1:
        mask = mask.repeat(1, 1, groups, 1)
    return query.reshape(query.shape[0], key_heads, groups * query.shape[2], query.shape[3]), mask


AttentionInterface.register(NAME, probed_attention)
AttentionMaskInterface.register(NAME, eager_mask)  # a name known only to AttentionInterface would get no mask


def prefix_mask(prefix: Tensor, lengths: Tensor, total: int, dtype: torch.dtype) -> Tensor:
    """The mask of PaliGemma: prefix in both directions, suffix causal, padding invisible.

    prefix, lengths int64[B]: tokens of the prefix, and of prefix and suffix together. Returns float[B, 1, total, total],
    0 where query i may look at key j. With prefix 3 of length 5, padded to 6 (rows i, columns j, 1 = may look):

        1 1 1 0 0 0
        1 1 1 0 0 0
        1 1 1 0 0 0
        1 1 1 1 0 0
        1 1 1 1 1 0
        1 1 1 1 1 0
    """
    position = torch.arange(total, device=prefix.device)
    i, j = position[None, :, None], position[None, None, :]
    may_look = ((j < prefix[:, None, None]) | (j <= i)) & (j < lengths[:, None, None])
    mask = torch.zeros(may_look.shape, dtype=dtype, device=prefix.device)
    return mask.masked_fill(~may_look, torch.finfo(dtype).min)[:, None]
