"""Boxes, frames and dialogs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clue_ros.dialog import Dialog
from clue_ros.types import Box, Frame, InputError

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


def test_an_answer_is_taken_back_and_its_question_is_open_again():
    asked = Dialog.start("the mug").ask("which one?").answer("the left one").ask("and which of them?")
    answered = asked.answer("the big one")
    assert answered.take_back() == asked and answered.take_back().answer("the small one").turns == 2
    with pytest.raises(ValueError, match="no answer to take back"):
        Dialog.start("the mug").take_back()
