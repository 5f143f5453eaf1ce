"""The commands that measure: the embedded model on the demo's pictures, which are some that it solves."""

import json
import shutil

import numpy as np
import pytest

from clue_ros.benchmark.latency import Plain, measure
from clue_ros.cli import evaluate, look
from clue_ros.data.records import Picture
from clue_ros.dialog import Dialog
from clue_ros.evaluation import report
from clue_ros.evaluation.metrics import Score
from clue_ros.model_folder import find, load
from clue_ros.tabletop.scene import read_scenes
from clue_ros.types import Question


@pytest.fixture
def call(monkeypatch, capsys):
    """call(main, words...): what the command prints; a refusal is its sentence."""
    def run(main, *words):
        monkeypatch.setattr("sys.argv", ["command", *map(str, words)])
        main()
        return capsys.readouterr().out
    return run


@pytest.fixture
def photographs(scenes, tmp_path):
    """The pairs in IT2P's layout: the demo's words, ambiguous in one picture and clear in the other."""
    folder = tmp_path / "it2p"
    for name in ("images", "commands", "ambiguous"):
        (folder / name).mkdir(parents=True)
    found = {scene.image: scene for scene in read_scenes(scenes)}
    for step in json.loads((scenes / "demo.json").read_text()):
        name = step["image"].removesuffix(".jpg")
        shutil.copy(scenes / step["image"], folder / "images")
        x, y = found[step["image"]].objects[step["target"]].centre
        clear = step["expect"] == "box"
        (folder / "commands" / f"{name}.txt").write_text(f"{x * 640} {y * 480} {step['say']}\n" if clear else "")
        (folder / "ambiguous" / f"{name}.txt").write_text("" if clear else step["say"] + "\n")
    return folder


def value(scores, name):
    return scores[name]["value"], scores[name]["count"]


def scores_of(call, tmp_path, *words):
    """The scores that the command printed and wrote, which are the same."""
    file = tmp_path / "scores.json"
    printed = call(evaluate.main, *words, "--json", file)
    scores = json.loads(file.read_text())["scores"]
    for name, score in scores.items():
        assert f"| {name} | {score['value']:.3f} |" in printed
    return scores


def test_grounding_and_ambiguity_on_scenes(call, scenes, tmp_path):
    pointed = scores_of(call, tmp_path, "grounding", "--data", scenes)
    accuracy, count = value(pointed, "Acc@0.5")
    assert count == 6 and accuracy >= 4 / 6
    told, dialogs = value(pointed, "Acc@0.5 after a given dialog")
    assert 3 <= dialogs <= 6 and told >= 0.5
    assert value(scores_of(call, tmp_path, "grounding", "--data", scenes, "--limit", 2), "Acc@0.5")[1] == 2
    scores = scores_of(call, tmp_path, "ambiguity", "--data", scenes)
    assert value(scores, "ambiguity AUROC")[1] == 6 and value(scores, "question names a true difference")[1] == 3
    assert value(scores, "ambiguity AUROC")[0] >= 0.75
    never = scores_of(call, tmp_path, "ambiguity", "--data", scenes, "--risk", 0)  # so it always asks
    assert value(never, "asks")[0] == 1 and value(never, "acts wrongly, of all prompts")[0] == 0


def test_episodes_with_a_person_who_errs(call, scenes, tmp_path):
    sure, erring = (scores_of(call, tmp_path, "episodes", "--data", scenes, "--noise", noise) for noise in (0, 1))
    questions, episodes = value(sure, "questions per ambiguous episode")
    assert 1 <= questions <= 2 and episodes == 3 and value(sure, "success")[0] >= 4 / 6
    assert value(erring, "success, ambiguous")[0] < value(sure, "success, ambiguous")[0]


def test_photographs_are_pointed_at_and_words_alone_do_not_decide(call, photographs, tmp_path):
    scores = scores_of(call, tmp_path, "it2p", "--data", photographs)
    assert value(scores, "IT2P pointing accuracy") == (1.0, 3)
    assert value(scores, "IT2P ambiguity AUROC") == (1.0, 6)
    assert value(scores, "IT2P words alone AUROC")[0] == 0.5


@pytest.mark.parametrize("words, says", [
    (("grounding", "--data", "nowhere"), "scenes.jsonl is missing"),
    (("it2p", "--data", "."), "is no IT2P data set"),
    (("records", "--reader", "coco", "--data", "nowhere.json"), "nowhere.json cannot be read"),
    (("grounding", "--data", ".", "--model", "nowhere"), "there is no model folder nowhere"),
    (("grounding", "--data", ".", "--risk", "2"), "a risk lies between 0 and 1, got 2"),
])
def test_a_mistake_is_one_sentence(call, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=says) as refusal:
        call(evaluate.main, *words)
    assert "\n" not in str(refusal.value)


def test_a_count_below_one_is_refused_by_the_command_line(call, capsys):
    with pytest.raises(SystemExit):
        call(evaluate.main, "grounding", "--data", ".", "--limit", -1)
    assert "argument --limit: -1 is less than 1" in capsys.readouterr().err


def test_a_look_at_a_photograph(call, scenes):
    step = next(s for s in json.loads((scenes / "demo.json").read_text()) if s["expect"] == "box")
    assert "box: x " in call(look.main, scenes / step["image"], step["say"])


def test_a_look_asks_again_what_was_not_answered(call, scenes, monkeypatch):
    step = next(s for s in json.loads((scenes / "demo.json").read_text()) if s["expect"] == "question")
    typed = iter((" ", "x" * 1001, "the left one"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    said = call(look.main, scenes / step["image"], step["say"])
    assert said.count("robot: ") == 1 and "(the answer is empty" in said and "(the answer has 1001 characters" in said
    assert said.count("box: x ") == 1 and next(typed, None) is None


@pytest.mark.parametrize("unlike", ["clear", "ambiguous"])
def test_photographs_of_one_kind_are_no_score_of_ambiguity(call, photographs, unlike):
    for file in (photographs / ("commands" if unlike == "clear" else "ambiguous")).iterdir():
        file.write_text("")
    with pytest.raises(SystemExit, match="error: (all|no|there)"):
        call(evaluate.main, "it2p", "--data", photographs)


def test_a_score_that_is_no_number_is_null_in_json(tmp_path):
    report.write({"F1": Score(float("nan"), 0.0, 1.0, 3)}, {}, tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text())["scores"]["F1"] == {"value": None, "low": 0.0, "high": 1.0, "count": 3}


def test_the_peer_of_the_benchmark_decides_as_the_robot_does(scenes):
    clue = load("tabletop", "cpu")
    plain = Plain(find("tabletop"), clue.detector, clue.threshold)
    for step in json.loads((scenes / "demo.json").read_text()):
        frame = Picture.of_bytes(step["image"], np.frombuffer((scenes / step["image"]).read_bytes(), np.uint8)).frame()
        decision = clue.look(frame, Dialog.start(step["say"]))
        verdict, said = plain.decide(frame, step["say"])
        assert verdict.probability == pytest.approx(decision.ambiguity.probability, abs=1e-3)
        asks = isinstance(decision.outcome, Question)
        assert said == decision.outcome.text if asks else said.startswith("<loc")


def test_both_ways_to_decide_are_timed_on_the_same_frames(scenes):
    plain, ours = measure("tabletop", scenes, runs=3, warmup=1)
    assert plain.name == "plain transformers" and ours.name == "clue_ros"
    assert len(plain.milliseconds) == len(ours.milliseconds) == 3 and np.all(plain.milliseconds > 0)
