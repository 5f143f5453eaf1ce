"""What is carried from one look to the next: with the embedded model and the demo's pictures."""

from pathlib import Path

import numpy as np
import pytest

from clue_ros.data.records import Picture, Record, read_photo
from clue_ros.detector.calibration import Calibration
from clue_ros.dialog import Dialog
from clue_ros.evaluation.records import _prediction
from clue_ros.model_folder import embedded, load
from clue_ros.pipeline import APART, CONFIDENT, SAME, SURE, WHICH, Clue
from clue_ros.types import Ambiguity, Box, Candidate, Frame, Grounding, Question
from clue_ros.wording import meaning, places_offered

SIDES = "do you mean the one on the left or the one on the right?"
DEMO = Path(__file__).parents[2] / "resource" / "demo"


@pytest.fixture(scope="module")
def clue():
    return load(embedded(), "cpu")


@pytest.fixture
def asked(clue):
    """A picture, a dialog about it that waits for an answer, and the boxes that were in doubt."""
    frame, dialog = Frame(read_photo(DEMO / "0218.jpg")), Dialog.start("pick up the yellow mug")
    decision = clue.look(frame, dialog)
    assert isinstance(decision.outcome, Question)
    return frame, dialog, [c.box for c in decision.ambiguity.candidates if c.score >= SURE]


def answered(clue, frame, dialog, answer, threshold=1.1):
    """The outcome, which is in doubt only if it asks; by default it never does."""
    dialog = dialog.ask(SIDES).answer(answer)
    clue.threshold, before = threshold, clue.threshold
    try:
        decision = clue.look(frame, dialog)
        assert decision.in_doubt == isinstance(decision.outcome, Question)
        return decision.outcome
    finally:
        clue.threshold = before


def is_one_of(box, boxes):
    return any(box.iou(other) >= SAME for other in boxes)


def test_an_answer_picks_one_of_the_objects_that_were_in_doubt(clue, asked):
    frame, dialog, doubted = asked
    left, right = (answered(clue, frame, dialog, answer).box for answer in ("the left one", "right"))
    assert len(doubted) >= 2 and left.x2 < right.x1 and is_one_of(left, doubted) and is_one_of(right, doubted)


def test_of_two_objects_a_side_leaves_one_and_nothing_to_ask(clue, asked):
    frame, dialog, doubted = asked
    assert len(doubted) == 2
    for answer, box in (("the left one", min(doubted, key=lambda b: b.x1)), ("right", max(doubted, key=lambda b: b.x1))):
        outcome = answered(clue, frame, dialog, answer, threshold=0.0)  # whatever the detector makes of it
        assert isinstance(outcome, Grounding) and outcome.box.iou(box) >= SAME
    assert isinstance(answered(clue, frame, dialog, "the one", threshold=0.0), Question)  # says nothing


def test_a_decoder_that_takes_the_other_side_is_not_believed(clue, asked, monkeypatch):
    frame, dialog, doubted = asked
    honest, wrong = clue.vlm.locate, Grounding(max(doubted, key=lambda b: b.x1), 0.9, "mug")
    monkeypatch.setattr(clue.vlm, "locate", lambda prefill, size, near=None: honest(prefill, size, near) if near else wrong)
    assert answered(clue, frame, dialog, "the left one").box.iou(min(doubted, key=lambda b: b.x1)) >= SAME


def test_a_decoder_that_forgot_what_was_asked_about_is_held_to_it_unless_the_person_says_something_new(clue, asked, monkeypatch):
    frame, dialog, doubted = asked
    honest, corner = clue.vlm.locate, Grounding(Box(0, 0, 8, 8), 0.9, "mug")
    monkeypatch.setattr(clue.vlm, "locate", lambda prefill, size, near=None: honest(prefill, size, near) if near else corner)
    left, right = (answered(clue, frame, dialog, answer).box for answer in ("the left one", "the right one"))
    assert left.x2 < right.x1 and is_one_of(left, doubted) and is_one_of(right, doubted)
    assert answered(clue, frame, dialog, "no, the one in the corner") is corner


@pytest.mark.parametrize("starts, answer, taken", [
    ((300, 20, 150), "the one in the middle", 150), ((300, 20, 150), "left", 20), ((300, 20, 150), "the right one", 300),
    ((300, 20), "left", None), ((300, 20, 30), "left", None)])  # not those that were asked about; too near to be told apart
def test_of_three_objects_in_a_row_a_place_leaves_one(clue, asked, monkeypatch, starts, answer, taken):
    frame, dialog, _ = asked
    row = tuple(Candidate(Box(x, 100, x + 60, 160), 0.9) for x in starts)
    monkeypatch.setattr(clue.detector, "judge", lambda views, size: Ambiguity(0.9, 0.5, np.zeros((1, 1)), row))
    question = "do you mean the one on the left, the one in the middle or the one on the right?"
    belief = clue.belief(frame, dialog.ask(question).answer(answer).prompt)
    assert belief.settled == (taken is not None) and (belief.box and belief.box.x1) == taken


@pytest.mark.parametrize("starts, answer, taken", [((150, 40, 260), "the one in the middle", 150), ((150, 40, 260), "at the bottom", 260),
                                                   ((150, 132, 260), "the top one", None)])  # two are too near
def test_of_three_objects_above_one_another_a_place_leaves_one(clue, asked, monkeypatch, starts, answer, taken):
    """From left to right they lie the other way round, and a gap counts as a share of the height."""
    frame, dialog, _ = asked
    assert 18 < APART * frame.size[1] < 20 < APART * frame.size[0]
    column = tuple(Candidate(Box(600 - y, y, 630 - y, y + 60), 0.9) for y in starts)
    monkeypatch.setattr(clue.detector, "judge", lambda views, size: Ambiguity(0.9, 0.5, np.zeros((1, 1)), column))
    question = "do you mean the one at the top, the one in the middle or the one at the bottom?"
    belief = clue.belief(frame, dialog.ask(question).answer(answer).prompt)
    assert (belief.box and belief.box.y1) == taken
    near = tuple(Candidate(Box(100, y, 130, y + 60), 0.9) for y in (100, 100 + 22))  # 0.046 of the height, 0.034 of the width
    monkeypatch.setattr(clue.detector, "judge", lambda views, size: Ambiguity(0.9, 0.5, np.zeros((1, 1)), near))
    question = "do you mean the one at the top or the one at the bottom?"
    assert clue.belief(frame, dialog.ask(question).answer("top").prompt).box.y1 == 100


def test_what_is_hardly_a_candidate_keeps_no_side_from_settling_it(clue, asked, monkeypatch):
    frame, dialog, _ = asked
    three = tuple(Candidate(Box(x, 100, x + 60, 160), score) for x, score in ((20, 0.9), (150, 0.35), (300, 0.9)))
    monkeypatch.setattr(clue.detector, "judge", lambda views, size: Ambiguity(0.9, 0.5, np.zeros((1, 1)), three))
    assert clue.belief(frame, dialog.ask(SIDES).answer("right").prompt).box.x1 == 300


def test_the_belief_is_formed_from_all_that_was_said_before_the_last_answer(clue, asked, monkeypatch):
    frame, dialog, _ = asked
    heard, prefill = [], clue.prefill
    monkeypatch.setattr(clue, "prefill", lambda frame, prompt, *zoom: heard.append(prompt) or prefill(frame, prompt, *zoom))
    dialog = dialog.ask("do you mean the big mug or the small mug?").answer("the big one")
    clue.belief(frame, dialog.ask(SIDES).answer("right").prompt)
    assert heard == [dialog.prompt]


def test_the_verdict_weighs_the_whole_picture_and_its_middle_from_nearer(clue, asked):
    frame, dialog, _ = asked
    verdict = clue.understand(frame, dialog.prompt).ambiguity
    assert clue.detector.weighing.zooms == (1.0, 1.1)
    whole, near = (clue.notice([clue.prefill(frame, dialog.prompt, zoom)], frame.size) for zoom in (1.0, 1.1))
    assert abs(whole.cnn - near.cnn) > 1e-3 and verdict.cnn == pytest.approx((whole.cnn + near.cnn) / 2, abs=1e-4)
    assert verdict.probability == pytest.approx(clue.detector.weighing.probability(verdict.cnn, verdict.asks))


def test_the_threshold_is_that_of_the_calibration_where_there_is_one(clue):
    made = Calibration("", (0.1, 0.2, 0.3) * 10, (False, False, True) * 10, tuple(range(30)), 0.2)
    assert made.threshold() != clue.detector.weighing.threshold
    assert Clue(clue.vlm, clue.detector, made).threshold == made.threshold()
    assert Clue(clue.vlm, clue.detector).threshold == clue.detector.weighing.threshold


def test_a_question_that_was_answered_is_not_asked_again_but_another_one(clue, asked):
    frame, dialog, _ = asked
    clue.threshold, before = 0.0, clue.threshold  # in doubt whatever is said
    try:
        while isinstance(outcome := clue.look(frame, dialog).outcome, Question):
            dialog = dialog.ask(outcome.text).answer("I do not care")
    finally:
        clue.threshold = before
    meanings = {meaning(turn.question) for turn in dialog.prompt.turns}
    assert 2 <= dialog.turns == len(meanings) <= dialog.turn_limit and all(meanings)


def test_a_decoder_without_words_asks_which_one_once(clue, asked, monkeypatch):
    frame, dialog, _ = asked
    monkeypatch.setattr(clue, "threshold", 0.0)
    monkeypatch.setattr(clue.vlm, "question", lambda prefill: Question(""))
    monkeypatch.setattr(clue.vlm, "another_question", lambda prefill, refused: None)
    assert (asked_now := clue.look(frame, dialog).outcome) == Question(WHICH)
    again = clue.look(frame, dialog.ask(asked_now.text).answer("the nearest"))
    assert isinstance(again.outcome, Grounding) and again.in_doubt


@pytest.mark.parametrize("probability", [0.95, 0.3])
def test_a_colour_that_the_decoder_only_guesses_is_not_asked_about_but_the_place_is(clue, asked, probability, monkeypatch):
    frame, dialog, _ = asked
    prefill, colour = clue.prefill(frame, dialog.prompt), Question("do you mean the red mug or the blue mug?", probability)
    monkeypatch.setattr(clue.vlm, "question", lambda prefill: colour)
    known = probability > CONFIDENT
    place = clue.new_question(prefill, dialog.prompt)
    assert place == colour if known else places_offered(place.text)
    once_more = clue.new_question(prefill, dialog.ask(place.text).answer("any").prompt)
    assert meaning(once_more.text) != meaning(place.text)  # and not twice about the same places
    monkeypatch.setattr(clue.vlm, "another_question", lambda prefill, refused: None)
    assert clue.new_question(prefill, dialog.prompt) == colour  # where no places come to mind, it is better than none


def test_the_probability_of_a_question_is_of_that_question(clue, asked):
    frame, dialog, _ = asked
    prefill = clue.prefill(frame, dialog.prompt)
    said = [clue.vlm.question(prefill)]
    while (another := clue.vlm.another_question(prefill, lambda text: text in [q.text for q in said])) is not None:
        said.append(another)
    chances = [q.probability for q in said]
    assert len(said) >= 2 and chances == sorted(chances, reverse=True) and 0.5 < sum(chances) <= 1.0001


def test_what_is_logged_of_a_dialog_is_what_the_robot_would_do(clue, asked, monkeypatch):
    frame, dialog, doubted = asked
    monkeypatch.setattr(clue, "threshold", 0.0)
    left, careless = (_prediction(clue, Record(Picture("a table", lambda: frame.rgb), dialog.ask(SIDES).answer(answer).prompt, "1",
                                               "demo")) for answer in ("the left one", "I do not care"))
    assert left["question"] is None and Box(*left["bbox"]).iou(min(doubted, key=lambda b: b.x1)) >= SAME
    assert careless["question"] and meaning(careless["question"]) != meaning(SIDES)
