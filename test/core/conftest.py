"""A tiny PaliGemma-2 with random weights of the true architecture, and frames to show it."""

import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from clue_ros.data import examples
from clue_ros.tabletop.scene import read_scenes, to_json
from clue_ros.training.configs import _TINY, CONFIGS
from clue_ros.training.adapters import assemble, train_ambiguity, train_ivg
from clue_ros.training.recipes import corpus, train_base
from clue_ros.types import Frame
from clue_ros.vlm.build import new_model
from clue_ros.vlm.vocabulary import train_tokenizer
from tabletop_scenes import scene_of

DEMO = Path(__file__).resolve().parents[2] / "resource" / "demo"


@pytest.fixture(scope="session")
def two_mugs():
    return scene_of(("large", "red", "mug", 0.2, 0.5), ("large", "blue", "mug", 0.8, 0.5), ("large", "red", "ball", 0.5, 0.2))


class Tiny:
    """tiny() makes a model, the same one every time."""

    def __init__(self, scenes):
        self.tokenizer = train_tokenizer(corpus(scenes))

    def __call__(self, softcap: float | None = None):
        torch.manual_seed(0)
        model = new_model(_TINY, self.tokenizer)
        for layer in model.model.language_model.layers:
            layer.self_attn.attn_logit_softcapping = softcap
        with torch.no_grad():  # spread out, so that attention and argmax are far from uniform
            for name, weight in model.named_parameters():
                if weight.ndim == 2:
                    weight.mul_(3.0)
        return model.eval()

    @staticmethod
    def lora_parameters(rank: int) -> int:
        """Of rank `rank` on q, k, v, o, gate, up, down of every decoder layer."""
        s = _TINY
        kv = s.width // s.heads * s.key_value_heads
        shapes = [(s.width, s.width), (s.width, kv), (s.width, kv), (s.width, s.width)] + [(s.width, s.mlp)] * 2 + [
            (s.mlp, s.width)]
        return s.layers * sum(rank * (a + b) for a, b in shapes)


@pytest.fixture(scope="session")
def tiny(two_mugs):
    return Tiny([two_mugs] * 40)


@pytest.fixture(scope="session")
def frame():
    return Frame(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))


@pytest.fixture(scope="session")
def some_examples(two_mugs):
    rng = np.random.default_rng(0)
    return [e for f in (examples.clear, examples.ambiguous, examples.answered, examples.detect)
            for _ in range(5) if (e := f(two_mugs, rng))]


@pytest.fixture(scope="session")
def data(tmp_path_factory, two_mugs):
    """A data set of four small images, made without OpenGL."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    rng, lines = np.random.default_rng(0), []
    for k in range(4):
        cv2.imwrite(str(folder / f"images/{k}.jpg"), rng.integers(0, 256, (48, 64, 3), np.uint8))
        lines.append(to_json(two_mugs).replace('"image":""', f'"image":"images/{k}.jpg"').replace('"id":0', f'"id":{k}'))
    (folder / "scenes.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Three pairs of noise pictures: two red mugs, and the same with one of them gone."""
    folder, rng, lines = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0), []
    (folder / "images").mkdir()
    full = scene_of(("large", "red", "mug", 0.2, 0.5), ("large", "red", "mug", 0.8, 0.5), ("large", "red", "ball", 0.5, 0.2))
    for k in range(6):
        scene = dataclasses.replace(full, id=k, image=f"images/{k}.jpg", pair=k ^ 1,
                                    objects=full.objects if k % 2 == 0 else full.objects[1:])
        cv2.imwrite(str(folder / scene.image), rng.integers(0, 256, (48, 64, 3), np.uint8))
        lines.append(to_json(scene))
    (folder / "scenes.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def scenes(tmp_path):
    """The demo's pictures as a data set of pairs: its scenes, numbered from 0."""
    folder, found = tmp_path / "pairs", read_scenes(DEMO)
    numbers = {scene.id: k for k, scene in enumerate(found)}
    shutil.copytree(DEMO, folder)
    (folder / "scenes.jsonl").write_text("".join(
        to_json(dataclasses.replace(s, id=numbers[s.id], pair=numbers[s.pair])) + "\n" for s in found))
    return folder


@pytest.fixture(scope="session")
def base_run(data, tmp_path_factory):
    """The folder of a finished run of the base recipe."""
    out = tmp_path_factory.mktemp("runs") / "base"
    train_base(CONFIGS["debug"]["base"], [data], out)
    return out


@pytest.fixture(scope="session")
def trained(data, base_run, tmp_path_factory):
    out, base = tmp_path_factory.mktemp("runs"), base_run / "model"
    adapter = train_ivg(CONFIGS["debug"]["ivg"], [data], base, out / "ivg")
    run = train_ambiguity(CONFIGS["debug"]["ambiguity"], [data], base, adapter, out / "ambiguity")
    return assemble(base, run / "adapter", run / "detector", out / "model")
