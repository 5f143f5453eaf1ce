"""Whole dialogs: what is counted of them, with robots whose every word is known."""

import numpy as np
import pytest
from tabletop_scenes import scene_of

from clue_ros.data import examples
from clue_ros.data.examples import Example
from clue_ros.data.records import in_pixels
from clue_ros.data.scenes import SceneImages
from clue_ros.evaluation import episodes
from clue_ros.tabletop.questions import ask
from clue_ros.types import Ambiguity, Box, Decision, Frame, Grounding, Prompt, Question


class Knowing:
    """A robot that knows the scene: it asks the best question while several objects are meant."""

    def __init__(self, scene, example, target):
        self.scene, self.example, self.target, self.left = scene, example, target, example.referents

    def look(self, frame, dialog):
        sure = Ambiguity(0.0, 0.5, np.zeros((2, 2), np.float32))
        if len(self.left) > 1:
            asked, split = ask(self.scene.objects, self.left)
            self.left = next(m for _, m in split.options if self.target in m)
            return Decision(sure, Question(asked))
        b = self.scene.objects[self.target].box
        w, h = frame.size
        return Decision(sure, Grounding(Box(b[0] * w, b[1] * h, b[2] * w, b[3] * h), 1.0))


def test_who_knows_the_truth_needs_one_question_for_two_mugs_and_none_for_one(pairs):
    source, rng = SceneImages(pairs), np.random.default_rng(0)
    full, fewer = source.scenes[0], source.scenes[1]
    doubtful, clear = examples.counterfactual(full, fewer, rng)
    frame = Frame(source[0][0])
    played = episodes.play(Knowing(full, doubtful, 1), frame, full, doubtful, 1, rng)
    assert (played.asked, played.true_questions, played.repeated) == (1, 1, False) and played.iou == pytest.approx(1)
    target = clear.referents[0]
    played = episodes.play(Knowing(fewer, clear, target), frame, fewer, clear, target, rng)
    assert played.asked == 0 and played.iou == pytest.approx(1)


class Chatty:
    """Asks these questions in turn, then points."""

    def __init__(self, box, *questions):
        self.box, self.questions = box, questions

    def look(self, frame, dialog):
        sure = Ambiguity(0.0, 0.5, np.zeros((2, 2), np.float32))
        asks = dialog.turns < len(self.questions)
        return Decision(sure, Question(self.questions[dialog.turns]) if asks else Grounding(self.box, 1.0))


def test_a_useless_question_does_not_tell_twins_apart():
    twins = scene_of(("large", "red", "mug", 0.1, 0.5), ("large", "red", "mug", 0.9, 0.5), ("small", "red", "mug", 0.5, 0.5))
    example = Example(Prompt("the red mug"), tuple(Box(*o.box) for o in twins.objects), "red mug", None, (0, 1, 2), (0, 1, 2))
    frame, rng = Frame(np.zeros((100, 100, 3), np.uint8)), np.random.default_rng(0)
    for target, guessed in ((0, True), (2, False)):  # "the big red mug" are two, "the small red mug" is one
        box = in_pixels(Box(*twins.objects[target].box), frame.size)
        played = episodes.play(Chatty(box, "do you mean the green mug or the white mug?"), frame, twins, example, target, rng)
        assert (played.guessed, played.iou) == (guessed, pytest.approx(1))


def test_the_rates_of_episodes_by_hand():
    """ambiguous, asked, true questions, IoU, guessed, repeated; two of each pair."""
    played = [episodes.Episode(*row) for row in (
        (True, 1, 1, 0.9, False, False), (False, 0, 0, 0.8, False, False),  # as it should be
        (True, 0, 0, 0.9, True, False), (False, 1, 1, 0.7, False, False),  # a guess that hits is wrong; not needed
        (True, 2, 1, 0.2, False, True), (False, 0, 0, 0.4, False, False))]  # the wrong object twice
    found = {name: score.value for name, score in episodes.rates(played).items()}
    assert found == {name: pytest.approx(value) for name, value in {
        "success": 4 / 6, "success, ambiguous": 2 / 3, "success, clear": 2 / 3,
        "acts wrongly: guesses, or points at another object": 3 / 6, "questions per ambiguous episode": 1.0,
        "unneeded: clear episodes with a question": 1 / 3, "missed: ambiguous episodes without one": 1 / 3,
        "questions that name a true difference": 3 / 4, "a question asked twice": 1 / 6}.items()}
    right, wrong = played[:2], played[4:]
    alike = episodes.rates(right * 20 + wrong * 20)["success"]
    mixed = episodes.rates([right[0], wrong[1], wrong[0], right[1]] * 20)["success"]  # one of each pair: so it always is a half
    assert alike.value == mixed.value == mixed.low == mixed.high == 0.5 and alike.high - alike.low > 0.2


def test_a_question_is_judged_by_what_is_left_and_known_again_in_another_order():
    scene = scene_of(("large", "red", "mug", 0.1, 0.5), ("small", "red", "mug", 0.5, 0.5), ("small", "blue", "mug", 0.9, 0.5))
    example = Example(Prompt("the mug"), tuple(Box(*o.box) for o in scene.objects), "mug", None, (0, 1, 2), (0, 1, 2))
    frame, rng = Frame(np.zeros((100, 100, 3), np.uint8)), np.random.default_rng(0)
    box = in_pixels(Box(*scene.objects[2].box), frame.size)
    colours = "do you mean the red mug or the blue mug?"
    played = episodes.play(Chatty(box, colours, "do you mean the big mug or the small mug?"), frame, scene, example, 2, rng)
    assert (played.asked, played.true_questions, played.repeated) == (2, 1, False)  # one blue mug was left, of which there is no other size
    played = episodes.play(Chatty(box, colours, "do you mean the blue mug or the red mug?"), frame, scene, example, 2, rng)
    assert played.repeated


def test_each_object_is_in_mind_in_turn(pairs, monkeypatch):
    minds = []
    monkeypatch.setattr(episodes, "play", lambda clue, frame, scene, example, target, *_: minds.append(example.referents.index(target)))
    for seed in range(6):
        episodes.play_all(None, pairs, seed)
    assert set(minds[::2]) == {0, 1}
