"""From box, depth and calibration to a point: the geometry on synthetic depth, then all of it on real DDS."""

import math

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PointStamped
from hypothesis import given, settings
from hypothesis import strategies as st
from lifecycle_msgs.msg import Transition
from rclpy.duration import Duration
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from clue_ros.msg import GroundedObject
from clue_ros.ros.conversions import box_from_message, image_from_rgb, nanoseconds
from clue_ros.ros.target import back_project, depth_in_box, depth_in_metres, locate
from clue_ros.types import Box, InputError
from company import Manager

SIZE = W, H = 640, 480
BOX = Box(200, 100, 320, 260)
HEADER = Header(frame_id="optical")
HEADER.stamp.sec = 7
K = np.array([[600.0, 0, 310], [0, 610, 245], [0, 0, 1]])
BARREL = [-0.3, 0.1, 0.001, -0.002, 0.0]


def calibration(d=(), model="plumb_bob", **changes):
    """The CameraInfo of a camera with K, and of its rectified image with the same numbers in P."""
    p = np.column_stack([K, np.zeros(3)])
    info = CameraInfo(header=HEADER, width=W, height=H, k=K.ravel(), p=p.ravel(), d=list(d), distortion_model=model)
    for name, value in changes.items():
        setattr(info, name, value)
    return info


def depth_message(metres, encoding="32FC1", *, padding=0, big=False, header=HEADER):
    """float[H, W] metres as a message with `padding` bytes after each row."""
    pixels = (np.nan_to_num(metres) * 1000).round().astype("u2") if encoding == "16UC1" else metres.astype("f4")
    pixels = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
    rows = np.pad(pixels.view(np.uint8), ((0, 0), (0, padding)), constant_values=99)
    return Image(header=header, height=len(rows), width=metres.shape[1], encoding=encoding, step=rows.shape[1],
                 is_bigendian=int(big), data=rows.tobytes())


def scene(near=0.8, far=1.5):
    """float32[H, W]: an object that fills the inner 80 % of the box, before a table."""
    depth = np.full((H, W), far, np.float32)
    depth[116:244, 212:308] = near
    return depth


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
@pytest.mark.parametrize("big", [False, True])
def test_depth_messages(encoding, big):
    metres = scene()
    metres[0, :4] = (0, np.nan, np.nan, 0)
    got = depth_in_metres(depth_message(metres, encoding, padding=6, big=big))
    assert np.isnan(got[0, :4]).all()
    np.testing.assert_allclose(got[1:], metres[1:], rtol=1e-6)


def test_infinite_and_negative_depth_is_none():
    metres = np.array([[np.inf, -np.inf, -1.0, 1.0]], np.float32)
    assert np.isnan(depth_in_metres(depth_message(metres))).tolist() == [[True, True, True, False]]


@pytest.mark.parametrize("change, words", [({"encoding": "rgb8"}, "encoding is 'rgb8': publish 16UC1"),
                                           ({"step": 3}, "size, step and data disagree"),
                                           ({"data": bytes(9)}, "size, step and data disagree")])
def test_unusable_depth_messages(change, words):
    msg = depth_message(scene())
    for name, value in change.items():
        setattr(msg, name, value)
    with pytest.raises(InputError, match=words):
        depth_in_metres(msg)


def test_depth_in_the_box_is_the_objects_whatever_else_is_there():
    rng = np.random.default_rng(0)
    depth = scene()
    hidden = rng.random((H, W))
    depth[hidden < 0.4] = np.nan  # holes
    depth[(hidden > 0.7) & (rng.random((H, W)) < 0.5)] = 1.5  # the table, seen through it
    depth[(hidden > 0.7) & (rng.random((H, W)) < 0.5)] = 0.2  # something before it
    assert depth_in_box(depth_message(depth), BOX) == pytest.approx(0.8)


def test_depth_in_the_box_was_measured_somewhere():
    """Half object, half table: never the mean of both, where there is nothing."""
    depth = np.full((H, W), 1.5, np.float32)
    depth[:, :260] = 0.8
    assert depth_in_box(depth_message(depth), BOX) in (pytest.approx(0.8), pytest.approx(1.5))


@pytest.mark.parametrize("box", [Box(0, 0, 0, 0), Box(640, 480, 640, 480), Box(638, 478, 640, 480),
                                 Box(10.2, 10.2, 10.4, 10.4), Box(-5, -5, 700, 500)])
def test_boxes_at_the_border_and_smaller_than_a_pixel(box):
    assert depth_in_box(depth_message(np.full((H, W), 2.0, np.float32)), box) == 2.0


def test_too_little_depth_is_refused():
    depth = np.full((H, W), np.nan, np.float32)
    with pytest.raises(InputError, match="only 0 of the 4800 depth pixels"):
        depth_in_box(depth_message(depth), BOX)
    depth[180, 240:280] = 0.8
    with pytest.raises(InputError, match="only 40 of the 4800 depth pixels"):
        depth_in_box(depth_message(depth), BOX)


CAMERAS = {
    "without distortion": (calibration(), lambda point: cv2.projectPoints(point, np.zeros(3), np.zeros(3), K, None)),
    "plumb_bob": (calibration(BARREL),
                  lambda point: cv2.projectPoints(point, np.zeros(3), np.zeros(3), K, np.array(BARREL))),
    "rational_polynomial": (
        calibration([*BARREL, 0.01, 0.0, 0.0], "rational_polynomial"),
        lambda point: cv2.projectPoints(point, np.zeros(3), np.zeros(3), K, np.array([*BARREL, 0.01, 0.0, 0.0]))),
    "equidistant": (calibration([0.02, -0.01, 0.0, 0.0], "equidistant"),
                    lambda point: cv2.fisheye.projectPoints(point, np.zeros(3), np.zeros(3), K,
                                                            np.array([0.02, -0.01, 0.0, 0.0]))),
}


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("box", [BOX, Box(0, 0, 60, 40), Box(600, 400, 640, 480)])
def test_the_point_projects_back_to_the_centre_of_the_box(camera, box):
    info, project = CAMERAS[camera]
    depth = np.full((H, W), 0.8, np.float32)
    point = locate(box, HEADER, SIZE, depth_message(depth, "16UC1"), info).point
    assert point.z == pytest.approx(0.8)
    pixel = project(np.array([[[point.x, point.y, point.z]]]))[0].ravel()
    assert pixel + 0.5 == pytest.approx(box.centre, abs=0.1)  # calibrations count from the first pixel's centre


def test_the_middle_of_the_image_is_straight_ahead():
    x, y, z = back_project(calibration(), K[0, 2] + 0.5, K[1, 2] + 0.5, 2.0, rectified=False)
    assert (x, y, z) == pytest.approx((0, 0, 2.0))
    x, y, z = back_project(calibration(), K[0, 2] + 0.5 + 60, K[1, 2] + 0.5 + 61, 2.0, rectified=False)
    assert (x, y, z) == pytest.approx((0.2, 0.2, 2.0))  # right and down


def test_a_rectified_image_uses_p_and_no_distortion():
    info = calibration(BARREL)
    raw, rectified = (back_project(info, 20, 20, 1.0, rectified=flag) for flag in (False, True))
    assert rectified == pytest.approx(back_project(calibration(), 20, 20, 1.0, rectified=False))
    assert abs(raw[0] - rectified[0]) > 0.02
    info.p[3] = -60.0  # the second camera of a pair, 10 cm to the right of the first, whose frame it names
    assert back_project(info, 20, 20, 1.0, rectified=True)[0] == pytest.approx(rectified[0] + 0.1)


@pytest.mark.parametrize("info, words", [
    (calibration(k=np.zeros(9)), "not calibrated"),
    (calibration(k=np.full(9, np.nan)), "not calibrated"),
    (calibration(width=1280, height=960), "camera_info is of 1280 x 960 pixels, the image has 640 x 480"),
    (calibration(binning_x=2), "binning"),
    (calibration(header=Header(frame_id="left")), "camera_info is of frame 'left', the image of 'optical'"),
    (calibration([1.0], "thin_lens"), "distortion model 'thin_lens' with 1 numbers"),
])
def test_calibrations_that_cannot_be_used(info, words):
    with pytest.raises(InputError, match=words):
        locate(BOX, HEADER, SIZE, depth_message(scene()), info)


NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)


@settings(max_examples=200, deadline=None)
@given(k=st.lists(NUMBERS, min_size=9, max_size=9) | st.just([600.0, 0, 310, 0, 610, 245, 0, 0, 1]),
       p=st.lists(NUMBERS, min_size=12, max_size=12), d=st.lists(NUMBERS, max_size=14), rectified=st.booleans(),
       model=st.sampled_from(["plumb_bob", "rational_polynomial", "equidistant", ""]),
       corners=st.lists(st.floats(-10, 30), min_size=4, max_size=4), z=NUMBERS)
def test_any_calibration_gives_a_point_or_a_sentence(k, p, d, rectified, model, corners, z):
    x1, x2, y1, y2 = *sorted(corners[:2]), *sorted(corners[2:])
    depth, info = depth_message(np.full((12, 16), z, np.float32)), calibration(d, model, k=k, p=p, width=16, height=12)
    try:
        point = locate(Box(x1, y1, x2, y2), HEADER, (16, 12), depth, info, rectified=rectified).point
        assert all(map(math.isfinite, (point.x, point.y, point.z))) and point.z > 0
    except InputError as error:
        assert str(error) and "\n" not in str(error)


def test_a_distortion_that_cannot_be_undone_is_refused():
    """Bent so much that two rays end in the same pixel, and none in the corner."""
    with pytest.raises(InputError, match="cannot be undone at the middle of the box"):
        back_project(calibration([-1.5, 0.0, 0.0, 0.0, 0.0]), 1, 1, 1.0, rectified=False)


def test_depth_of_another_camera_is_refused():
    with pytest.raises(InputError, match="has 320 x 240 pixels, the image 640 x 480"):
        locate(BOX, HEADER, SIZE, depth_message(scene()[::2, ::2].copy()), calibration())
    with pytest.raises(InputError, match="depth image is of frame 'infra', the image of 'optical'"):
        locate(BOX, HEADER, SIZE, depth_message(scene(), header=Header(frame_id="infra")), calibration())
    with pytest.raises(InputError, match="the image has no frame_id"):
        locate(BOX, Header(), SIZE, depth_message(scene()), calibration())


# -- on real DDS ---------------------------------------------------------------------------------------------------------


class DepthCamera:
    """Publishes calibration and depth for each image of the stage's camera, as an RGB-D camera does.

    metres: what it sees, None for nothing; late: seconds between image and depth; changes: of its calibration.
    """

    def __init__(self, play):
        self.metres, self.late, self.changes, self.targets = None, 0.0, {}, []
        node = play.person
        self.depth, self.info = node.create_publisher(Image, "depth", 5), node.create_publisher(CameraInfo, "camera_info", 5)
        node.create_subscription(Image, "image", self._see, 5)
        node.create_subscription(PointStamped, "target", self.targets.append, 5)
        play.until(lambda: self.depth.get_subscription_count() and self.info.get_subscription_count()
                   and node.count_publishers("target"))

    def _see(self, msg):
        if self.metres is not None:
            self.info.publish(calibration(header=msg.header, **self.changes))
            stamp = (Time.from_msg(msg.header.stamp) + Duration(seconds=self.late)).to_msg()
            header = Header(frame_id=msg.header.frame_id, stamp=stamp)
            self.depth.publish(depth_message(self.metres, "16UC1", header=header))


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
