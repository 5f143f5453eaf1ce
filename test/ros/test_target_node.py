"""From box, depth and calibration to a point: all of it on real DDS."""

import math

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from clue_ros.msg import GroundedObject
from clue_ros.ros.conversions import box_from_message, image_from_rgb, nanoseconds
from clue_ros.ros.request import Snapshot
from company import Manager
from depth_camera import DepthCamera, H, K, W, calibration


def test_target_on_real_dds(stage, embedded_engine, clear, monkeypatch):
    monkeypatch.setattr("clue_ros.ros.target.PATIENCE", 3.0)  # two ways through DDS on a busy machine
    play = stage(embedded_engine, depth=True)
    camera = DepthCamera(play)
    play.show(clear.picture)

    def find():
        play.person.say(clear.say)
        end = play.hear(GroundedObject)
        assert end.outcome == GroundedObject.OUTCOME_GROUNDED
        return end

    def seconds_away():
        """Between the newest image and the depth nearest to it."""
        newest = play.view.session.newest
        depth = play.view.target._nearest.get(newest)
        if depth is None:
            return math.nan
        return abs(nanoseconds(depth.header.stamp) - nanoseconds(newest.image.header.stamp)) / 1e9

    find()
    play.logged(f"no target is published: no camera_info came on {play.namespace}/camera_info")
    camera.metres = np.full((H, W), 0.8, np.float32)
    play.until(lambda: seconds_away() == 0)
    end = find()
    play.until(lambda: camera.targets)
    target, = camera.targets
    assert target.header == end.header and target.point.z == pytest.approx(0.8)
    point = np.array([[[target.point.x, target.point.y, target.point.z]]])
    pixel = cv2.projectPoints(point, np.zeros(3), np.zeros(3), K, None)[0]
    assert pixel.ravel() + 0.5 == pytest.approx(box_from_message(end.box).centre, abs=0.1)

    camera.late = 30.0  # its clock is wrong
    play.until(lambda: seconds_away() > 20)
    find()
    play.person.say("")  # it ends at once, in an error, and takes no waiting box with it
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_ERROR and play.view.target._waiting is not None
    for _ in range(2):
        find()
        play.until(lambda: play.view.target._waiting is None)
    play.until(lambda: sum("no target is published: the depth" in line for line in play.log) == 3)  # for each box
    assert len(camera.targets) == 1
    camera.metres, camera.late = np.zeros((H, W), np.float32), 0.0
    play.until(lambda: seconds_away() == 0)
    find()
    play.logged("depth pixels in the middle of the box were measured")
    assert len(camera.targets) == 1
    assert "depth pixels in the middle of the box were measured" in play.view.target.refusal
    status = next(part for part in play.view.health.report() if part.name.endswith(": target"))
    assert status.level == DiagnosticStatus.WARN and status.message == play.view.target.refusal
    assert play.view.target._recent and Manager(play).do(Transition.TRANSITION_DEACTIVATE)
    play.until(lambda: not play.view.target._recent and not play.view.target._nearest)


def test_a_box_that_is_but_the_likeliest_gets_no_target(stage, embedded_engine, ambiguous):
    play = stage(embedded_engine, depth=True, turn_limit=0)
    camera = DepthCamera(play)
    camera.metres = np.full((H, W), 0.8, np.float32)
    play.show(ambiguous.picture)
    play.until(lambda: play.view.target._info and any(play.view.target._nearest.values()))
    play.person.say(ambiguous.say)
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_TURN_LIMIT
    play.logged("no target is published: it is not known which object is meant, the box is but the likeliest")
    assert not camera.targets


def test_an_image_that_comes_later_than_its_depth_finds_it(stage, embedded_engine):
    play = stage(embedded_engine, depth=True)
    target = play.view.target
    play.until(lambda: play.node.state == "active")

    def image(milliseconds):
        return Image(header=Header(stamp=Time(sec=5, nanosec=milliseconds * 10 ** 6)), data=bytes(8))
    for milliseconds in range(0, 990, 33):
        target._on_depth(image(milliseconds))
    late = Snapshot(image(100), 0.0)
    target._pair(late)
    assert target._nearest[late].header.stamp.nanosec == 99 * 10 ** 6
    target._on_depth(Image(header=Header(stamp=Time(sec=7)), data=bytes(8)))
    assert len(target._recent) == 1  # all others are too old for any image that still comes


def test_no_depth_and_no_stamp_are_told(stage, embedded_engine, clear):
    play = stage(embedded_engine, depth=True)
    info = play.person.create_publisher(CameraInfo, "camera_info", 1)
    play.show(clear.picture)
    play.until(lambda: info.publish(calibration()) or play.view.target._info is not None)
    play.person.say(clear.say)
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_GROUNDED
    play.logged(f"no target is published: no depth came on {play.namespace}/depth")
    play.camera.show(None)
    picture = image_from_rgb(clear.picture.rgb, Header(frame_id="camera"))
    play.until(lambda: play.camera._publisher.publish(picture) or not nanoseconds(play.view.session.newest.image.header.stamp))
    play.person.say(clear.say)
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_GROUNDED
    play.logged("no target is published: the image carries no stamp")


def test_depth_parameters_act_on_the_next_box(stage, embedded_engine, clear):
    play = stage(embedded_engine, depth=True)
    manage, camera = Manager(play), DepthCamera(play)
    camera.changes = {"p": np.column_stack([2 * K, np.zeros(3)]).ravel()}
    camera.metres, camera.late = np.full((H, W), 0.8, np.float32), 6.0
    play.show(clear.picture)

    def find():
        play.person.say(clear.say)
        assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_GROUNDED
        play.until(lambda: play.view.target._waiting is None)
    find()
    play.logged("depth_tolerance is 0.05 s")
    assert not camera.targets and manage.set("depth_tolerance", 10.0) == ""
    find()
    play.until(lambda: len(camera.targets) == 1)
    assert manage.set("rectified", True) == ""
    find()
    play.until(lambda: len(camera.targets) == 2)
    by_k, by_p = (target.point for target in camera.targets)
    assert by_k.x != by_p.x and by_k.z == by_p.z == pytest.approx(0.8)


def test_without_the_parameter_nothing_listens_to_depth(stage, embedded_engine):
    play = stage(embedded_engine)
    topics = {name for name, _ in play.node.get_topic_names_and_types()}
    assert f"{play.namespace}/image" in topics
    assert not topics & {f"{play.namespace}/{name}" for name in ("depth", "camera_info", "target")}
