"""Real training, in seconds: the debug recipes run end to end, resume exactly, and leave a model that loads."""

import json

import numpy as np
import pytest
import torch

from clue_ros.dialog import Dialog
from clue_ros.model_folder import load
from clue_ros.training.forward import fourier_locations_, smooth_locations
from clue_ros.training.loop import LoopConfig, fit
from clue_ros.training.recipes import CONFIGS, train_ivg
from clue_ros.training.vision import patch_owner
from clue_ros.types import Frame

DEBUG = CONFIGS["debug"]


def test_the_recipes_make_a_model_that_looks(trained, frame):
    clue = load(trained, "cpu")
    decision = clue.look(frame, Dialog.start("pick up the red mug"))
    assert 0 <= decision.ambiguity.probability <= 1
    assert decision.ambiguity.heatmap.shape == (clue.vlm.grid, clue.vlm.grid)


def test_the_model_holds_no_pickle(trained):
    kinds = {f.suffix for f in trained.rglob("*") if f.is_file()}
    assert kinds <= {".json", ".safetensors", ".md", ".jinja"}


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_stopped_run_resumes_to_the_same_loss(data, trained, tmp_path):
    base = trained / "base"
    train_ivg(DEBUG["ivg"], [data], base, tmp_path / "whole")
    train_ivg(DEBUG["ivg"], [data], base, tmp_path / "parts", stop_after=2)
    assert len(losses(tmp_path / "parts")) == 2
    train_ivg(DEBUG["ivg"], [data], base, tmp_path / "parts")
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)


def test_a_loss_that_becomes_nan_stops_and_is_named(tmp_path):
    model = torch.nn.Linear(1, 1)
    with pytest.raises(FloatingPointError, match="loss became nan at step 0"):
        fit(model, lambda step: {"x": torch.ones(1)}, lambda m, b, s: {"loss": m(b["x"]).sum() * float("nan")},
            LoopConfig(2, 1e-3, workers=0), tmp_path)


@pytest.mark.parametrize("settings", [{"steps": 0, "learning_rate": 1e-3}, {"steps": 1, "learning_rate": 0.0}])
def test_senseless_settings_are_refused(settings):
    with pytest.raises(ValueError, match="steps must be >= 1"):
        LoopConfig(**settings)


def test_smoothed_location_targets_are_centred_distributions():
    rows = smooth_locations(12.0)
    assert torch.allclose(rows.sum(-1), torch.ones(1024), atol=1e-5)
    assert torch.equal(rows[100:900].argmax(-1), torch.arange(100, 900))


def test_near_locations_start_alike():
    table = torch.nn.Embedding(1100, 64)
    fourier_locations_(table, 50)
    e = torch.nn.functional.normalize(table.weight[50:1074], dim=-1)
    near, far = (e[500] @ e[503]).item(), (e[500] @ e[900]).item()
    assert near > 0.9 and near > far + 0.3


def test_every_object_owns_the_patch_under_its_centre(two_mugs):
    owner = patch_owner(two_mugs, 10)
    for i, item in enumerate(two_mugs.objects):
        x, y = item.centre
        assert owner[int(y * 10), int(x * 10)] == i


def test_frames_of_another_size_are_one_squash_away(trained):
    clue = load(trained, "cpu")
    wide = Frame(np.zeros((30, 400, 3), np.uint8))
    box = clue.vlm.locate(clue.vlm.prefill(clue.vlm.encode(wide), Dialog.start("x").prompt, (1,)), wide.size).box
    assert box.x2 <= 400 and box.y2 <= 30
