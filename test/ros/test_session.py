"""The life of a request, without ROS, model or clock."""

import numpy as np
import pytest

from clue_ros.ros.request import Answered, Asked, Finished, Looked, Note, Outcome, Phase, Snapshot
from clue_ros.ros.session import Limits, Session
from clue_ros.types import Ambiguity, Box, Decision, Grounding, Question

AMBIGUITY = Ambiguity(0.9, 0.5, np.zeros((2, 2), np.float32))
CERTAIN = Ambiguity(0.1, 0.5, np.zeros((2, 2), np.float32))
ASK = Decision(AMBIGUITY, Question("do you mean the red one or the blue one?"))
POINT = Decision(CERTAIN, Grounding(Box(1, 2, 3, 4), 0.8, "mug"))
LIMITS = Limits(turn_limit=3, question_timeout=10, instruction_timeout=5, max_frame_age=2)


def session(now=None):
    """A session, with a picture that came at `now`."""
    made = Session(LIMITS, lambda: "no image on topic image")
    if now is not None:
        made.see(Snapshot("picture", now))
    return made


def kinds(events):
    """What happened, in order."""
    return [type(event) for event in events]


def look(made, decision, now):
    """Take the look that is due."""
    due = made.next_look(now)
    assert due is not None
    return made.looked(due, decision, (640, 480), 7.0, now)


def test_clear_instruction_is_grounded():
    made = session(0)
    assert made.instruct("the mug", 1) == []
    looked, end = look(made, POINT, 1.5)
    assert isinstance(looked, Looked) and end.outcome is Outcome.GROUNDED and end.grounding is POINT.outcome
    assert made.request is None and made.next_look(2) is None and made.tick(1000) == []


def test_pointing_in_doubt_is_told_apart():
    made = session(0)
    made.instruct("the mug", 1)
    *_, end = look(made, Decision(AMBIGUITY, POINT.outcome), 1.5)
    assert end.outcome is Outcome.TURN_LIMIT and end.grounding is POINT.outcome


def test_what_the_dialog_settled_is_in_no_doubt():
    made = session(0)
    made.instruct("the mug", 1)
    *_, end = look(made, Decision(AMBIGUITY, POINT.outcome, settled=True), 1.5)
    assert end.outcome is Outcome.GROUNDED


def test_question_answer_box():
    made = session(0)
    made.instruct("the mug", 1)
    looked, asked = look(made, ASK, 1.5)
    assert isinstance(asked, Asked) and asked.question == ASK.outcome.text
    assert made.next_look(1.6) is None and made.request.phase is Phase.QUESTION_OPEN
    newest = Snapshot("another", 2)
    made.see(newest)
    assert kinds(made.answer("the red one", 2)) == [Answered]
    due = made.next_look(2)
    assert due.snapshot is newest and due.dialog.turns == 1
    _, end = made.looked(due, POINT, (640, 480), 5.0, 3)
    assert end.request is asked.request is looked.request
    assert end.request.spoken == [ASK.outcome.text, "the red one"]
    assert (end.request.questions, end.request.milliseconds, end.request.seen.size) == (1, 12.0, (640, 480))


def test_instruction_before_the_first_image():
    made = session()
    made.instruct("the mug", 0)
    assert made.next_look(1) is None and made.tick(4.9) == []
    made.see(Snapshot("picture", 4.95))
    assert made.tick(100 - 95) == [] and made.next_look(5.1) is not None


def test_no_image_in_time():
    made = session()
    made.instruct("the mug", 0)
    end, = made.tick(5)
    assert end.outcome is Outcome.ERROR and end.error == "no image on topic image"


@pytest.mark.parametrize("snapshot, words", [
    (Snapshot("p", 0), "the camera has stopped: its last image came 15.0 s ago"),
    (Snapshot("p", 14, delay=60), "stamps 61.0 s in the past"),
])
def test_old_images_are_not_looked_at(snapshot, words):
    made = session()
    made.see(snapshot)
    made.instruct("the mug", 10)
    assert made.next_look(10) is None
    end, = made.tick(15)
    assert words in end.error


def test_age_counts_delay_but_no_stamp_from_the_future():
    assert Snapshot("p", 10, delay=3).age(11) == 4
    assert Snapshot("p", 10, delay=-3).age(11) == 1


def test_any_age_is_accepted_on_request():
    made = session(0)
    made.limits = Limits(max_frame_age=0)
    made.instruct("the mug", 1e6)
    assert made.next_look(1e6) is not None


@pytest.mark.parametrize("phase", ["waiting", "looking", "question"])
def test_a_newer_instruction_supersedes_in_every_phase(phase):
    made = session(0) if phase != "waiting" else session()
    made.instruct("the mug", 1)
    due = made.next_look(1) if phase == "looking" else None
    if phase == "question":
        look(made, ASK, 1)
    old = made.request
    note, end = made.instruct("the can", 2)
    assert isinstance(note, Note) and old.identity in note.text
    assert end.request is old and end.outcome is Outcome.SUPERSEDED
    assert made.request.instruction == "the can" != old.instruction
    if due:  # the look that was under way tells nothing any more
        assert made.looked(due, POINT, (1, 1), 1, 2) == [] == made.failed(due, "boom", 2)
    made.see(Snapshot("picture", 2))
    assert look(made, POINT, 2)[-1].request.instruction == "the can"


def test_unusable_instruction_leaves_the_running_request():
    made = session(0)
    made.instruct("the mug", 1)
    look(made, ASK, 1)
    for text in ("", "   ", "x" * 10_000):
        end, = made.instruct(text, 2)
        assert end.outcome is Outcome.ERROR and end.error.startswith("the instruction")
        assert end.request.instruction == text
    assert made.request.phase is Phase.QUESTION_OPEN


def test_answers_that_are_not_due():
    made = session(0)
    assert "no question is open; start with an instruction" in made.answer("red", 0)[0].text
    made.instruct("the mug", 1)
    assert f"no question is open; request {made.request.identity} is waiting for an image" in made.answer("red", 1)[0].text
    note, = made.answer("x" * 50, 1)
    assert note.warning and "x" * 40 + "..." in note.text
    look(made, ASK, 1)
    note, = made.answer(" ", 2)  # silence is not answered
    assert "the question stays open: the answer is empty" in note.text
    note, again = made.answer("x" * 1001, 2)
    assert "the question stays open: the answer has 1001 characters" in note.text and again.question == ASK.outcome.text
    assert made.request.phase is Phase.QUESTION_OPEN and made.request.questions == 1


def test_an_addressed_answer_counts_for_its_question_only():
    made = session(0)
    made.instruct("the mug", 1, "first")
    look(made, ASK, 1)
    made.instruct("the can", 2, "second")
    look(made, ASK, 2)
    for to in (("first", 0), ("second", 1), ("", 0)):
        note, = made.answer("red", 3, to)
        assert note.warning and f"question {to[1]} of request '{to[0]}'" in note.text
    assert "of request 'second' is open" in note.text
    assert made.request.phase is Phase.QUESTION_OPEN and made.request.spoken == [ASK.outcome.text]
    assert kinds(made.answer("red", 4, ("second", 0))) == [Answered] and made.request.spoken[-1] == "red"
    made.see(Snapshot("picture", 4))
    look(made, ASK, 4)  # asks again: what was said twice does not answer the second question
    assert made.answer("red", 5, ("second", 0))[0].warning and made.request.phase is Phase.QUESTION_OPEN
    assert kinds(made.answer("left", 6, ("second", 1))) == [Answered]


def test_nobody_answers():
    made = session(0)
    made.instruct("the mug", 1)
    look(made, ASK, 1)
    assert made.tick(10.9) == []
    end, = made.tick(11)
    assert end.outcome is Outcome.QUESTION_TIMEOUT and end.request.spoken == [ASK.outcome.text]


def test_a_failed_look_and_an_empty_question_are_errors():
    made = session(0)
    made.instruct("the mug", 1)
    end, = made.failed(made.next_look(1), "out of memory", 1)
    assert (end.outcome, end.error) == (Outcome.ERROR, "out of memory")
    made.instruct("the mug", 1)
    _, end = look(made, Decision(AMBIGUITY, Question(" ")), 1)
    assert end.outcome is Outcome.ERROR and "asked nothing" in end.error


def test_an_answer_too_long_for_the_model_is_taken_back_and_its_question_asked_again():
    made = session(0)
    made.instruct("the mug", 1)
    look(made, ASK, 1)
    made.answer("word " * 150, 1.2)
    made.unusable(made.next_look(1.3), "it was cut", 1.3)  # first a picture of no use, which is forgotten with the answer
    made.see(Snapshot("whole", 1.4))
    note, again = made.failed(made.next_look(1.5), "975 tokens at most", 1.6, too_long=True)
    assert note == Note("the question stays open: 975 tokens at most", True)
    assert again.question == ASK.outcome.text and made.request.last.decision is ASK and made.request.spoilt is None
    assert made.request.phase is Phase.QUESTION_OPEN and made.request.spoken == [ASK.outcome.text] and made.tick(11.5) == []
    assert kinds(made.answer("red", 1.8, (made.request.identity, 0))) == [Answered]
    assert look(made, POINT, 1.9)[-1].request.spoken == [ASK.outcome.text, "red"]
    made.instruct("word " * 150, 2)
    assert made.failed(made.next_look(2), "too long", 2, too_long=True)[0].outcome is Outcome.ERROR  # there is nothing to take back


def test_a_picture_that_cannot_be_used_is_not_the_end_of_a_dialog():
    made = session(0)
    made.instruct("the mug", 1)
    look(made, ASK, 1)
    made.answer("red", 1.2)
    assert made.unusable(made.next_look(1.3), "it was cut", 1.4)[0].text.endswith("so the next one is looked at: it was cut")
    assert made.next_look(1.5) is None and made.tick(1.5) == []  # the same is not looked at again
    made.see(Snapshot("whole", 1.6))
    *_, end = look(made, POINT, 1.7)
    assert end.outcome is Outcome.GROUNDED and end.request.spoilt is None


def test_a_second_picture_that_cannot_be_used_is_and_so_is_none():
    for another in (True, False):
        made = session(0)
        made.instruct("the mug", 1)
        made.unusable(made.next_look(1), "it was cut", 1.1)
        if another:
            made.see(Snapshot("another", 1.2))
            end, = made.unusable(made.next_look(1.2), "it was cut", 1.3)
        else:
            end, = made.tick(2.2)
        assert (end.outcome, end.error) == (Outcome.ERROR, "it was cut") and made.request is None


def test_a_question_asked_again_has_all_its_time_again():
    made = session(0)
    made.instruct("the mug", 1)
    look(made, ASK, 1)
    assert made.answer("x" * 1001, 10) and made.tick(12) == []
    assert made.tick(20)[0].outcome is Outcome.QUESTION_TIMEOUT


def test_an_outcome_tells_of_one_picture_alone():
    made = session(0)
    made.instruct("the mug", 1)
    look(made, ASK, 1)
    made.answer("red", 1.2)
    made.see(other := Snapshot("a smaller one", 1.3))
    made.next_look(1.4)
    end, = made.cancel(made.request.identity)
    assert (end.request.last.snapshot, end.request.last.size, end.request.last.decision) == (other, (0, 0), None)


@pytest.mark.parametrize("running, told", [("", "the node is not active"), ("deactivated", "deactivated")])
def test_closing_ends_the_running_and_every_later_request(running, told):
    made = session(0)
    made.instruct("the mug", 1)
    assert [e.error for e in made.close("the node is not active", running)] == [told]
    for text in ("the can", ""):
        end, = made.instruct(text, 2)
        assert isinstance(end, Finished) and end.error == "the node is not active"
    assert made.next_look(2) is None and made.close("again") == []
    made.see(Snapshot("picture", 3))
    assert made.newest is None  # nobody will look at it
    made.open()
    made.see(Snapshot("picture", 4))
    made.instruct("the mug", 4)
    assert look(made, POINT, 4)[-1].outcome is Outcome.GROUNDED


def test_a_held_session_lets_the_newest_instruction_wait():
    made = session(0)
    made.hold()
    assert "waits" in made.instruct("the mug", 1)[0].text
    *_, end, note = made.instruct("the can", 1)
    assert end.outcome is Outcome.SUPERSEDED and "waits" in note.text
    assert made.next_look(1) is None and made.tick(1.5) == []
    made.open()
    assert look(made, POINT, 1)[-1].request.instruction == "the can"


@pytest.mark.parametrize("phase", ["waiting", "looking", "question"])
def test_a_request_is_cancelled_in_every_phase(phase):
    made = session(0) if phase != "waiting" else session()
    made.instruct("the mug", 1, "goal")
    due = made.next_look(1) if phase == "looking" else None
    if phase == "question":
        look(made, ASK, 1)
    assert made.cancel("another") == []
    end, = made.cancel("goal")
    assert end.outcome is Outcome.CANCELLED and end.request.identity == "goal" and made.request is None
    assert made.cancel("goal") == []
    if due:
        assert made.looked(due, POINT, (1, 1), 1, 2) == []
