"""One node that looks through several cameras, and several nodes in one domain: on real DDS with the embedded model."""

import time

import pytest
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import String

from clue_ros.action import Ground
from clue_ros.msg import AmbiguityHeatmap, GroundedObject
from clue_ros.ros.script import BOX
from company import DEACTIVATE, Manager


@pytest.fixture
def pair(stage, company, embedded_engine):
    """A function that sets up a node with the cameras front and wrist; whom is at the front, and whom at the wrist."""
    def build(**parameters):
        front = stage(embedded_engine, cameras=["front", "wrist"], **parameters)
        wrist = company(front.namespace, name="wrist")
        assert wrist.person.wait_for_node(20.0)
        return front, wrist
    return build


def show_both(front, wrist, at_front, at_wrist):
    """Point each camera at its picture."""
    front.show(at_front.picture)
    front.show_on(wrist, front.node.views[1], at_wrist.picture)


def test_a_question_about_one_camera_does_not_hold_up_the_other(pair, ambiguous, clear):
    front, wrist = pair()
    show_both(front, wrist, ambiguous, clear)
    front.person.say(ambiguous.say)
    question = front.hear(String).data
    for _ in range(2):
        wrist.person.say(clear.say)
        assert wrist.hear(GroundedObject).outcome == GroundedObject.OUTCOME_GROUNDED
    wrist.person.reply("the left one")  # to a question that nobody asked there
    front.logged("the answer 'the left one' is ignored: no question is open")
    assert front.view.session.request is not None
    front.person.reply("the left one")
    while not isinstance(end := front.hear((GroundedObject, String)), GroundedObject):
        front.person.reply("the left one")
    assert end.box.x2 > end.box.x1 and list(end.dialog[:2]) == [question, "the left one"]
    at_front, at_wrist = [*front.heard, *front.rest()], [*wrist.heard, *wrist.rest()]
    assert not any(isinstance(m, String) for m in at_wrist)
    assert {m.instruction for m in at_front if not isinstance(m, String)} == {ambiguous.say}
    assert {m.instruction for m in at_wrist} == {clear.say}
    assert [len([m for m in heard if isinstance(m, GroundedObject)]) for heard in (at_front, at_wrist)] == [1, 2]


def test_asked_at_the_same_time_each_gets_its_own_answer(pair, clear, script):
    other = [step for step in script if step.expect == BOX][1]
    front, wrist = pair()
    show_both(front, wrist, clear, other)
    for _ in range(3):
        for company, step in ((front, clear), (wrist, other)):
            company.person.say(step.say)
        for company, step in ((front, clear), (wrist, other)):
            end = company.hear(GroundedObject)
            assert (end.outcome, end.instruction) == (GroundedObject.OUTCOME_GROUNDED, step.say)
            box = step.picture.box(step.target)
            assert min(end.box.x2, box.x2) > max(end.box.x1, box.x1)  # of its own picture


def test_each_has_an_action(pair, ambiguous, clear):
    front, wrist = pair()
    show_both(front, wrist, ambiguous, clear)
    sent = [company.ground_client().send_goal_async(Ground.Goal(instruction=step.say))
            for company, step in ((front, ambiguous), (wrist, clear))]
    front.until(lambda: all(goal.done() for goal in sent))
    waiting, done = (goal.result().get_result_async() for goal in sent)
    wrist.until(done.done)
    assert done.result().status == GoalStatus.STATUS_SUCCEEDED
    front.hear(String)
    cancelled = sent[0].result().cancel_goal_async()
    front.until(lambda: cancelled.done() and waiting.done())
    assert waiting.result().result.grounding.outcome == GroundedObject.OUTCOME_CANCELLED


def test_time_outs_and_silence_are_each_cameras_own(pair, ambiguous, clear):
    front, wrist = pair(question_timeout=1.0, instruction_timeout=0.3, max_frame_age=1.5)
    show_both(front, wrist, ambiguous, clear)
    front.person.say(ambiguous.say)
    wrist.camera.show(None)
    assert front.hear(GroundedObject).outcome == GroundedObject.OUTCOME_QUESTION_TIMEOUT
    front.until(lambda: front.node.views[1].session.trouble(time.monotonic()))
    wrist.person.say(clear.say)
    assert "the camera has stopped" in wrist.hear(GroundedObject).error
    front.person.say(ambiguous.say)
    assert front.hear(String)


def test_deactivation_is_heard_at_every_camera(pair, ambiguous):
    front, wrist = pair()
    show_both(front, wrist, ambiguous, ambiguous)
    for company in (front, wrist):
        company.person.say(ambiguous.say)
        company.hear(String)
    assert Manager(front).do(DEACTIVATE)
    for company in (front, wrist):
        assert company.hear(GroundedObject).error == "the node was deactivated before the instruction was finished"
        company.person.say(ambiguous.say)
        assert company.hear(GroundedObject).error.startswith("the node is not active")


def test_topics_and_diagnostics_by_name(pair):
    front, wrist = pair(depth=True)
    wrist.camera.show(None)
    parts = {}
    front.person.create_subscription(
        DiagnosticArray, "/diagnostics", lambda m: parts.update({s.name: s for s in m.status}), 10)
    node = front.node
    front.until(lambda: len([name for name in parts if name.startswith(f"{front.namespace[1:]}/")]) == 7)
    assert {name.partition(": ")[2] for name in parts if name.startswith(f"{front.namespace[1:]}/")} == {
        "model", *(f"{camera}/{part}" for camera in ("front", "wrist") for part in ("camera", "requests", "target"))}
    own = [name for entries in (node.get_publisher_names_and_types_by_node("clue_node", front.namespace),
                                node.get_subscriber_names_and_types_by_node("clue_node", front.namespace))
           for name, _ in entries]
    ours = {name.removeprefix(f"{front.namespace}/") for name in own if name.startswith(front.namespace)}
    named = {"image", "instruction", "answer", "answer/addressed", "camera_info", "depth", "grounding", "speech", "heatmap",
             "heatmap/image", "target"}
    assert {f"{camera}/{topic}" for camera in ("front", "wrist") for topic in named} <= ours
    assert "model" in ours and not ours & named


def test_two_nodes_in_one_domain_do_not_hear_each_other(stage, embedded_engine, ambiguous, clear):
    """As `namespace:=robot1` and `namespace:=robot2` have it."""
    one, two = stage(embedded_engine), stage(embedded_engine)
    one.show(ambiguous.picture)
    two.show(clear.picture)
    one.person.say(ambiguous.say)
    one.hear(String)
    assert not two.rest(0.3) and two.view.session.request is None
    goal = two.ground_client().send_goal_async(Ground.Goal(instruction=clear.say))
    end = two.hear(GroundedObject)
    assert end.outcome == GroundedObject.OUTCOME_GROUNDED and goal.done()
    assert all(isinstance(m, AmbiguityHeatmap) for m in one.rest(0.3)) and one.view.session.request is not None
    assert Manager(two).do(DEACTIVATE) and one.node.state == "active"
    one.person.reply("the left one")
    assert one.hear((GroundedObject, String))
    assert not two.rest(0.3)
