"""Whatever happens, in whatever order: every instruction ends exactly once, or is the one that is running."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from clue_ros.ros.request import Answered, Asked, Finished, Looked, Note, Outcome, Phase, Snapshot
from clue_ros.ros.session import Limits, Session
from clue_ros.types import Ambiguity, Box, Decision, Grounding, Question

SENTENCES = st.sampled_from(["the model is gone", "out of memory"])
WORDS = st.one_of(st.sampled_from(["the mug", "", " \n", "x" * 2000, "<clarify>", "\u202e", "\ud800"]),
                  st.text(st.characters(categories=None), max_size=20))
DECISIONS = st.builds(
    lambda doubt, outcome: Decision(Ambiguity(doubt, 0.5, np.zeros((2, 2), np.float32)), outcome),
    st.sampled_from([0.1, 0.9]),
    st.sampled_from([Grounding(Box(1, 2, 3, 4), 0.8, "mug"), Question("this one?"), Question("that one?"), Question(" ")]))


class Life(RuleBasedStateMachine):
    """One session, a camera, some people and a worker, none of whom keeps to an order."""

    def __init__(self):
        super().__init__()
        self.session = Session(Limits(turn_limit=2, question_timeout=3, instruction_timeout=2, max_frame_age=1),
                               lambda: "no image")
        self.now, self.due, self.ends, self.goals = 100.0, None, Counter(), 0
        self.said, self.heard = 0, 0
        self.asking = ""  # the request whose question is open, by what was told

    def tell(self, events):
        """What the world hears."""
        for event in events:
            assert isinstance(event, Answered | Asked | Finished | Looked | Note)
            if isinstance(event, Asked):
                self.asking = event.request.identity
            elif isinstance(event, Answered | Finished) and self.asking == event.request.identity:
                self.asking = ""
            if isinstance(event, Finished):
                self.ends[event.request.identity] += 1
                self.heard += 1
                assert self.ends[event.request.identity] == 1, event
                assert (event.outcome is Outcome.ERROR) == bool(event.error) and "\n" not in event.error
                assert not (event.request.seen.decision and event.request.seen.snapshot is None)
                assert (event.grounding is not None) == (event.outcome in (Outcome.GROUNDED, Outcome.TURN_LIMIT))
            if isinstance(event, Asked):
                assert self.session.request is event.request and event.request.phase is Phase.QUESTION_OPEN
                assert event.request.seen.decision is not None and event.request.last is event.request.seen

    @rule(text=WORDS, goal=st.booleans())
    def instruct(self, text, goal):
        self.said += 1
        self.goals += goal
        self.tell(self.session.instruct(text, self.now, f"goal {self.goals}" if goal else ""))

    @rule(text=WORDS)
    def answer(self, text):
        self.tell(self.session.answer(text, self.now))

    @rule(text=WORDS, right=st.booleans(), number=st.integers(0, 3))
    def answer_addressed(self, text, right, number):
        running = self.session.request
        to = (running.identity if right and running else "another", number)
        due = running and running.phase is Phase.QUESTION_OPEN and to == (running.identity, running.dialog.turns)
        before = running and len(running.spoken)
        self.tell(self.session.answer(text, self.now, to))
        assert due or not running or len(running.spoken) == before  # it counts for the question it names, or not at all

    @rule(delay=st.floats(-1e9, 1e9))
    def see(self, delay):
        self.tell(self.session.see(Snapshot("picture", self.now, delay if abs(delay) > 1e8 else 0.0)))

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 2.5, 5.0]))
    def wait(self, seconds):
        self.now += seconds
        self.tell(self.session.tick(self.now))

    @precondition(lambda self: self.due is None)
    @rule()
    def begin_to_look(self):
        self.due = self.session.next_look(self.now)

    @precondition(lambda self: self.due is not None)
    @rule(decision=DECISIONS)
    def look(self, decision):
        self.tell(self.session.looked(self.due, decision, (640, 480), 7.0, self.now))
        self.due = None

    @precondition(lambda self: self.due is not None)
    @rule(sentence=SENTENCES, why=st.sampled_from(["failed", "too long", "unusable"]))
    def fail(self, sentence, why):
        self.tell(self.session.unusable(self.due, sentence, self.now) if why == "unusable" else
                  self.session.failed(self.due, sentence, self.now, too_long=why == "too long"))
        self.due = None

    @rule(back=st.integers(0, 2))
    def cancel(self, back):
        self.tell(self.session.cancel(f"goal {self.goals - back}"))

    @rule(what=st.sampled_from(["close", "hold", "open", "open"]), sentence=SENTENCES)
    def switch(self, what, sentence):
        self.tell(self.session.close(sentence) if what == "close" else getattr(self.session, what)())

    @rule(limits=st.builds(Limits, turn_limit=st.integers(0, 3), question_timeout=st.floats(0.1, 5),
                           instruction_timeout=st.floats(0, 5), max_frame_age=st.sampled_from([0.0, 0.5, 100.0])))
    def change_parameters(self, limits):
        self.session.limits = limits

    @invariant()
    def every_instruction_ended_or_runs(self):
        running = self.session.request
        assert self.said == self.heard + (running is not None)
        assert running is None or not self.ends[running.identity]

    @invariant()
    def a_question_is_open_when_it_was_told_so(self):
        running = self.session.request
        is_open = running is not None and running.phase is Phase.QUESTION_OPEN
        assert self.asking == (running.identity if is_open else "")

    def teardown(self):
        self.tell(self.session.close("the node was shut down"))
        assert self.said == self.heard and set(self.ends.values()) <= {1}


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("text", ["the\ud800 mug", "\U000e0074\U000e0068the mug"])
def test_half_characters_and_invisible_ones_do_not_reach_the_model(text):
    session = Session(Limits())
    assert session.instruct(text, 0) == [] and session.request.dialog.prompt.instruction == "the mug"
