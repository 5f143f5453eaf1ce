"""The action `ground` on real DDS with the real embedded model: every goal ends in exactly one result."""

import threading
import time

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from action_msgs.srv import CancelGoal
from std_msgs.msg import String

from clue_ros.action import Ground
from clue_ros.msg import GroundedObject
from clue_ros.ros.conversions import box_from_message
from clue_ros.tabletop.questions import Oracle


class Goal:
    """A goal that was sent, as its client sees it."""

    def __init__(self, play, client, instruction):
        self.play, self.feedback = play, []
        sent = client.send_goal_async(Ground.Goal(instruction=instruction),
                                      feedback_callback=lambda m: self.feedback.append(m.feedback))
        play.until(sent.done)
        self.handle = sent.result()
        assert self.handle.accepted
        self._result = self.handle.get_result_async()

    def question(self):
        """Wait for one."""
        self.play.until(lambda: self.feedback)
        return self.feedback[-1]

    def cancel(self):
        """Whether the node takes it."""
        asked = self.handle.cancel_goal_async()
        self.play.until(asked.done)
        return bool(asked.result().goals_canceling)

    def result(self):
        """(GoalStatus, GroundedObject), when it ended."""
        self.play.until(self._result.done, 30.0)
        return self._result.result().status, self._result.result().result.grounding


@pytest.fixture
def server(stage):
    """A function that sets up a stage with this engine; gives it, and a function that sends a goal to it."""
    def make(load, **parameters):
        play = stage(load, **parameters)
        client = play.ground_client()
        return play, lambda instruction: Goal(play, client, instruction)
    return make


class Gated:
    """The engine, whose looks wait for `may_look`."""

    def __init__(self, engine):
        self.engine, self.threshold, self.calibration = engine, engine.threshold, engine.calibration
        self.looking, self.may_look = threading.Event(), threading.Event()

    def look(self, frame, dialog):
        self.looking.set()
        self.may_look.wait(60)
        return self.engine.look(frame, dialog)


def test_question_feedback_answer_result(server, embedded_engine, ambiguous):
    play, send = server(embedded_engine)
    play.show(ambiguous.picture)
    goal = send(ambiguous.say)
    asked = goal.question()
    assert asked.question == play.hear(String).data  # it is spoken, too
    assert asked.verdict.ambiguous and asked.verdict.probability >= asked.verdict.threshold > 0
    assert asked.verdict.candidates and asked.verdict.request_id == asked.request_id
    oracle = Oracle(ambiguous.picture.scene.objects, ambiguous.target, np.random.default_rng(0))
    play.person.reply(oracle.answer(asked.question, ambiguous.candidates))
    status, end = goal.result()
    assert (status, end.outcome) == (GoalStatus.STATUS_SUCCEEDED, GroundedObject.OUTCOME_GROUNDED)
    assert end.request_id == asked.request_id == bytes(goal.handle.goal_id.uuid).hex()
    assert box_from_message(end.box).iou(ambiguous.picture.box(ambiguous.target)) >= 0.5
    assert end.dialog[0] == asked.question and len(goal.feedback) == end.questions_asked == 1
    assert [m for m in play.rest() if isinstance(m, GroundedObject)] == [end]  # the same on the topic, once


def test_a_goal_that_ends_in_doubt_has_a_box_but_no_success(server, embedded_engine, ambiguous):
    play, send = server(embedded_engine, turn_limit=0)
    play.show(ambiguous.picture)
    status, end = send(ambiguous.say).result()
    assert (status, end.outcome) == (GoalStatus.STATUS_ABORTED, GroundedObject.OUTCOME_TURN_LIMIT)
    assert end.box.x2 > end.box.x1


def test_cancel_an_open_question(server, embedded_engine, ambiguous, clear):
    play, send = server(embedded_engine)
    play.show(ambiguous.picture)
    goal = send(ambiguous.say)
    question = goal.question().question
    assert goal.cancel()
    status, end = goal.result()
    assert (status, end.outcome) == (GoalStatus.STATUS_CANCELED, GroundedObject.OUTCOME_CANCELLED)
    assert list(end.dialog) == [question] and end.error == ""
    assert not goal.cancel()
    play.person.reply("the left one")
    play.logged("no question is open")
    play.show(clear.picture)
    done = send(clear.say)
    assert done.result()[0] == GoalStatus.STATUS_SUCCEEDED
    assert not done.cancel()  # it had ended by itself


def test_all_goals_are_cancelled_though_one_was_superseded_a_moment_ago(server, embedded_engine, ambiguous):
    play, send = server(embedded_engine)
    play.show(ambiguous.picture)
    first = send(ambiguous.say)
    first.question()
    client, everything = play.ground_client(), play.person.create_client(CancelGoal, "ground/_action/cancel_goal")
    assert everything.wait_for_service(10)
    with play.node.worker._changed:  # the executor waits with the next picture, so that it gets both at once
        sent = client.send_goal_async(Ground.Goal(instruction=ambiguous.say))
        cancelled = everything.call_async(CancelGoal.Request())
        time.sleep(0.5)
    play.until(lambda: sent.done() and cancelled.done())
    later = sent.result().get_result_async()
    assert first.result()[1].outcome == GroundedObject.OUTCOME_SUPERSEDED
    play.until(later.done)
    assert later.result().status == GoalStatus.STATUS_CANCELED
    assert later.result().result.grounding.outcome == GroundedObject.OUTCOME_CANCELLED


def test_cancel_a_look(server, embedded_engine, clear):
    engine = Gated(embedded_engine(None, None))
    play, send = server(lambda *_: engine)
    play.show(clear.picture)
    goal = send(clear.say)
    assert engine.looking.wait(10)
    assert goal.cancel()
    assert goal.result()[0] == GoalStatus.STATUS_CANCELED  # at once; the look goes on for nobody
    engine.may_look.set()
    assert [m.outcome for m in play.rest()] == [GroundedObject.OUTCOME_CANCELLED]


@pytest.mark.parametrize("by", ["topic", "goal"])
def test_a_newer_instruction_supersedes_the_goal(server, embedded_engine, ambiguous, clear, by):
    play, send = server(embedded_engine)
    play.show(ambiguous.picture)
    first = send(ambiguous.say)
    first.question()
    play.show(clear.picture)
    if by == "goal":
        assert send(clear.say).result()[1].outcome == GroundedObject.OUTCOME_GROUNDED
    else:
        play.person.say(clear.say)
    status, end = first.result()
    assert (status, end.outcome) == (GoalStatus.STATUS_ABORTED, GroundedObject.OUTCOME_SUPERSEDED)
    ends = [play.hear(GroundedObject) for _ in range(2)]
    assert [(m.outcome, m.instruction) for m in ends] == [(GroundedObject.OUTCOME_SUPERSEDED, ambiguous.say),
                                                          (GroundedObject.OUTCOME_GROUNDED, clear.say)]


def test_a_goal_supersedes_a_dialog_by_topic(server, embedded_engine, ambiguous, clear):
    play, send = server(embedded_engine)
    play.show(ambiguous.picture)
    play.person.say(ambiguous.say)
    play.hear(String)
    play.show(clear.picture)
    assert send(clear.say).result()[0] == GoalStatus.STATUS_SUCCEEDED
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_SUPERSEDED


@pytest.mark.parametrize("words, sentence", [("", "the instruction is empty"), (" \n", "the instruction is empty"),
                                             ("x" * 10_000, "10000 characters")])
def test_unusable_words_are_told_and_leave_the_running_goal(server, embedded_engine, ambiguous, words, sentence):
    play, send = server(embedded_engine)
    play.show(ambiguous.picture)
    running = send(ambiguous.say)
    running.question()
    status, end = send(words).result()
    assert (status, end.outcome) == (GoalStatus.STATUS_ABORTED, GroundedObject.OUTCOME_ERROR)
    assert sentence in end.error and end.instruction == words
    assert running.cancel()  # so it was still running


def test_a_goal_to_a_node_that_is_not_active(server, embedded_engine):
    play, send = server(embedded_engine, autostart=False)
    status, end = send("the red mug").result()
    assert status == GoalStatus.STATUS_ABORTED and "the node is not active: bring it up with" in end.error


def test_deactivation_ends_the_goal(server, embedded_engine, ambiguous):
    play, send = server(embedded_engine)
    play.show(ambiguous.picture)
    goal = send(ambiguous.say)
    goal.question()
    play.node.trigger_deactivate()
    status, end = goal.result()
    assert status == GoalStatus.STATUS_ABORTED and "the node was deactivated" in end.error


def test_many_goals_at_once_end_once_each(server, embedded_engine, clear):
    play, send = server(embedded_engine)
    play.show(clear.picture)
    goals = [send(clear.say) for _ in range(25)]
    results = [goal.result() for goal in goals]
    assert results[-1][1].outcome == GroundedObject.OUTCOME_GROUNDED
    ends = {end.outcome for _, end in results}
    assert ends <= {GroundedObject.OUTCOME_SUPERSEDED, GroundedObject.OUTCOME_GROUNDED}
    told = [m.request_id for m in play.rest() if isinstance(m, GroundedObject)]
    assert len(told) == len(set(told)) and set(told) <= {end.request_id for _, end in results}
    play.until(lambda: not play.view.action._running)
