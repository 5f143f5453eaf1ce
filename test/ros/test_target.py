"""From box, depth and calibration to a point: the geometry on synthetic depth."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from std_msgs.msg import Header

from clue_ros.ros.geometry import back_project, depth_in_box, depth_in_metres, locate
from clue_ros.types import Box, InputError
from depth_camera import BARREL, BOX, HEADER, SIZE, H, K, W, calibration, depth_message, scene


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
