"""Pixels of sensor_msgs/Image and CompressedImage, in every encoding that camera drivers publish, to RGB. Without ROS:
a message is anything with the fields of one, from a topic or from a recording.

OpenCV does the work: which encodings cv_bridge knows differs from release to release (it long knew neither uyvy nor
nv12), and a table that is the same everywhere can be tested anywhere.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from clue_ros.types import InputError

MOST_PIXELS = 100_000_000  # of a compressed image


class ImageMessage(Protocol):
    """sensor_msgs/Image. step: bytes from one row of `data` to the next."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: bytes


class CompressedMessage(Protocol):
    """sensor_msgs/CompressedImage."""

    format: str
    data: bytes


@dataclass(frozen=True)
class Encoding:
    """How an encoding lays out its pixels.

    channels: numbers a pixel has in a row. code: OpenCV's conversion to RGB, None where it is RGB already. wide: 16-bit
    numbers. rows: rows of data for each row of the picture; above 1 the colours follow the brightness, as a plane of
    their own. block: pixels that share their colour, across and down, so that the picture's sides must be multiples.
    """

    channels: int
    code: int | None
    wide: bool = False
    rows: float = 1
    block: tuple[int, int] = (1, 1)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel in a row."""
        return self.channels * (2 if self.wide else 1)


_UYVY = Encoding(2, cv2.COLOR_YUV2RGB_UYVY, block=(2, 1))
_YUYV = Encoding(2, cv2.COLOR_YUV2RGB_YUYV, block=(2, 1))
_BAYER = {"rggb": cv2.COLOR_BayerRGGB2RGB, "bggr": cv2.COLOR_BayerBGGR2RGB,
          "gbrg": cv2.COLOR_BayerGBRG2RGB, "grbg": cv2.COLOR_BayerGRBG2RGB}
# By their names in sensor_msgs/image_encodings. 8UC3 and 8UC4 are missing on purpose: they do not say whether red or
# blue comes first.
ENCODINGS = {
    "rgb8": Encoding(3, None), "bgr8": Encoding(3, cv2.COLOR_BGR2RGB),
    "rgba8": Encoding(4, cv2.COLOR_RGBA2RGB), "bgra8": Encoding(4, cv2.COLOR_BGRA2RGB),
    "rgb16": Encoding(3, None, wide=True), "bgr16": Encoding(3, cv2.COLOR_BGR2RGB, wide=True),
    "rgba16": Encoding(4, cv2.COLOR_RGBA2RGB, wide=True), "bgra16": Encoding(4, cv2.COLOR_BGRA2RGB, wide=True),
    "mono8": Encoding(1, cv2.COLOR_GRAY2RGB), "mono16": Encoding(1, cv2.COLOR_GRAY2RGB, wide=True),
    "8UC1": Encoding(1, cv2.COLOR_GRAY2RGB), "16UC1": Encoding(1, cv2.COLOR_GRAY2RGB, wide=True),
    "yuv422": _UYVY, "uyvy": _UYVY, "yuv422_yuy2": _YUYV, "yuyv": _YUYV,
    "nv12": Encoding(1, cv2.COLOR_YUV2RGB_NV12, rows=1.5, block=(2, 2)),
    "nv21": Encoding(1, cv2.COLOR_YUV2RGB_NV21, rows=1.5, block=(2, 2)),
    "nv24": Encoding(1, cv2.COLOR_YUV2RGB_YUYV, rows=3),
    **{f"bayer_{name}8": Encoding(1, code) for name, code in _BAYER.items()},
    **{f"bayer_{name}16": Encoding(1, code, wide=True) for name, code in _BAYER.items()},
}


def check(msg: ImageMessage) -> None:
    """InputError in one sentence when the message's encoding, size, step and data do not fit together."""
    encoding = ENCODINGS.get(msg.encoding)
    if encoding is None:
        raise InputError(f"image encoding '{_shown(msg.encoding)}' is not supported: publish one of {', '.join(ENCODINGS)}")
    if not msg.width or not msg.height:
        raise InputError(f"the image is {msg.width} x {msg.height} pixels: a picture needs at least one pixel each way")
    across, down = encoding.block
    if msg.width % across or msg.height % down:
        raise InputError(f"the image is {msg.width} x {msg.height} pixels, but in {msg.encoding} {across} x {down} pixels "
                         "share their colour: crop it to a multiple of that, or publish rgb8")
    if msg.encoding.startswith("bayer") and min(msg.width, msg.height) < 3:
        raise InputError(f"the image is {msg.width} x {msg.height} pixels, too few to tell the colours of {msg.encoding}: "
                         "publish at least 3 x 3")
    row, rows = msg.width * encoding.pixel_bytes, int(msg.height * encoding.rows)
    if msg.step < row:
        raise InputError(f"the image's size and step disagree: {msg.width} pixels of {msg.encoding} are {row} bytes a "
                         f"row, its step is {msg.step}; correct step in the camera driver")
    if len(msg.data) != msg.step * rows:
        raise InputError(f"the image's size and data disagree: {rows} rows of step {msg.step} are {rows * msg.step} bytes, "
                         f"it carries {len(msg.data)}; correct the camera driver")


def to_rgb(msg: ImageMessage) -> np.ndarray:
    """uint8[H, W, 3] RGB of a raw image; 16-bit numbers are scaled to 8 bits, alpha is dropped. InputError as `check`."""
    check(msg)
    encoding = ENCODINGS[msg.encoding]
    pixels = _pixels(msg, encoding)
    if msg.encoding == "nv24":
        return cv2.cvtColor(_doubled(pixels), encoding.code)[:, ::2].copy()
    rgb = pixels if encoding.code is None else cv2.cvtColor(pixels, encoding.code)
    return cv2.convertScaleAbs(rgb, alpha=1 / 257) if encoding.wide else rgb


def _pixels(msg: ImageMessage, encoding: Encoding) -> np.ndarray:
    """uint8 or uint16 [rows, W] or [rows, W, channels] of a checked message, without what pads its rows."""
    rows = np.frombuffer(msg.data, np.uint8).reshape(-1, msg.step)
    if encoding.rows == 3:
        # The second plane has two numbers a pixel: its rows are twice as long, here each on two rows of `data`.
        luma, chroma = rows[:msg.height, :msg.width], rows[msg.height:].reshape(msg.height, -1)[:, :2 * msg.width]
        return np.concatenate([luma[..., None], chroma.reshape(msg.height, msg.width, 2)], -1)
    rows = np.ascontiguousarray(rows[:, :msg.width * encoding.pixel_bytes])
    if encoding.wide:
        rows = rows.view(">u2" if msg.is_bigendian else "<u2").astype(np.uint16, copy=False)
    return rows if encoding.channels == 1 else rows.reshape(-1, msg.width, encoding.channels)


def _doubled(yuv: np.ndarray) -> np.ndarray:
    """uint8[H, W, 3], YUV of each pixel, as the YUYV image uint8[H, 2W, 2] that has every pixel twice: OpenCV has no
    conversion of 4:4:4 with the same coefficients."""
    return yuv[..., [0, 1, 0, 2]].reshape(len(yuv), -1, 2)


def check_compressed(msg: CompressedMessage) -> None:
    """InputError where its head tells that it cannot be used; what comes after may be damaged all the same."""
    width, height = promised_size(msg.data)
    if width * height > MOST_PIXELS:  # of one colour it is a small file, that would take all memory to open
        raise InputError(f"the compressed image is {width} x {height} pixels, more than {MOST_PIXELS // 10 ** 6} million: "
                         "publish a smaller one")
    if not (width and height):  # neither JPEG nor PNG, and nobody knows what OpenCV would make room for
        raise _undecodable(msg)


def from_compressed(msg: CompressedMessage) -> np.ndarray:
    """uint8[H, W, 3] RGB of a JPEG or PNG; the camera's own pixels, whatever turn a photo's EXIF asks for. InputError."""
    check_compressed(msg)
    if (rgb := decode(msg.data)) is None:
        raise _undecodable(msg)
    return rgb


def _undecodable(msg: CompressedMessage) -> InputError:
    return InputError(f"the compressed image (format '{_shown(msg.format)}', {len(msg.data)} bytes) cannot be decoded: publish JPEG or PNG, "
                      "or set image_transport to raw")


def promised_size(data: Sequence[int]) -> tuple[int, int]:
    """(width, height) by the header of a PNG (its IHDR) or a JPEG (its SOF marker, ITU T.81 B.2.2); (0, 0) of anything else."""
    head = bytes(data[:24])
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) == 24:
        return struct.unpack(">II", head[16:])
    at = 2 if head.startswith(b"\xff\xd8") else len(data)
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = int(data[at + 1])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", bytes(data[at + 5:at + 9]))
            return width, height
        # Fill bytes, and markers that stand alone; all others tell their length.
        at += 1 if marker == 0xFF else 2 if marker == 0x01 or 0xD0 <= marker <= 0xD8 else 2 + 256 * int(data[at + 2]) + int(data[at + 3])
    return 0, 0


def decode(data: bytes | np.ndarray, *, upright: bool = False) -> np.ndarray | None:
    """uint8[H, W, 3] RGB of a JPEG, PNG or other file that OpenCV reads, None when it is none. upright: turned as a photo's
    EXIF asks for, as a person sees it; else as stored."""
    data = np.frombuffer(data, np.uint8)
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(data, flags) if len(data) else None
    except cv2.error:  # a header that promises more pixels than OpenCV is willing to make room for
        bgr = None
    return None if bgr is None else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _shown(text: str, most: int = 40) -> str:
    """A driver's word in a sentence: one short line, whatever it holds."""
    return ascii(text if len(text) <= most else text[:most] + "...")[1:-1]
