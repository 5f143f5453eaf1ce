"""What the recipes teach: losses whose least value is known by hand, and batches in which everybody is told of their own picture."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clue_ros.data import examples
from clue_ros.data.collate import collate, encode
from clue_ros.data.scenes import SceneImages
from clue_ros.training.base import GroundedBatches, corner_loss
from clue_ros.training.forward import run, smooth_locations, suffix_losses
from clue_ros.vlm.paligemma import Vlm
from clue_ros.vlm.preprocess import to_pixel_values

LOCATIONS = 1024


def test_corners_are_taught_as_the_tokens_come_top_left_bottom_right():
    at = (102, 205, 614, 921)  # y1 x1 y2 x2
    said = F.one_hot(torch.tensor(at), LOCATIONS).float() * 50
    embedding = nn.Embedding.from_pretrained(torch.eye(LOCATIONS + 3).roll(3, 0)[:, :LOCATIONS])  # the locations are tokens 3, 4 ...
    taught = SimpleNamespace(corners=lambda hidden: said.flatten()[None].expand(len(hidden), -1), smooth=torch.eye(LOCATIONS),
                             model=SimpleNamespace(get_input_embeddings=lambda: embedding))
    box = torch.tensor([at[1], at[0], at[3], at[2]]) / (LOCATIONS - 1)  # x1 y1 x2 y2
    batch = {"point": torch.tensor([[[0.0, 1.0, 0.0]]]), "boxes": box[None, None]}
    assert corner_loss(taught, torch.ones(1, 3, 8), batch, 3) < 1e-4
    assert corner_loss(taught, torch.ones(1, 3, 8), batch | {"boxes": box[None, None, [1, 0, 3, 2]]}, 3) > 10


def model_that_says(logits: torch.Tensor, cap: float | None = None):
    """One whose hidden states are its logits."""
    text = SimpleNamespace(final_logit_softcapping=cap)
    return SimpleNamespace(lm_head=lambda hidden: logits[:len(hidden)], config=SimpleNamespace(get_text_config=lambda: text))


def test_words_and_places_are_scored_apart_and_places_by_how_far_they_are():
    first, vocabulary = 5, 5 + LOCATIONS
    labels = torch.tensor([[-100, first + 100, 2]])
    hidden = torch.zeros(1, 3, 4)

    def losses(number, word, sigma=12.0, cap=None):
        logits = torch.zeros(2, vocabulary)
        logits[0, first + number] = logits[1, word] = 60.0
        return suffix_losses(model_that_says(logits, cap), hidden, labels, first, smooth_locations(sigma))
    near, far = losses(100, 2), losses(130, 2)
    assert near[0] < losses(106, 2)[0] < far[0] and near[1] == far[1] < 1e-6 < losses(100, 3)[1]
    exact, _ = losses(100, 2, sigma=0.01)
    assert exact < 1e-6  # no wider than one location
    capped = np.log1p((vocabulary - 1) * np.exp(-30 * np.tanh(2)))
    assert losses(100, 2, cap=30.0)[1] == pytest.approx(capped, rel=1e-3, abs=1e-9)


def test_the_tower_learns_where_it_is_to_and_nowhere_else(tiny, frame, some_examples):
    vlm = Vlm(tiny(), tiny.tokenizer)
    vlm.model.requires_grad_(True)
    batch = collate([encode(example, vlm.grammar) for example in some_examples[:2]], vlm.grammar.pad)
    batch["pixel_values"] = torch.from_numpy(to_pixel_values(frame.rgb, vlm.side))[None]
    tower = next(vlm.model.model.vision_tower.parameters())
    for learns in (True, False):
        vlm.model.zero_grad()
        run(vlm.model, batch, tower_grad=learns).hidden[-1].sum().backward()
        assert (tower.grad is not None) == learns


def test_of_twins_the_fuller_picture_is_the_one_that_is_ambiguous(tiny, pairs, monkeypatch):
    source, grammar = SceneImages(pairs), Vlm(tiny(), tiny.tokenizer).grammar
    full, fewer = source.scenes[0], source.scenes[1]
    pictures = (np.full((48, 64, 3), 40, np.uint8), full), (np.full((48, 64, 3), 200, np.uint8), fewer)
    monkeypatch.setattr(SceneImages, "augmented_twins", lambda self, rng: pictures)
    grid = round(grammar.image_tokens ** 0.5)
    batches = GroundedBatches(grammar, 64, grid, 2, 3, 0, source=source, mixture=((1.0, examples.clear),), twins=1.0)
    batch = batches(0)
    dark, light = batch["pixel_values"].mean((1, 2, 3)).tolist()
    assert dark < 0 < light and batch["ambiguous"].tolist() == [True] * 3 + [False] * 3
    meant = (batch["point"].sum(-1) > 0).sum(1)
    assert (meant[:3] > 1).all() and (meant[3:] == 1).all()
