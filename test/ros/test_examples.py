"""The worked examples, each as a program of its own beside the real node with the embedded model, on real DDS."""

import dataclasses
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import Point, PointStamped, PoseStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header

from clue_ros.msg import GroundedObject
from clue_ros.ros.conversions import box_from_message
from clue_ros.ros.script import BOX, QUESTION
from clue_ros.tabletop.questions import Oracle, ask
from depth_camera import DepthCamera

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def start(name, namespace, *arguments):
    """The example as a process; it talks to the nodes of the namespace."""
    return subprocess.Popen([sys.executable, str(EXAMPLES / name), *arguments, "--ros-args", "-r", f"__ns:={namespace}"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            start_new_session=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})


def end(process, typed="", seconds=60.0):
    """(exit code, what it printed) of a process that gets these lines and no more."""
    try:
        printed, _ = process.communicate(typed, timeout=seconds)
    finally:
        process.kill()
    assert "Traceback" not in printed, printed
    return process.returncode, printed


# -- pick and place ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pick_place():
    """The example's names."""
    return runpy.run_path(str(EXAMPLES / "pick_place.py"))


@pytest.fixture(scope="module")
def bag_replay():
    """The example's names."""
    return runpy.run_path(str(EXAMPLES / "bag_replay.py"))


def turned(q, vector):
    """The vector after the turn of a geometry_msgs/Quaternion."""
    axis, v = np.array([q.x, q.y, q.z]), np.asarray(vector, float)
    return v + 2 * np.cross(axis, np.cross(axis, v) + q.w * v)


@pytest.mark.parametrize("up", [(0, 0, -1), (0, 0, 5), (0, -1, 0), (0.3, -0.8, -0.5)])
def test_the_plan_comes_from_above_and_ends_beside(pick_place, up):
    target = PointStamped(header=Header(frame_id="optical"), point=Point(x=0.1, y=0.2, z=0.8))
    steps = pick_place["plan"](target, up, (0.2, 0.0, 0.1))
    poses = {name: pose for name, pose in steps if pose is not None}
    assert [name for name, _ in steps] == ["open the gripper", "approach", "grasp", "close the gripper", "lift", "carry",
                                           "place", "open the gripper", "retreat"]
    unit = np.array(up) / np.linalg.norm(up)
    where = {name: np.array([p.pose.position.x, p.pose.position.y, p.pose.position.z]) for name, p in poses.items()}
    assert (where["approach"] - where["grasp"]) @ unit == pytest.approx(0.12)
    assert where["approach"] - 0.10 * unit == pytest.approx([0.1, 0.2, 0.8])
    assert where["place"] - where["grasp"] == pytest.approx([0.2, 0.0, 0.1])
    assert all(pose.header == target.header for pose in poses.values())
    for pose in poses.values():
        q = pose.pose.orientation
        assert np.linalg.norm([q.x, q.y, q.z, q.w]) == pytest.approx(1)
        assert turned(q, (0, 0, 1)) == pytest.approx(-unit, abs=1e-6)


@pytest.mark.parametrize("up", [(0, 0, 0), (float("nan"), 0, 1)])
def test_up_must_be_a_direction(pick_place, up):
    with pytest.raises(pick_place["Failure"], match="give a direction"):
        pick_place["plan"](PointStamped(), up, (0, 0, 0))


def rgbd(stage, embedded_engine, step):
    """A stage with a depth camera 0.8 m above the step's table, and the poses that an arm is sent."""
    play = stage(embedded_engine, depth=True)
    play.poses = []
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    play.person.create_subscription(PoseStamped, "pick_place/pose", play.poses.append, latched)
    camera = DepthCamera(play)
    camera.metres = np.full((480, 640), 0.8, np.float32)
    play.show(step.picture)
    return play


def test_a_clear_object_is_picked_and_placed(stage, embedded_engine, clear):
    play = rgbd(stage, embedded_engine, clear)
    code, printed = end(start("pick_place.py", play.namespace, clear.say, "--pace", "0.1"))
    assert code == 0 and printed.endswith("done\n"), printed
    found = play.hear(GroundedObject)
    assert box_from_message(found.box).iou(clear.picture.box(clear.target)) >= 0.5
    assert found.label in printed and "grasp" in printed
    play.until(lambda: len(play.poses) == 6)
    approach, grasp = play.poses[:2]
    assert grasp.header == found.header
    assert (approach.pose.position.z, grasp.pose.position.z) == pytest.approx((0.7, 0.82))  # the camera looks down


@pytest.mark.parametrize("typed", [False, True])
def test_an_ambiguous_object_is_picked_after_the_answer(stage, embedded_engine, ambiguous, typed):
    play = rgbd(stage, embedded_engine, ambiguous)
    question, *_ = ask(ambiguous.picture.scene.objects, ambiguous.candidates)
    oracle = Oracle(ambiguous.picture.scene.objects, ambiguous.target, np.random.default_rng(0))
    answer = oracle.answer(question, ambiguous.candidates)
    arguments = () if typed else ("--answer", answer)
    code, printed = end(start("pick_place.py", play.namespace, ambiguous.say, "--pace", "0.05", *arguments),
                        typed=f"{answer}\n" if typed else "")
    assert code == 0 and f"person  {answer}" in printed and re.search(r"robot   .*\?", printed), printed
    assert box_from_message(play.hear(GroundedObject).box).iou(ambiguous.picture.box(ambiguous.target)) >= 0.5


def test_it_says_why_nothing_is_picked(stage, embedded_engine, script):
    """No depth, no instruction, nobody who answers, no node: one sentence each, and no pose."""
    ambiguous, clear = (next(s for s in script if s.expect == kind) for kind in (QUESTION, BOX))
    play = stage(embedded_engine)
    play.show(clear.picture)
    for say, sentence in ((clear.say, "there is no depth, so that nobody knows how far away the object is"),
                          (" ", "the object was not found: the instruction is empty")):
        code, printed = end(start("pick_place.py", play.namespace, say))
        assert code == 1 and f"pick_place: {sentence}" in printed and "arm  " not in printed, printed
    play.show(ambiguous.picture)
    code, printed = end(start("pick_place.py", play.namespace, ambiguous.say))  # the input ends at once
    assert code == 1 and "pick_place: the instruction was canceled: nobody answers" in printed, printed
    play.until(lambda: play.view.session.request is None)
    play.logged("ended: cancelled")
    code, printed = end(start("pick_place.py", "/nowhere", clear.say, "--patience", "0.5"))
    assert code == 1 and "pick_place: there is no action `ground` within 0.5 s: start clue_node" in printed, printed


def test_still_in_doubt_is_not_picked(stage, embedded_engine, ambiguous):
    play = stage(embedded_engine, turn_limit=0)
    play.show(ambiguous.picture)
    code, printed = end(start("pick_place.py", play.namespace, ambiguous.say))
    assert code == 1 and "still in doubt" in printed and "nothing is picked" in printed, printed


# -- recorded-bag replay -------------------------------------------------------------------------------------------------


def test_the_recording_is_of_the_demos_pictures(tmp_path):
    """After a change of resource/demo: python examples/bag_replay.py --record"""
    code, printed = end(start("bag_replay.py", "/", str(tmp_path / "recording"), "--record"))
    assert code == 0, printed
    shipped = {path.name: path.read_bytes() for path in (EXAMPLES / "recording").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "recording").iterdir()} == shipped
    assert sum(map(len, shipped.values())) < 1_000_000


def test_the_node_decides_as_recorded(stage, embedded_engine, script, tmp_path):
    play = stage(embedded_engine, image_transport="compressed")
    code, printed = end(start("bag_replay.py", play.namespace), seconds=120.0)
    assert code == 0 and f"{len(script)} of {len(script)} decisions are the golden ones" in printed, printed

    bag = shutil.copytree(EXAMPLES / "recording", tmp_path / "bag")
    (bag / "golden.json").unlink()
    code, printed = end(start("bag_replay.py", play.namespace, str(bag), "--accept"), seconds=120.0)
    assert code == 0 and f"{len(script)} decisions are golden from now on" in printed, printed
    entries = json.loads((bag / "golden.json").read_text())
    assert [entry["asks"] for entry in entries] == [step.expect == QUESTION for step in script]
    assert all(entry["outcome"] == "grounded" and len(entry["box"]) == 4 for entry in entries)


def test_other_decisions_are_counted(bag_replay, capsys):
    golden = bag_replay["read_golden"](EXAMPLES / "recording" / "golden.json")
    x1, y1, x2, y2 = golden[0].box
    assert bag_replay["compare"](golden, golden) == 0
    for change, differs in (({"box": (x1 + 1, y1, x2, y2)}, False), ({"box": (0, 0, 9, 9)}, True), ({"box": None}, True),
                            ({"asks": not golden[0].asks}, True), ({"outcome": "turn limit"}, True)):
        now = [dataclasses.replace(golden[0], **change), *golden[1:]]
        assert bag_replay["compare"](now, golden) == int(differs), change
    assert "5 of 6 decisions are the golden ones" in capsys.readouterr().out
    nothing = bag_replay["Decision"]("the mug", False, "error")
    assert nothing.same(nothing)


def test_it_says_why_nothing_can_be_replayed(stage, embedded_engine, tmp_path):
    play = stage(embedded_engine)
    code, printed = end(start("bag_replay.py", play.namespace))
    assert code == 1 and "/image/compressed: start clue_node with image_transport:=compressed" in printed, printed
    code, printed = end(start("bag_replay.py", play.namespace, str(tmp_path / "gone.mcap")))
    assert code == 1 and "bag_replay: there is no recording" in printed, printed
    bag = shutil.copytree(EXAMPLES / "recording", tmp_path / "bag")
    (bag / "golden.json").write_text("[]")
    code, printed = end(start("bag_replay.py", play.namespace, str(bag)))
    assert code == 1 and "is of another recording" in printed, printed
    (bag / "golden.json").unlink()
    code, printed = end(start("bag_replay.py", play.namespace, str(bag)))
    assert code == 1 and "holds no golden decisions" in printed and "--accept writes them" in printed, printed
