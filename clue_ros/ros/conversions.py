"""ROS messages to core types and back. Pure functions: a message in, a value out; headers are copied, never restamped.

Pixels are those of the source image, as everywhere: x right, y down, (0, 0) the top-left corner of the top-left pixel.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from clue_ros.msg import AmbiguityHeatmap, CandidateBox
from clue_ros.types import Ambiguity, Box, Candidate, Frame, InputError

# Bytes a pixel of each encoding that is understood, by its name in sensor_msgs/image_encodings.
PIXEL_BYTES = {
    "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "rgb16": 6, "bgr16": 6, "rgba16": 8, "bgra16": 8,
    "mono8": 1, "mono16": 2, "yuv422": 2, "yuv422_yuy2": 2,
    "bayer_rggb8": 1, "bayer_bggr8": 1, "bayer_gbrg8": 1, "bayer_grbg8": 1,
    "bayer_rggb16": 2, "bayer_bggr16": 2, "bayer_gbrg16": 2, "bayer_grbg16": 2,
}
# Other names of the same bytes. 8UC3 is missing on purpose: it does not say whether red or blue comes first.
ALIASES = {"uyvy": "yuv422", "yuyv": "yuv422_yuy2", "8UC1": "mono8", "16UC1": "mono16"}


def check_image(msg: Image) -> None:
    """InputError in one sentence when the message's encoding, size, step and data do not fit together."""
    encoding = ALIASES.get(msg.encoding, msg.encoding)
    if encoding not in PIXEL_BYTES:
        raise InputError(f"image encoding '{msg.encoding}' is not supported: publish one of "
                         f"{', '.join([*PIXEL_BYTES, *ALIASES])}")
    if not msg.width or not msg.height:
        raise InputError(f"the image is {msg.width} x {msg.height} pixels: a picture needs at least one pixel each way")
    row = msg.width * PIXEL_BYTES[encoding]
    if msg.step < row:
        raise InputError(f"the image's size and step disagree: {msg.width} pixels of {msg.encoding} are {row} bytes a "
                         f"row, its step is {msg.step}; correct step in the camera driver")
    if len(msg.data) != msg.step * msg.height:
        raise InputError(f"the image's size and data disagree: {msg.height} rows of step {msg.step} are "
                         f"{msg.height * msg.step} bytes, it carries {len(msg.data)}; correct the camera driver")


def frame_from_image(msg: Image | CompressedImage) -> Frame:
    """The frame of a raw or compressed image message. InputError names what is wrong with it and the cure."""
    if isinstance(msg, CompressedImage):
        return Frame(_decompressed(msg))
    check_image(msg)
    return Frame(to_rgb(_without_padding(msg)))


def _without_padding(msg: Image) -> Image:
    """The message with its encoding's common name and rows that follow each other: converters ignore `step`."""
    encoding = ALIASES.get(msg.encoding, msg.encoding)
    row = msg.width * PIXEL_BYTES[encoding]
    if msg.step == row and encoding == msg.encoding:
        return msg
    rows = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.step)[:, :row]
    return Image(header=msg.header, height=msg.height, width=msg.width, encoding=encoding,
                 is_bigendian=msg.is_bigendian, step=row, data=rows.tobytes())


def to_rgb(msg: Image) -> np.ndarray:
    """uint8[H, W, 3] RGB of a checked message; 16-bit values are scaled to 8 bits, alpha is dropped."""
    if msg.encoding.startswith("yuv422") and msg.width % 2:
        raise InputError(f"a {msg.encoding} image stores pixels in pairs and cannot be {msg.width} pixels wide")
    rgb = np.ascontiguousarray(_convert(msg))
    if rgb.dtype != np.uint8:
        raise InputError(f"image encoding '{msg.encoding}' was decoded to {rgb.dtype}: publish rgb8 instead")
    return rgb


try:  # the ROS installation's own converter, where it has one (it is not among the ROS wheels)
    from cv_bridge import CvBridge

    def _convert(msg: Image) -> np.ndarray:
        return CvBridge().imgmsg_to_cv2(msg, "rgb8")
except ImportError:
    from rosbags.image import message_to_cvimage

    def _convert(msg: Image) -> np.ndarray:
        return message_to_cvimage(msg, "rgb8")


def _decompressed(msg: CompressedImage) -> np.ndarray:
    """uint8[H, W, 3] RGB of a JPEG or PNG; the camera's own pixels, whatever turn a photo's EXIF asks for."""
    data = np.frombuffer(msg.data, np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if len(data) else None
    if bgr is None:
        raise InputError(f"the compressed image (format '{msg.format}', {len(data)} bytes) cannot be decoded: "
                         "publish JPEG or PNG, or set image_transport to raw")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def image_from_rgb(rgb: np.ndarray, header: Header) -> Image:
    """An rgb8 message of uint8[H, W, 3] RGB under the given header."""
    height, width = rgb.shape[:2]
    return Image(header=header, height=height, width=width, encoding="rgb8", step=width * 3,
                 data=np.ascontiguousarray(rgb, np.uint8).tobytes())


def box_message(box: Box, score: float) -> CandidateBox:
    """A box in source pixels with its score, 0..1."""
    return CandidateBox(x1=float(box.x1), y1=float(box.y1), x2=float(box.x2), y2=float(box.y2), score=float(score))


def box_from_message(msg: CandidateBox) -> Box:
    """Inverse of `box_message`; the score is `msg.score`."""
    return Box(msg.x1, msg.y1, msg.x2, msg.y2)


def candidate_messages(candidates: Iterable[Candidate]) -> list[CandidateBox]:
    """Highest score first."""
    return [box_message(c.box, c.score) for c in sorted(candidates, key=lambda c: -c.score)]


def heatmap_message(ambiguity: Ambiguity, *, header: Header, request_id: str, instruction: str, turn: int,
                    size: tuple[int, int]) -> AmbiguityHeatmap:
    """The detector's verdict on an image of size (width, height) pixels."""
    rows, cols = ambiguity.heatmap.shape
    return AmbiguityHeatmap(
        header=header, request_id=request_id, instruction=instruction, turn=turn,
        image_width=size[0], image_height=size[1], rows=rows, cols=cols,
        data=np.ascontiguousarray(ambiguity.heatmap, np.float32).ravel().tolist(),
        probability=float(ambiguity.probability), threshold=float(ambiguity.threshold),
        ambiguous=bool(ambiguity.is_ambiguous), candidates=candidate_messages(ambiguity.candidates))
