"""The loop that every recipe runs in: what it logs, where it stops, whose run a folder is, and who moves which weights."""

import json

import pytest
import torch

from clue_ros.training.loop import LoopConfig, claim, fit, optimisers_of
from clue_ros.training.muon import Muon32
from clue_ros.types import InputError


def test_a_run_is_not_resumed_when_what_it_was_made_from_has_changed(tmp_path):
    (tmp_path / "data").mkdir()
    scenes = tmp_path / "data" / "scenes.jsonl"
    scenes.write_text("one")
    for _ in range(2):
        claim(tmp_path / "run", [tmp_path / "data", "google/paligemma2"], recipe="ivg")
    scenes.write_text("two")
    with pytest.raises(InputError, match="run is the folder of another run, or what it was made from has changed since"):
        claim(tmp_path / "run", [tmp_path / "data", "google/paligemma2"], recipe="ivg")


def test_what_is_logged_after_a_resumed_step_is_a_mean(tmp_path):
    config = LoopConfig(60, 1e-3, workers=0, log_every=25)
    model = torch.nn.Linear(1, 1)
    for stop in (28, None):
        fit(model, lambda step: {"x": torch.ones(1)}, lambda m, b: {"loss": 0 * m(b["x"]).sum() + 2}, config, tmp_path,
            stop_after=stop)
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [one["step"] for one in logged] == [25, 50, 60] and all(one["loss"] == 2 for one in logged)


def test_a_loss_that_becomes_nan_stops_and_is_named(tmp_path):
    model = torch.nn.Linear(1, 1)
    with pytest.raises(FloatingPointError, match="loss became nan at step 0"):
        fit(model, lambda step: {"x": torch.ones(1)}, lambda m, b: {"loss": m(b["x"]).sum() * float("nan")},
            LoopConfig(2, 1e-3, workers=0), tmp_path)


@pytest.mark.parametrize("settings", [{"steps": 0, "learning_rate": 1e-3}, {"steps": 1, "learning_rate": 0.0}])
def test_senseless_settings_are_refused(settings):
    with pytest.raises(ValueError, match="steps must be >= 1"):
        LoopConfig(**settings)


def test_an_error_in_a_batch_is_one_sentence_also_from_a_worker(tmp_path):
    def damaged(step):
        raise InputError(f"picture {step} is damaged")
    for workers in (0, 1):
        with pytest.raises(InputError, match="^picture 0 is damaged$"):
            fit(torch.nn.Linear(1, 1), damaged, lambda *_: {}, LoopConfig(2, 0.1, workers=workers), tmp_path / str(workers))


def test_muon_gets_the_layers_matrices_and_adamw_all_else(tiny):
    model = tiny()
    muon, adamw = optimisers_of(model, LoopConfig(2, 1e-3, muon=True))
    matrices, rest = ([p for g in o.param_groups for p in g["params"]] for o in (muon, adamw))
    assert all(p.ndim == 2 for p in matrices) and len(matrices) + len(rest) == len(list(model.parameters()))
    assert any(p is model.get_input_embeddings().weight for p in rest)  # rows of a table are no matrix


def test_muon_in_float32_is_muon():
    torch.manual_seed(0)
    first, second = ([torch.nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(1)))
                      for shape in ((6, 4), (6, 4), (4, 9))] for _ in range(2))
    known = torch.optim.Muon(first, lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    ours = Muon32(second, lr=0.1, weight_decay=0.1)
    for _ in range(3):
        for one, other in zip(first, second):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        known.step(), ours.step()
    assert all(torch.allclose(one, other, atol=0.02) for one, other in zip(first, second))  # one of them rounds to bfloat16
    assert not torch.allclose(first[0], torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), atol=0.1)


def test_what_one_machine_began_with_muon_another_goes_on_with():
    weights = [torch.nn.Parameter(torch.ones(4, 6))]
    weights[0].grad = torch.ones(4, 6)
    ours = Muon32(weights, lr=0.1, weight_decay=0.1)
    ours.step()
    torchs = torch.optim.Muon(weights, lr=0.2, weight_decay=0.0)
    torchs.load_state_dict(ours.state_dict())
    torchs.step()
    assert torchs.param_groups[0]["adjust_lr_fn"] == "match_rms_adamw" and torchs.param_groups[0]["lr"] == 0.1
    ours.load_state_dict(torchs.state_dict())
    ours.step()


def test_a_run_that_was_killed_logs_every_step_once(tmp_path):
    def batches(step):
        if step == stop_at:
            raise InputError("killed")
        return {"x": torch.full((1,), float(step))}
    model, stop_at = torch.nn.Linear(1, 1), 17
    config = LoopConfig(steps=30, learning_rate=1e-3, warmup=1, save_every=10, log_every=5, workers=0)
    losses = lambda model, batch: {"loss": model(batch["x"]).square().mean()}  # noqa: E731
    with pytest.raises(InputError):
        fit(model, batches, losses, config, tmp_path)
    stop_at = None
    fit(model, batches, losses, config, tmp_path)
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").open()] == [5, 10, 15, 20, 25, 30]


@pytest.mark.parametrize("damage", ("", "[]", "{"))
def test_a_run_whose_settings_are_damaged_is_refused_by_name(tmp_path, damage):
    claim(tmp_path / "run", [], recipe="ivg")
    (tmp_path / "run" / "run.json").write_text(damage)
    with pytest.raises(InputError, match="run.json .*give another --out, or remove"):
        claim(tmp_path / "run", [], recipe="ivg")
