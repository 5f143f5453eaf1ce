"""The commands that measure: the embedded model on the demo's pictures, which are some that it solves."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from clue_ros.benchmark.latency import Plain, measure
from clue_ros.cli import evaluate, look
from clue_ros.data.records import Part, Picture
from clue_ros.data.scenes import SceneImages
from clue_ros.dialog import Dialog
from clue_ros.evaluation import report, suites
from clue_ros.evaluation.looks import Seen, is_hit, verdict_scores
from clue_ros.evaluation.metrics import Score
from clue_ros.model_folder import find, load
from clue_ros.tabletop.scene import read_scenes
from clue_ros.types import Ambiguity, Box, Candidate, Question


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


def test_an_object_is_hit_from_an_iou_of_one_half_on_or_where_its_point_is():
    assert is_hit(Box(0, 0, 10, 10), Box(0, 0, 10, 20)) and not is_hit(Box(0, 0, 10, 10), Box(0, 0, 10, 21))
    assert is_hit(Box(0, 0, 10, 10), (10, 3)) and not is_hit(Box(0, 0, 10, 10), (10.1, 3))


# Two pairs and two more prompts: ambiguous, P, whether the box is right.
LOOKS = ((True, 0.9, 1), (False, 0.7, 1), (True, 0.65, 0), (False, 0.2, 0), (True, 0.1, 1), (False, 0.3, 1))


def looks():
    ambiguous, probability, right = (np.array(column) for column in zip(*LOOKS))
    return Seen(ambiguous, probability, np.zeros(6, bool), np.zeros(6), probability - 0.5, right.astype(float), np.arange(6) // 2)


@pytest.mark.parametrize("threshold, recall", [(0.8, 1 / 3), (0.6, 2 / 3)])
def test_a_verdict_is_scored_at_the_robots_own_threshold(threshold, recall):
    scores = verdict_scores(SimpleNamespace(threshold=threshold), looks())
    assert scores["recall"].value == pytest.approx(recall) and scores["F1 at P 0.5"].value == pytest.approx(2 * 2 / (3 + 3))


def test_what_is_told_of_pairs_by_hand(monkeypatch, scenes):
    found = suites.PairLooks(looks(), np.array([3, 2, 4, 3, 3, 2]), ["a", "b", "c"], np.array([True, True, False]),
                             np.array([True, False, False]), np.array([1.0, 0.5, 0.0]))
    monkeypatch.setattr(suites, "look_at_pairs", lambda *_: found)
    table = {name: score.value for name, score in suites.ambiguity(SimpleNamespace(threshold=0.6), scenes, 0).items()}
    assert table["acts wrongly, of all prompts"] == pytest.approx(2 / 6)  # the guess of P 0.1, and the wrong box of P 0.2
    assert table["points at another object, of all prompts"] == pytest.approx(1 / 6) and table["asks"] == pytest.approx(3 / 6)
    assert table["question names a true difference"] == pytest.approx(2 / 3)
    assert table["no question would split better"] == pytest.approx(1 / 3)
    assert table["candidate boxes: recall of objects meant"] == pytest.approx(0.5)


def test_a_candidate_counts_from_an_iou_of_one_half_on():
    example = SimpleNamespace(boxes=(Box(0, 0, 0.5, 1), Box(0.5, 0, 1, 1)))
    cells = np.zeros((2, 2), np.float32)
    some = Ambiguity(0.9, 0.5, cells, (Candidate(Box(0, 0, 50, 50), 0.9), Candidate(Box(60, 0, 100, 60), 0.5)))
    assert suites._recall(some, example, (100, 100)) == 0.5  # the first covers half of its object, the other too little
    assert suites._recall(Ambiguity(0.9, 0.5, cells), example, (100, 100)) == 0.0


def test_pairs_are_divided_among_parts_and_twins_stay_together(scenes):
    source = SceneImages(scenes)
    every = suites.pairs_of(source, 0)
    parts = [[full for full, *_ in suites.pairs_of(source, 0, part=Part(k, 2))] for k in (1, 2) if any(
        Part(k, 2).holds(source.group_of(full)) for full, *_ in every)]
    assert sorted(sum(parts, [])) == sorted(full for full, *_ in every)
    turns = list(suites.in_turn(every, np.random.default_rng(0)))
    assert [pair for pair, *_ in turns] == [full for full, *_ in every for _ in range(2)]
    in_mind = {meant for seed in range(20) for *_, meant in suites.in_turn(every, np.random.default_rng(seed))}
    assert in_mind > {0}  # not always the first of those meant
