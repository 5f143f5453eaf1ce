"""What a question offers, and what an answer takes of it."""

import pytest

from clue_ros.types import Turn
from clue_ros.wording import PlaceTaken, meaning, picks_an_offer, place_taken, places_offered


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
    ("do you mean the one on the left or the one on the right?", "the left one please", PlaceTaken(0, 0, 2)),
    ("do you mean the one on the left or the one on the right?", "right", PlaceTaken(0, 1, 2)),
    ("do you mean the one at the top or the one at the bottom?", "at the bottom", PlaceTaken(1, 1, 2)),
    (ROW, "in the middle", PlaceTaken(0, 1, 3)), (ROW, "the right one", PlaceTaken(0, 2, 3)), (ROW, "the upper one", None),
    ("do you mean the one on the left or the one on the right?", "in the middle", None),  # that was not offered
    ("do you mean the one on the left or the one on the right?", "no, the lower left one", None),  # says more than was offered
    ("do you mean the one on the left or the one on the right?", "the one", None),
    ("do you mean the one on the left or the one at the top?", "the left one", None),  # the two may be one
    ("do you mean the top left mug or the top right mug?", "the top one", None),  # as both of them are
    ("do you mean the top left mug or the top right mug?", "the right mug", PlaceTaken(0, 1, 2)),
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
