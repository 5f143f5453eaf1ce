"""Boxes, frames and dialogs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_ros.dialog import Dialog, Place, meaning, picks_an_offer, place_taken, places_offered
from clue_ros.types import Box, Frame, InputError, Turn

numbers = st.floats(0, 100)
boxes = st.builds(lambda a, b, c, d: Box(min(a, c), min(b, d), max(a, c), max(b, d)), numbers, numbers, numbers, numbers)


@given(boxes, boxes)
def test_iou_is_symmetric_and_between_zero_and_one(a, b):
    assert a.iou(b) == pytest.approx(b.iou(a)) and 0 <= a.iou(b) <= 1 + 1e-9


def test_iou_of_half_overlapping_boxes_is_a_third():
    assert Box(0, 0, 2, 1).iou(Box(1, 0, 3, 1)) == pytest.approx(1 / 3)
    assert Box(0, 0, 1, 1).iou(Box(2, 2, 3, 3)) == 0


@pytest.mark.parametrize("pixels", [None, np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8),
                                    np.zeros((4, 4, 4), np.uint8)])
def test_a_frame_says_what_it_needs(pixels):
    with pytest.raises(InputError, match=r"uint8\[H, W, 3\]"):
        Frame(pixels)


def test_a_dialog_remembers_and_stops_asking_at_its_limit():
    dialog = Dialog.start("  pick up the mug ", turn_limit=1)
    assert dialog.prompt.instruction == "pick up the mug" and dialog.may_ask()
    dialog = dialog.ask("red or blue?").answer("red")
    assert dialog.prompt.turns[0].question == "red or blue?" and dialog.prompt.turns[0].answer == "red"
    assert not dialog.may_ask()


def test_an_answer_needs_a_question():
    with pytest.raises(ValueError, match="no open question"):
        Dialog.start("x").answer("red")


@pytest.mark.parametrize("answer, picks", [
    ("the one on the left", True), ("left", True), ("The right one, please.", True), ("no, the red one", False),
    ("the left bowl", False), ("neither", False), ("!?", False), ("both", False), ("the one please", False)])
def test_an_answer_that_says_something_new_picks_no_offer(answer, picks):
    assert picks_an_offer(Turn("do you mean the one on the left or the one on the right?", answer)) == picks


def test_another_word_for_what_was_offered_picks_it():
    assert picks_an_offer(Turn("do you mean the small block or the big block?", "the little one please"))
    assert not picks_an_offer(Turn("do you mean the red block or the blue block?", "the little one please"))


def test_questions_are_the_same_whose_options_are_in_whatever_order():
    one = "do you mean the red mug or the blue block?"
    assert meaning(one) == meaning("Do you mean the blue block, or the red mug?") != meaning("do you mean the blue mug or the red block?")
    assert meaning("do you mean the red mug or the blue mug?") == meaning("do you mean the blue one or the red one?") != meaning(one)


ROW = "do you mean the one on the left, the one in the middle or the one on the right?"


@pytest.mark.parametrize("question, answer, place", [
    ("do you mean the one on the left or the one on the right?", "the left one please", Place(0, 0, 2)),
    ("do you mean the one on the left or the one on the right?", "right", Place(0, 1, 2)),
    ("do you mean the one at the top or the one at the bottom?", "at the bottom", Place(1, 1, 2)),
    (ROW, "in the middle", Place(0, 1, 3)), (ROW, "the right one", Place(0, 2, 3)), (ROW, "the upper one", None),
    ("do you mean the one on the left or the one on the right?", "in the middle", None),  # that was not offered
    ("do you mean the one on the left or the one on the right?", "no, the lower left one", None),  # says more than was offered
    ("do you mean the one on the left or the one on the right?", "the one", None),
    ("do you mean the one on the left or the one at the top?", "the left one", None),  # the two may be one
    ("do you mean the one on the left?", "left", None), ("do you mean the red block or the blue block?", "the red one", None)])
def test_a_place_is_taken_where_both_sides_were_offered(question, answer, place):
    assert place_taken(Turn(question, answer)) == place


@pytest.mark.parametrize("question, places", [
    ("do you mean the one on the left or the one on the right?", ("left", "right")), (ROW, ("left", "middle", "right")),
    ("Bottom or top?", ("top", "bottom")), ("do you mean the small one or the big one?", ()), ("", ()),
    ("the one in the middle or the one on the right?", ()),  # no two opposite sides
    ("the left one, the right one or the top one?", ()),  # one may be two of them
    ("do you mean the left mug or the right mug?", ("left", "right")), ("the one on the left or the one on the left?", ()),
    ("do you mean the mug left of the bowl or the one right of the plate?", ()),  # neither need be the leftmost
    ("do you mean the person with his left hand up or the one with the right one?", ())])
def test_the_places_that_a_question_offers(question, places):
    assert places_offered(question) == places
