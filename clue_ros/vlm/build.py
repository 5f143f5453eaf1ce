"""A PaliGemma-2 architecture of a few million parameters, with random weights: SigLIP, linear projector, Gemma 2."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import Gemma2Config, PaliGemmaConfig, PaliGemmaForConditionalGeneration, SiglipVisionConfig

from clue_ros.types import InputError


@dataclass(frozen=True)
class Size:
    """Widths and depths. side, patch in pixels: (side / patch)^2 image tokens."""

    side: int = 200
    patch: int = 20
    vision_width: int = 192
    vision_layers: int = 5
    vision_heads: int = 4
    vision_mlp: int = 512
    width: int = 192
    layers: int = 6
    heads: int = 6
    key_value_heads: int = 3
    mlp: int = 448

    def __post_init__(self) -> None:
        if self.side % self.patch:
            raise ValueError(f"side {self.side} is no multiple of patch {self.patch}")
        if self.width % self.heads or self.heads % self.key_value_heads:
            raise ValueError("width must be a multiple of heads, heads of key_value_heads")

    @property
    def grid(self) -> int:
        """Patches a side."""
        return self.side // self.patch


def grid_of(vision: SiglipVisionConfig) -> int:
    """Patches a side of a tower's pictures; its square is the number of image tokens."""
    return vision.image_size // vision.patch_size


def vision_config(size: Size) -> SiglipVisionConfig:
    """The tower's configuration; dtype and initialisation are transformers' own."""
    return SiglipVisionConfig(
        hidden_size=size.vision_width, intermediate_size=size.vision_mlp, num_hidden_layers=size.vision_layers,
        num_attention_heads=size.vision_heads, image_size=size.side, patch_size=size.patch,
        projection_dim=size.width, vision_use_head=False)


def new_model(size: Size, tokenizer) -> PaliGemmaForConditionalGeneration:
    """Random weights for the vocabulary of `tokenizer` (a tokenizer of `vlm.vocabulary`)."""
    text = Gemma2Config(
        vocab_size=len(tokenizer), hidden_size=size.width, intermediate_size=size.mlp, num_hidden_layers=size.layers,
        num_attention_heads=size.heads, num_key_value_heads=size.key_value_heads, head_dim=size.width // size.heads,
        query_pre_attn_scalar=size.width // size.heads, max_position_embeddings=1024, sliding_window=1024,
        attn_logit_softcapping=None, final_logit_softcapping=None, tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id)
    config = PaliGemmaConfig(vision_config=vision_config(size).to_dict(), text_config=text.to_dict(),
                             image_token_index=tokenizer.convert_tokens_to_ids("<image>"), projection_dim=size.width,
                             hidden_size=size.width, pad_token_id=tokenizer.pad_token_id,
                             bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id)
    model = PaliGemmaForConditionalGeneration(config)
    sincos_positions_(model.model.vision_tower, size)
    return model


def with_fresh_decoder(model: PaliGemmaForConditionalGeneration) -> PaliGemmaForConditionalGeneration:
    """The model's tower before a projector and a decoder with random weights."""
    fresh = PaliGemmaForConditionalGeneration(copy.deepcopy(model.config))
    fresh.model.vision_tower.load_state_dict(model.model.vision_tower.state_dict())
    return fresh


@torch.no_grad()
def with_grown_tower(model: PaliGemmaForConditionalGeneration, layers: int = 0, side: int | None = None,
                     ) -> PaliGemmaForConditionalGeneration:
    """The model with `layers` more blocks at the end of its tower, which at first add nothing, and for pictures of `side`
    pixels (default: as before): the position embedding is stretched over the finer grid, as from SigLIP 224 to 448."""
    config = copy.deepcopy(model.config)
    vision = config.vision_config
    first, before = vision.num_hidden_layers, grid_of(vision)
    vision.num_hidden_layers += layers
    vision.image_size = side or vision.image_size
    if vision.image_size % vision.patch_size:
        raise InputError(f"pictures of {side} pixels cannot be cut into patches of {vision.patch_size}")
    grid = grid_of(vision)
    config.text_config.num_image_tokens = grid ** 2
    grown = PaliGemmaForConditionalGeneration(config)
    weights = model.state_dict()
    (name,) = (n for n in weights if n.endswith("position_embedding.weight"))
    table = weights[name].T.reshape(1, -1, before, before)
    table = torch.nn.functional.interpolate(table, size=(grid, grid), mode="bicubic", align_corners=False)
    missing, unexpected = grown.load_state_dict(weights | {name: table.flatten(2)[0].T}, strict=False)
    blocks = next(m for n, m in grown.model.vision_tower.named_modules() if n.endswith("encoder.layers"))[first:]
    assert not unexpected and all(".encoder.layers." in name for name in missing)
    for block in blocks:
        for last in (block.self_attn.out_proj, block.mlp.fc2):
            last.weight.zero_()
            last.bias.zero_()
    return grown


@torch.no_grad()
def sincos_positions_(tower: torch.nn.Module, size: Size) -> None:
    """Start the tower's learned position embedding from 2-D sine and cosine (Vaswani et al. 2017, one half an axis)."""
    table = next(p for n, p in tower.named_parameters() if n.endswith("position_embedding.weight"))
    grid, quarter = size.grid, size.vision_width // 4
    rate = torch.exp(-math.log(100.0) * torch.arange(quarter) / quarter)
    angle = torch.arange(grid)[:, None] * rate
    axis = torch.cat([angle.sin(), angle.cos()], 1)  # (grid, width / 2)
    rows, columns = axis[:, None].expand(grid, grid, -1), axis[None].expand(grid, grid, -1)
    table.copy_(0.5 * torch.cat([rows, columns], -1).reshape(grid * grid, -1))


@torch.no_grad()
def whiten_patches_(tower: torch.nn.Module, pixels: torch.Tensor, gain: float = 0.5, floor: float = 1e-4) -> None:
    """Start the patch embedding from the whitened principal components of real patches.

    Random filters respond almost only to a patch's mean colour, so shapes are learned very slowly; whitening gives fine
    structure the same strength (as the first layer in arXiv 2404.00498). pixels float32[B, 3, S, S] in [-1, 1].
    """
    conv = next(m for m in tower.modules() if isinstance(m, torch.nn.Conv2d))
    patches = torch.nn.functional.unfold(pixels, conv.kernel_size[0], stride=conv.kernel_size[0])
    patches = patches.transpose(1, 2).flatten(0, 1)  # (B * N, 3 * p * p)
    mean = patches.mean(0)
    covariance = torch.cov((patches - mean).T)
    values, vectors = torch.linalg.eigh(covariance)
    best = values.argsort(descending=True)[:conv.out_channels]
    filters = gain * vectors[:, best].T / (values[best, None] + floor).sqrt()
    conv.weight.copy_(filters.reshape(conv.weight.shape))
    conv.bias.copy_(-filters @ mean)


@contextmanager
def quiet_peft() -> Iterator[None]:
    """No warning that PEFT asks transformers for something by its old name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
