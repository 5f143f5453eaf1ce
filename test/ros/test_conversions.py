"""Encodings, checks and round trips."""

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from clue_ros.ros.conversions import (ALIASES, PIXEL_BYTES, box_from_message, box_message, frame_from_image,
                                      heatmap_message, image_from_rgb)
from clue_ros.types import Ambiguity, Box, Candidate, InputError

H, W = 6, 8
# Colours that differ in every channel and change slowly, so that Bayer and YUV can carry them.
RGB = np.stack([np.full((H, W), 200), np.full((H, W), 100) + np.arange(W), np.full((H, W), 40) + np.arange(H)[:, None]],
               -1).astype(np.uint8)
GREY = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)
BAYER = {"rggb": "RGGB", "bggr": "BGGR", "gbrg": "GBRG", "grbg": "GRBG"}


def mosaic(pattern):
    """uint8[H, W]: what a sensor with that colour filter sees of RGB."""
    out = np.empty((H, W), np.uint8)
    for k, letter in enumerate(pattern.upper()):
        out[k // 2::2, k % 2::2] = RGB[k // 2::2, k % 2::2, "RGB".index(letter)]
    return out


def yuv():
    """Y, U, V planes uint8[H, W] of RGB, by the formula of ITU-R BT.601, limited range."""
    r, g, b = (RGB[..., k].astype(float) for k in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    return [np.round(p).astype(np.uint8) for p in (y, 128 - 0.148 * r - 0.291 * g + 0.439 * b,
                                                   128 + 0.439 * r - 0.368 * g - 0.071 * b)]


def packed(encoding):
    """The pixels of RGB in an encoding, as bytes of dtype uint8 or uint16 [H, ...]."""
    if encoding.startswith("bayer"):
        plane = mosaic(encoding[6:10])
        return plane.astype(np.uint16) * 257 if encoding.endswith("16") else plane
    if encoding in ("yuv422", "uyvy", "yuyv", "yuv422_yuy2"):
        y, u, v = yuv()
        chroma = np.where(np.arange(W) % 2 == 0, u, v)
        return np.stack([chroma, y] if encoding in ("yuv422", "uyvy") else [y, chroma], -1)
    name = {"8UC1": "mono8", "16UC1": "mono16"}.get(encoding, encoding)
    alpha = np.full((H, W, 1), 9, np.uint8)
    pixels = {"rgb": RGB, "bgr": RGB[..., ::-1], "rgba": np.concatenate([RGB, alpha], -1),
              "bgra": np.concatenate([RGB[..., ::-1], alpha], -1), "mono": GREY}[name.rstrip("0123456789")]
    return pixels.astype(np.uint16) * 257 if name.endswith("16") else pixels


def message(encoding, *, padding=0, big=False):
    """RGB as an image message, with `padding` bytes after each row."""
    pixels = np.ascontiguousarray(packed(encoding))
    if pixels.dtype == np.uint16:
        pixels = pixels.astype(">u2" if big else "<u2")
    rows = np.frombuffer(pixels.tobytes(), np.uint8).reshape(H, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return Image(header=Header(frame_id="camera"), height=H, width=W, encoding=encoding, step=rows.shape[1],
                 is_bigendian=int(big), data=rows.tobytes())


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", [*PIXEL_BYTES, *ALIASES])
def test_every_encoding_is_read(encoding, padding):
    got = frame_from_image(message(encoding, padding=padding)).rgb
    want = np.repeat(GREY[..., None], 3, -1) if encoding[:4] in ("mono", "8UC1", "16UC") else RGB
    tolerance = 4 if encoding.startswith(("bayer", "yu", "uy")) else 1
    inner = np.s_[1:-1, 1:-1]  # a Bayer border is guessed
    assert got.shape == (H, W, 3) and got.dtype == np.uint8
    assert np.abs(got[inner].astype(int) - want[inner]).max() <= tolerance


@pytest.mark.parametrize("encoding", ["mono16", "rgb16"])
def test_big_endian(encoding):
    little, big = frame_from_image(message(encoding)).rgb, frame_from_image(message(encoding, big=True)).rgb
    np.testing.assert_array_equal(little, big)


def test_round_trip_keeps_header_and_pixels():
    header = Header(frame_id="wrist")
    header.stamp.sec, header.stamp.nanosec = 12, 34
    msg = image_from_rgb(RGB, header)
    assert msg.header == header and msg.step == W * 3
    np.testing.assert_array_equal(frame_from_image(msg).rgb, RGB)


@pytest.mark.parametrize("changes, words", [
    ({"encoding": "32FC1"}, "'32FC1' is not supported: publish one of rgb8, bgr8"),
    ({"encoding": "8UC3"}, "'8UC3' is not supported"),
    ({"encoding": ""}, "'' is not supported"),
    ({"width": 0}, "0 x 6 pixels"), ({"height": 0}, "8 x 0 pixels"),
    ({"step": 23}, "size and step disagree: 8 pixels of rgb8 are 24 bytes a row, its step is 23"),
    ({"height": 7}, "7 rows of step 24 are 168 bytes, it carries 144"),
    ({"data": b""}, "it carries 0"),
])
def test_unusable_images_say_why(changes, words):
    msg = message("rgb8")
    for name, value in changes.items():
        setattr(msg, name, value)
    with pytest.raises(InputError) as error:
        frame_from_image(msg)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_odd_width_of_paired_pixels():
    msg = Image(height=1, width=3, encoding="yuv422", step=6, data=bytes(6))
    with pytest.raises(InputError, match="cannot be 3 pixels wide"):
        frame_from_image(msg)


def test_compressed():
    png = cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(frame_from_image(CompressedImage(format="png", data=png)).rgb, RGB)
    for data in (b"", b"not a picture"):
        with pytest.raises(InputError, match="cannot be decoded"):
            frame_from_image(CompressedImage(format="jpeg", data=data))


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
