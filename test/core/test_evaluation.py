"""The evaluation table and its rows."""

import dataclasses
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from clue_ros.data.scenes import SceneImages
from clue_ros.detector.calibration import Calibration, conformal
from clue_ros.detector.weighing import Weighing
from clue_ros.dialog import Dialog
from clue_ros.evaluation import features, results, table, variants
from clue_ros.evaluation.features import Features
from clue_ros.evaluation.looks import Look, Seen
from clue_ros.evaluation.metrics import ACTS_WRONGLY, auroc, risk_scores
from clue_ros.evaluation.suites import look_at_pairs
from clue_ros.model_folder import load
from clue_ros.tabletop.questions import Oracle, splits_best
from clue_ros.training.recipes import read_training
from clue_ros.types import Ambiguity, Grounding, InputError, Prompt, Question, Turn
from tabletop_scenes import scene_of


def synthetic(count: int, seed: int = 0) -> Features:
    """One bright cell when clear, two far apart when ambiguous, in one head of four; layer 1 is noise."""
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 2 == 1
    maps = rng.random((count, 2, 4, 8, 8)).astype(np.float32)
    for k in range(count):
        for cell in rng.choice([9, 13, 41, 46], 1 + int(truth[k]), replace=False):
            maps[k, 0, 2, cell // 8, cell % 8] += 12
    maps /= maps.sum((3, 4), keepdims=True)
    flat = np.zeros(count, np.float32)
    words = np.array([f"take thing {k // 2}" for k in range(count)])
    return Features(truth, words, maps.astype(np.float16), rng.random((count, 5), np.float32), flat, flat, flat, flat,
                    np.where(truth, 2, 1), np.ones(count), np.arange(count) // 2)


def test_a_cnn_on_heads_learns_what_the_layer_shows_and_nothing_from_noise():
    train, test = synthetic(400), synthetic(200, 1)
    seen, noise = (auroc(test.ambiguous, variants.cnn((layer,))(train)(test)) for layer in (0, 1))
    assert seen > 0.95 and abs(noise - 0.5) < 0.15


def test_words_alone_cannot_tell_counterfactual_pairs():
    train, test = synthetic(100), synthetic(60, 1)
    assert auroc(test.ambiguous, variants.words_alone(train)(test)) == 0.5


def test_counting_what_a_perfect_detector_finds_is_perfect():
    fitted = variants.fit(variants.Variant("instances", variants.instance_count), (synthetic(50),), (synthetic(50, 1),))
    test = synthetic(40, 2)
    assert np.array_equal(fitted.probability((test,)) >= fitted.threshold, test.ambiguous)


def test_a_row_takes_the_mean_of_its_views():
    views = tuple(dataclasses.replace(synthetic(6), cnn=np.full(6, score)) for score in (1.0, 4.0))
    means = [variants.Fitted(variants.own_cnn(views[0]), count).scores(views)[0, 0] for count in (None, 1, 2)]
    assert means == [2.5, 1.0, 2.5]


def test_peaks_of_the_mean_map_are_counted():
    one = synthetic(2)
    sharp = dataclasses.replace(one, maps=np.zeros((2, 1, 1, 8, 8), np.float16))
    sharp.maps[0, 0, 0, 2, 2] = 1
    sharp.maps[1, 0, 0, 2, 2] = sharp.maps[1, 0, 0, 6, 6] = 0.5
    assert variants.peak_count(0)(one)(sharp).tolist() == [1, 2]


def test_the_table_has_every_row_and_goes_on_where_it_was(pairs, trained, tmp_path, monkeypatch):
    folders = [shutil.copytree(pairs, tmp_path / name) for name in ("train", "held-out", "test", "unseen")]
    (folders[0] / "note.txt").write_text("another folder, but the same pictures")
    with pytest.raises(InputError, match="train .* and held_out .* hold [0-9]+ pictures in common"):
        table.Data(*folders, None, 2500, None, 1, 3).digests()
    for folder in folders:
        for file in (folder / "images").iterdir():
            file.write_bytes(file.read_bytes() + folder.name.encode())  # behind the picture's end
    data = table.Data(*folders, None, 2500, None, 1, 3)
    other = shutil.copytree(trained, tmp_path / "other")  # with a detector of its own
    save_file({name: 2 * weight for name, weight in load_file(other / "detector/model.safetensors").items()},
              other / "detector/model.safetensors")
    tmp_path /= "eval"
    text = table.run(trained, data, tmp_path, also=[trained, other], rounds=20)
    rows, contrasts = len(variants.rows(1, 3)) + 3, len(variants.contrasts(1, ["other"], ["model"]))
    assert text.count("\n| ") == 2 * (1 + rows) + (1 + contrasts) + 2 * (1 + 4) and "model (AR): first token" in text
    assert text.count("\n| other: its CNN alone, with its LoRA |") == 2 and "model: its CNN" not in text
    assert text.count("\n| no LoRA |") == 2 and "never calibrated" in text
    assert {f.name for f in tmp_path.iterdir()} == {"features", "systems", "settings.json", "table.json", "table.md", "risk-coverage.png",
                                                    "reliability.png", "layers.png"}
    monkeypatch.setattr(features, "_one", None)  # nothing is looked at again
    assert table.run(trained, data, tmp_path, also=[trained, other], rounds=20) == text
    again = table.run(trained, data, tmp_path, rounds=20)  # fewer models are no other ones
    assert "model (AR)" not in again and set(again.splitlines()) < set(text.splitlines())
    with pytest.raises(InputError, match="eval holds what another model, other data or another version"):
        table.run(trained, dataclasses.replace(data, seed=4), tmp_path, rounds=20)
    kept = next((tmp_path / "features").glob("*.npz"))
    kept.write_bytes(kept.read_bytes()[:100])
    with pytest.raises(InputError, match=f"{kept.name} cannot be read: remove it"):
        table.run(trained, data, tmp_path, rounds=20)
    (tmp_path / "settings.json").write_text('{"data": 1}')
    with pytest.raises(InputError, match="another model, other data or another version"):
        table.run(trained, data, tmp_path, rounds=20)
    with pytest.raises(InputError, match="--also model model: .* a name of its own"):
        table.run(trained, data, tmp_path, also=[trained, trained], rounds=20)


def test_pairs_are_looked_at_in_both_scenes(pairs, trained):
    looks = look_at_pairs(load(trained, "cpu"), SceneImages(pairs), 0)
    assert looks.seen.ambiguous.tolist() == [True, False] * 3 and len(looks.questions) == 3


def test_a_guess_is_wrong_even_where_it_hits_and_so_is_the_box_of_another_object():
    verdict = Ambiguity(0.5, 0.5, np.zeros((2, 2), np.float32))
    looks = [Look(ambiguous, verdict, False, right, "one")
             for ambiguous, right in ((True, None), (False, None), (True, True), (False, False))]
    assert Seen.of(looks).wrong.tolist() == [True, False, True, True]


def test_where_a_dialog_left_one_object_the_robot_acts_and_no_threshold_helps():
    sure = Ambiguity(0.9, 0.5, np.zeros((2, 2), np.float32))
    seen = Seen.of(Look(False, sure, settled, False, "one") for settled in (True, False))
    assert seen.probability.tolist() == [0.0, 0.9] and risk_scores(seen.wrong, seen.probability, 0.5)[ACTS_WRONGLY].value == 0.5
    rng = np.random.default_rng(0)
    truth = np.tile([True, False], 200)
    scores, groups = rng.normal(0, 1, 400) + 4 * truth, np.repeat(range(200), 2)
    _, open_to_all = conformal(Weighing(), scores, scores, truth, truth, groups)
    _, given = conformal(Weighing(), scores, scores, truth, truth, groups, settled=truth & (rng.random(400) < 0.5))
    assert open_to_all.threshold(0.05) > 0 and given.threshold(0.05) == 0  # they act wrongly too often already


def test_data_without_pairs_is_refused_in_words(data, trained):
    with pytest.raises(InputError, match="no counterfactual pairs.*--pairs"):
        look_at_pairs(load(trained, "cpu"), SceneImages(data), 0)


@pytest.mark.parametrize("unseen", ("true", '["meshes", "surfaces", "cameras", "phrasings"]', '["cameras"]', '["of a later version"]'))
def test_scenes_kept_for_evaluation_cannot_be_trained_on(pairs, unseen):
    (pairs / "world.json").write_text('{"world": {"unseen": %s}}' % unseen)
    try:
        with pytest.raises(InputError, match="written with --unseen"):
            read_training([pairs])
    finally:
        (pairs / "world.json").unlink()


def test_a_risk_is_told_with_what_it_came_to():
    seen = synthetic(200)
    probability = np.where(seen.ambiguous, 0.9, 0.1)
    known = Calibration("other prompts", tuple(probability), tuple(seen.wrong), tuple(range(len(seen))))
    risks = table._risks(known, seen, probability)
    assert risks["0.05"]["asks"].value == seen.ambiguous.mean() == 0.5
    assert all(risks[f"{risk:g}"]["acts wrongly, of all prompts"].value <= risk for risk in table.RISKS)
    text = results.markdown_risks({"dataset 1": risks, "dataset 2": risks})
    assert text.count("\n") == 1 + len(table.RISKS) and text.count("asks, dataset 2") == 1


def test_the_best_question_leaves_the_fewest():
    scene = scene_of(("large", "red", "mug", 0.1, 0.5), ("large", "red", "mug", 0.4, 0.5), ("large", "blue", "mug", 0.9, 0.5))
    assert splits_best(scene.objects, (0, 1, 2), "do you mean the one on the left, the one in the middle or the one on the right?")
    assert not splits_best(scene.objects, (0, 1, 2), "do you mean the red mug or the blue mug?")
    assert not splits_best(scene.objects, (0, 1), "do you mean the red mug or the blue mug?")


def test_a_noisy_oracle_names_another_option():
    scene = scene_of(("large", "red", "mug", 0.1, 0.5), ("large", "blue", "mug", 0.9, 0.5))
    oracle = Oracle(scene.objects, 0, np.random.default_rng(0), noise=1.0)
    assert "blue" in oracle.answer("do you mean the red mug or the blue mug?", (0, 1))


def test_no_question_is_asked_twice(trained, frame, monkeypatch):
    clue = load(trained, "cpu")
    clue.threshold = 0.0  # in doubt about everything
    monkeypatch.setattr(clue.vlm, "question", lambda prefill: Question("the red one?"))
    assert clue.look(frame, Dialog.start("the mug")).outcome == Question("the red one?")
    answered = Dialog(Prompt("the mug", (Turn("the red one?", "no"),)))
    assert isinstance(clue.look(frame, answered).outcome, Grounding)
    turned = Dialog(Prompt("the mug", (Turn("the one on the left or the one on the right?", "no"),)))
    monkeypatch.setattr(clue.vlm, "question", lambda prefill: Question("The one on the right, or the one on the left?"))
    assert isinstance(clue.look(frame, turned).outcome, Grounding)  # the same options in another order
    monkeypatch.setattr(clue.vlm, "question", lambda prefill: Question("the red one?"))
    other = Dialog(Prompt("the mug", (Turn("the left one?", "no"),)))
    assert clue.look(frame, other).outcome == Question("the red one?")
