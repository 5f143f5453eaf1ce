"""Real training, in seconds: the debug recipes run end to end, resume exactly, and leave a model that loads."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from clue_ros.data.scenes import SceneImages
from clue_ros.detector.calibration import Calibration
from clue_ros.detector.weighing import Weighing
from clue_ros.dialog import Dialog
from clue_ros.model_folder import calibrated_weights, embedded, load, save_detector
from clue_ros.training.adapters import assemble, train_ambiguity, train_ivg
from clue_ros.training.average import average
from clue_ros.training.base import GroundedBatches
from clue_ros.training.configs import CONFIGS
from clue_ros.training.forward import fourier_locations_, smooth_locations
from clue_ros.training.naming import NAMING_MIXTURE
from clue_ros.training.recipes import read_base, train_further, train_naming
from clue_ros.training.vision import patch_owner
from clue_ros.types import Box, Frame, InputError, ModelError
from clue_ros.vlm.build import grid_of, with_grown_tower
from clue_ros.vlm.tokens import Grammar

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


def test_a_detector_can_be_trained_on_an_adapter_that_stays_as_it_is(data, trained, tmp_path):
    alone = dataclasses.replace(DEBUG["ambiguity"], loop=None)
    adapter = tmp_path / "adapter"
    shutil.copytree(trained / "adapter", adapter)
    said = json.loads((adapter / "adapter_config.json").read_text()) | {"base_model_name_or_path": "somebody/elsewhere"}
    (adapter / "adapter_config.json").write_text(json.dumps(said))  # where the base once lay: nobody is asked for it
    out = train_ambiguity(alone, [data], trained / "base", adapter, tmp_path / "out")
    name = "adapter/adapter_model.safetensors"
    before, after = load_file(trained / name), load_file(out / name)
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert len(losses(out / "settle")) and not (out / "log.jsonl").exists()


@pytest.mark.parametrize("config", ["tabletop", "paligemma2"])
def test_a_config_for_another_decoder_is_refused(data, trained, tmp_path, config):
    with pytest.raises(InputError, match="the base has 3: use --config"):
        train_ivg(CONFIGS[config]["ivg"], [data], trained / "base", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_base_that_is_gone_on_with_needs_the_configs_layers_too(data, base_run, tmp_path):
    with pytest.raises(InputError, match="reads decoder layer 4, the base has 3: use --config"):
        train_further(CONFIGS["tabletop"]["further"], [data], base_run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_another_base_is_refused(data, trained, tmp_path):
    with pytest.raises(ModelError, match="adapter_model.safetensors was made for another base"):
        train_ambiguity(DEBUG["ambiguity"], [data], trained / "base", embedded() / "adapter", tmp_path / "out")
    shorter = shutil.copytree(trained / "adapter", tmp_path / "shorter")
    weights = load_file(shorter / "adapter_model.safetensors")
    save_file({name: weight for name, weight in weights.items() if "layers.2." not in name}, shorter / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="made for another base, .* missing or too many: .*layers.2"):
        train_ambiguity(DEBUG["ambiguity"], [data], trained / "base", shorter, tmp_path / "other")


def test_a_damaged_adapter_is_named(data, trained, tmp_path):
    for run in ("one", "other"):
        shutil.copytree(trained / "adapter", tmp_path / run / "adapter")
    file = tmp_path / "other" / "adapter" / "adapter_model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    with pytest.raises(ModelError, match="adapter_model.safetensors is no whole safetensors file"):
        train_ambiguity(DEBUG["ambiguity"], [data], trained / "base", file.parent, tmp_path / "out")
    with pytest.raises(ModelError, match="adapter_model.safetensors is no whole safetensors file"):
        average([tmp_path / "one", tmp_path / "other"], tmp_path / "mean")
    file.write_bytes(whole)
    (file.parent / "adapter_config.json").write_text("{")
    with pytest.raises(ModelError, match="other/adapter/adapter_config.json cannot be read"):
        average([tmp_path / "one", tmp_path / "other"], tmp_path / "mean")


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
    clue, rng = load(trained, "cpu"), np.random.default_rng(0)
    square = np.repeat(np.repeat(rng.integers(0, 256, (64, 64, 3), np.uint8), 2, 0), 2, 1)
    wide = np.repeat(square, 3, 1)

    def box_in(rgb):
        frame = Frame(rgb)
        return clue.vlm.locate(clue.vlm.prefill(clue.vlm.encode(frame), Dialog.start("x").prompt, (1,)), frame.size).box
    there, here = box_in(square), box_in(wide)
    assert here == pytest.approx(Box(3 * there.x1, there.y1, 3 * there.x2, there.y2), abs=3)  # pixels of 384 x 128


def test_a_deeper_tower_computes_the_same_at_first(tiny):
    small = tiny()
    deeper = with_grown_tower(small, 2)
    pixels = torch.randn(1, 3, small.config.vision_config.image_size, small.config.vision_config.image_size)
    one, two = (m.eval().model.vision_tower(pixel_values=pixels).last_hidden_state for m in (small, deeper))
    assert torch.allclose(one, two, atol=1e-5)
    assert sum(p.numel() for p in deeper.parameters()) > sum(p.numel() for p in small.parameters())


def test_a_base_is_gone_on_with(data, base_run, tmp_path):
    model = train_further(DEBUG["further"], [data], base_run, tmp_path / "further")
    before, after = (json.loads((m / "config.json").read_text())["vision_config"] for m in (base_run / "model", model))
    assert after["num_hidden_layers"] == before["num_hidden_layers"] + 1
    assert (before["image_size"], after["image_size"]) == (64, 80)
    train_further(DEBUG["further"], [data], tmp_path / "further", tmp_path / "again")  # as often as one likes


def test_a_base_that_comes_without_its_heads_gets_new_ones_and_keeps_its_weights_meanwhile(data, base_run, tmp_path):
    out = tmp_path / "further"
    config = dataclasses.replace(DEBUG["further"], layers=0, side=None)
    before = load_file(base_run / "model" / "model.safetensors")
    assert (train_further(config, [data], base_run / "model", out) / "config.json").is_file()
    fitted, left = load_file(out / "heads-fitted.safetensors"), load_file(base_run / "heads.safetensors")
    assert fitted.keys() == left.keys() and not any(torch.equal(fitted[k], left[k]) for k in left)
    held = load_file(out / "heads" / "checkpoint" / "model.safetensors")
    name = next(k for k in before if k.endswith("layers.0.self_attn.q_proj.weight") and "language_model" in k)
    assert torch.equal(held["model." + name.replace("language_model.model", "model.language_model")].to(before[name].dtype), before[name])


def test_a_base_that_is_taught_names_meets_no_place_and_keeps_the_tower(data, base_run, tmp_path):
    seen: set[int] = set()

    class Watched(GroundedBatches):
        def __call__(self, step):
            batch = super().__call__(step)
            seen.update(batch["labels"].ravel().tolist())
            return batch
    before, grammar = read_base(base_run / "model")
    first = grammar.first_location
    vision = before.config.vision_config
    batches = Watched(grammar, vision.image_size, grid_of(vision), 4, 4, 0, source=SceneImages(data), mixture=NAMING_MIXTURE,
                      places=False)
    for step in range(6):
        batches(step)
    assert grammar.clarify in seen and len(seen) > 10 and not any(first <= label < first + 1024 for label in seen)

    after, _ = read_base(train_naming(DEBUG["naming"], [data], base_run / "model", tmp_path / "naming"))
    same = {name: torch.equal(weight, after.state_dict()[name]) for name, weight in before.state_dict().items()}
    assert all(same[name] for name in same if "vision_tower" in name)
    assert not any(same[name] for name in same if "q_proj" in name and "language_model" in name)


def test_the_mean_of_two_runs_lies_between_them_and_can_be_gone_on_with(data, base_run, tmp_path):
    other = shutil.copytree(base_run, tmp_path / "other")
    for part in ("model/model.safetensors", "heads.safetensors"):
        save_file({name: 3 * weight for name, weight in load_file(other / part).items()}, other / part, metadata={"format": "pt"})
        mean = average([base_run, other], tmp_path / part.split("/")[0] / "mean")
        one, two = load_file(base_run / part), load_file(mean / part)
        assert all(torch.allclose(two[name].float(), 2 * one[name].float(), rtol=0.02) for name in one)
    assert train_further(DEBUG["further"], [data], mean, tmp_path / "further").is_dir()
    bare = average([base_run / "model", base_run], tmp_path / "bare") / "model/model.safetensors"  # a base without its run
    alone = load_file(base_run / "model/model.safetensors")
    assert all(torch.equal(weight, alone[name]) for name, weight in load_file(bare).items())
    with pytest.raises(InputError, match="is there already"):
        average([base_run, other], mean)
    save_file({"alien": torch.zeros(1)}, other / "heads.safetensors")
    with pytest.raises(InputError, match="heads.safetensors holds other weights"):
        average([base_run, other], tmp_path / "not")
    with pytest.raises(InputError, match="give two or more runs"):
        average([base_run], tmp_path / "one")


def test_prompts_for_another_number_of_image_tokens_are_refused(data, tiny):
    grammar = Grammar(tiny.tokenizer, 16)  # words would silently be taken for image tokens
    with pytest.raises(ValueError, match="prompts for 16 image tokens, pictures of 25"):
        GroundedBatches(grammar, 80, 5, 1, 1, 0, source=SceneImages(data))


def test_a_base_that_lacks_weights_is_not_trained_on(base_run, tmp_path):
    shutil.copytree(base_run / "model", tmp_path / "base")
    weights = load_file(file := tmp_path / "base" / "model.safetensors")
    name = next(name for name in weights if "projector" in name)
    del weights[name]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(ModelError, match="another model than its config.json describes: missing, .*projector"):
        read_base(tmp_path / "base")
    with pytest.raises(ModelError, match="the base clue-ros/none is no folder and not in the Hugging Face cache"):
        read_base("clue-ros/none")


def test_a_model_is_assembled_whole_or_not_at_all(trained, tmp_path):
    model = assemble(trained / "base", trained / "adapter", trained / "detector", tmp_path / "model")
    before = {file: file.read_bytes() for file in model.rglob("*") if file.is_file()}
    for parts in (("base", "adapter", "typo"), ("base", ".", "detector"), ("adapter", "adapter", "detector")):
        with pytest.raises(InputError, match="is no (base|adapter|detector): there is no .*config.json"):
            assemble(*(trained / part for part in parts), model)
    assert {file: file.read_bytes() for file in model.rglob("*") if file.is_file()} == before


def test_a_calibration_stays_with_the_weights_it_was_made_with(trained, tmp_path):
    parts = [trained / part for part in ("base", "adapter", "detector")]
    model = assemble(*parts, tmp_path / "model")
    made = Calibration("", (0.1, 0.9), (True, False), (0, 1), weights=calibrated_weights(model))
    made.save(model / "detector")
    config = model / "detector/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | dataclasses.asdict(Weighing(2.0, 0.5, -1.0, 0.7, 1.1))))
    assert load(assemble(*parts, model), "cpu").calibration == made  # made once more, of the same
    assert load(assemble(*parts[:2], model / "detector", tmp_path / "copy"), "cpu").calibration == made
    shutil.rmtree(shutil.copytree(model, tmp_path / "bare") / "adapter")
    dataclasses.replace(made, weights=calibrated_weights(tmp_path / "bare")).save(tmp_path / "bare/detector")
    moved = (tmp_path / "bare").rename(tmp_path / "moved")  # without an adapter it is known wherever it lies, too
    assert load(moved, "cpu").calibration.weights == calibrated_weights(moved) != made.weights
    other = shutil.copytree(trained / "adapter", tmp_path / "other")
    weights = load_file(other / "adapter_model.safetensors")
    save_file({name: weight + 0.01 for name, weight in weights.items()}, other / "adapter_model.safetensors", {"format": "pt"})
    changed = load(assemble(parts[0], other, model / "detector", tmp_path / "changed"), "cpu")
    assert changed.calibration is None and changed.detector.weighing == Weighing(zoom=1.1)
    shutil.copyfile(other / "adapter_model.safetensors", model / "adapter/adapter_model.safetensors")
    with pytest.raises(ModelError, match="calibration.json was made with another adapter, detector or base"):
        load(model, "cpu")
    shutil.copyfile(parts[1] / "adapter_model.safetensors", model / "adapter/adapter_model.safetensors")
    load(model, "cpu")
    weights = load_file(model / "detector/model.safetensors")
    save_file({name: weight + 0.01 for name, weight in weights.items()}, model / "detector/model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="calibration.json was made with another adapter, detector or base"):
        load(model, "cpu")


def test_a_folder_that_is_no_finished_run_is_not_gone_on_with(data, tmp_path):
    with pytest.raises(InputError, match="is no run of `clue-train base`.* and no base"):
        train_further(DEBUG["further"], [data], tmp_path, tmp_path / "out")


def test_settling_moves_the_detector_and_nothing_else(data, trained, tmp_path):
    """The same run with and without: one adapter, two detectors."""
    runs = [train_ambiguity(dataclasses.replace(DEBUG["ambiguity"], settle=settle), [data], trained / "base",
                            trained / "adapter", tmp_path / str(bool(settle))) for settle in (None, DEBUG["ambiguity"].settle)]
    weights = lambda part: [load_file(next((run / part).glob("*.safetensors"))) for run in runs]  # noqa: E731
    plain, settled = weights("adapter")
    assert all(torch.equal(plain[k], settled[k]) for k in plain)
    plain, settled = weights("detector")
    assert any(not torch.equal(plain[k], settled[k]) for k in plain)


def test_a_models_files_may_be_read_by_whom_any_new_file_may(trained, tmp_path):
    (tmp_path / "new").touch()
    save_detector(load(trained, "cpu").detector, tmp_path / "detector")
    files = [*trained.rglob("*.safetensors"), tmp_path / "detector" / "model.safetensors"]
    assert len(files) == 4 and {file.stat().st_mode for file in files} == {(tmp_path / "new").stat().st_mode}
