"""SIGINT and SIGTERM: in every state the process ends in time and in order, and nobody waits for it."""

import contextlib
import signal
import time

import pytest
from action_msgs.msg import GoalStatus
from std_msgs.msg import String

from clue_ros.action import Ground
from clue_ros.msg import GroundedObject
from company import CLEANUP, CONFIGURE, DEACTIVATE, Manager
from processes import SLOW_NODE, end, small, wait_for


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("state", ["loading the model", "say what to look for on"])
def test_a_signal_ends_it_within_two_seconds(run_node, state, number):
    process = run_node()
    wait_for(state, process)
    assert end(process, number) < 2.0


def test_a_signal_in_a_look_ends_the_goal_and_the_process(run_node, namespace, company, clear):
    play = company(namespace)
    play.camera.show(small(clear))
    process = run_node(code=SLOW_NODE)
    client = play.ground_client()
    assert play.person.wait_for_node(20.0)
    sent = client.send_goal_async(Ground.Goal(instruction=clear.say))
    play.until(sent.done)
    result = sent.result().get_result_async()
    wait_for("looking", process)
    assert end(process) < 2.0
    play.until(result.done)
    assert result.result().status == GoalStatus.STATUS_ABORTED
    sentence = "the node was shut down before the instruction was finished"
    assert result.result().result.grounding.error == sentence == play.hear(GroundedObject).error
    play.until(lambda: not play.person.connected(), 2.0)  # it took its leave: nobody waits for it


def test_a_signal_while_the_node_is_inactive(run_node, namespace, company):
    process = run_node("-p", "autostart:=false")
    assert Manager(company(namespace)).do(CONFIGURE)
    assert end(process) < 2.0


def test_a_signal_while_a_question_is_open(run_node, namespace, company, ambiguous):
    play = company(namespace)
    play.camera.show(small(ambiguous))
    process = run_node()
    wait_for("say what to look for on", process)
    assert play.person.wait_for_node(60.0)
    play.person.say(ambiguous.say)
    play.hear(String)
    assert end(process) < 2.0
    assert play.hear(GroundedObject).error == "the node was shut down before the instruction was finished"


def test_a_signal_while_a_cleanup_waits_for_a_look(run_node, namespace, company, clear):
    play = company(namespace)
    play.camera.show(small(clear))
    process = run_node(code=SLOW_NODE)
    manage = Manager(play)
    assert play.person.wait_for_node(60.0)
    play.person.say(clear.say)
    wait_for("looking", process)
    play.until(lambda: manage.state == "active")  # what waited for the model is looked at while the node is still activating
    assert manage.do(DEACTIVATE) and "deactivated" in play.hear(GroundedObject).error
    manage.ask(CLEANUP)
    play.rest(0.5)
    assert end(process) < 2.0


@pytest.mark.parametrize("delay", (0.0, 0.001, 0.01))
def test_a_camera_ends_in_order_however_often_it_is_told(run_node, delay):
    process = run_node("-p", "rate:=200.0", "-p", "hold:=0.0", code=("-m", "clue_ros.ros.camera"))
    wait_for("showing", process)
    for _ in range(3):
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        time.sleep(delay)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0 and "Traceback" not in said
