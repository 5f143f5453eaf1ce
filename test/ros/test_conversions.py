"""Messages to core types and back."""

import os

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from clue_ros.encodings import ENCODINGS, to_rgb
from clue_ros.ros import conversions
from clue_ros.ros.conversions import (FROM_RGB, box_from_message, box_message, frame_from_image, heatmap_message,
                                      image_from_rgb)
from clue_ros.types import Ambiguity, Box, Candidate, InputError

H, W = 6, 8
RGB = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)


def test_round_trip_keeps_header_and_pixels():
    header = Header(frame_id="wrist")
    header.stamp.sec, header.stamp.nanosec = 12, 34
    msg = image_from_rgb(RGB, header)
    assert msg.header == header and msg.step == W * 3
    np.testing.assert_array_equal(frame_from_image(msg).rgb, RGB)


@pytest.mark.parametrize("encoding", FROM_RGB)
def test_round_trip_in_other_encodings(encoding):
    rgb = frame_from_image(image_from_rgb(RGB, Header(), encoding)).rgb
    want = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, 2) if encoding == "mono8" else RGB
    np.testing.assert_array_equal(rgb, want)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_real_message_in_every_encoding(encoding):
    """The colours are tested in test/core/test_encodings.py; here, that rclpy's own buffers will do."""
    step, rows = W * ENCODINGS[encoding].pixel_bytes + 2, int(H * ENCODINGS[encoding].rows)
    msg = Image(height=H, width=W, encoding=encoding, step=step, data=bytes([128]) * (step * rows))
    rgb = frame_from_image(msg).rgb
    assert rgb.shape == (H, W, 3) and np.abs(rgb[1:-1, 1:-1].astype(int) - 128).max() <= 3


@pytest.mark.skipif(conversions.cv_bridge() is None, reason="cv_bridge is not among the ROS wheels")
@pytest.mark.parametrize("encoding", conversions.BRIDGED)
def test_cv_bridge_and_our_own_table_agree(encoding):
    row = W * ENCODINGS[encoding].pixel_bytes
    data = np.random.default_rng(1).integers(0, 256, row * H, np.uint8).tobytes()
    msg = Image(height=H, width=W, encoding=encoding, step=row, data=data)
    np.testing.assert_array_equal(frame_from_image(msg).rgb, to_rgb(msg))


@pytest.mark.parametrize("fails", ["raise ImportError('numpy.core.multiarray failed to import')", "os.kill(os.getpid(), signal.SIGSEGV)"])
def test_a_cv_bridge_of_another_numpy_is_done_without(tmp_path, monkeypatch, fails):
    """As apt's, where pip installed a newer numpy: it imports, and fails or crashes when it converts."""
    (tmp_path / "cv_bridge.py").write_text("import os\nimport signal\n\n\nclass CvBridge:\n    def imgmsg_to_cv2(self, *_):\n"
                                           f"        {fails}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    conversions.cv_bridge.cache_clear()
    try:
        assert conversions.cv_bridge() is None
        msg = Image(height=H, width=W, encoding="rgb8", step=3 * W, data=RGB.tobytes())
        np.testing.assert_array_equal(frame_from_image(msg).rgb, RGB)
    finally:
        conversions.cv_bridge.cache_clear()


def test_unusable_images_say_why():
    with pytest.raises(InputError, match="'8UC3' is not supported: publish one of rgb8, bgr8"):
        frame_from_image(Image(height=H, width=W, encoding="8UC3", step=3 * W, data=RGB.tobytes()))


def test_compressed():
    png = cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(frame_from_image(CompressedImage(format="png", data=png)).rgb, RGB)
    with pytest.raises(InputError, match="cannot be decoded"):
        frame_from_image(CompressedImage(format="jpeg", data=b"not a picture"))


def test_box_round_trip():
    box = Box(1.5, 2.25, 30.0, 40.75)
    msg = box_message(box, 0.5)
    assert box_from_message(msg) == box and msg.score == 0.5


def test_heatmap_message():
    heat = np.arange(6, dtype=np.float32).reshape(2, 3) / 6
    weak, strong = Candidate(Box(0, 0, 1, 1), 0.2), Candidate(Box(1, 1, 2, 2), 0.9)
    msg = heatmap_message(Ambiguity(0.75, 0.5, heat, (weak, strong)), header=Header(frame_id="f"), request_id="r",
                          instruction="i", turn=1, size=(W, H))
    assert (msg.rows, msg.cols, msg.image_width, msg.image_height, msg.turn) == (2, 3, W, H, 1)
    np.testing.assert_allclose(np.reshape(msg.data, (2, 3)), heat)
    assert [c.score for c in msg.candidates] == pytest.approx([0.9, 0.2])
    assert msg.ambiguous and msg.header.frame_id == "f" and msg.request_id == "r"
