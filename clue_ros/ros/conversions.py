"""ROS messages to core types and back. Pure functions: a message in, a value out; headers are copied, never restamped.

Pixels are those of the source image, as everywhere: x right, y down, (0, 0) the top-left corner of the top-left pixel.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from array import array
from collections.abc import Iterable
from functools import cache

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from clue_ros import encodings
from clue_ros.msg import AmbiguityHeatmap, CandidateBox
from clue_ros.types import Ambiguity, Box, Candidate, Frame

BRIDGED = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8")  # those that every release of cv_bridge agrees about
TRIAL = """from cv_bridge import CvBridge
from sensor_msgs.msg import Image
CvBridge().imgmsg_to_cv2(Image(height=1, width=1, encoding="bgr8", step=3, data=bytes(3)), "rgb8")"""
FROM_RGB = {"rgb8": None, "bgr8": cv2.COLOR_RGB2BGR, "rgba8": cv2.COLOR_RGB2RGBA, "bgra8": cv2.COLOR_RGB2BGRA,
            "mono8": cv2.COLOR_RGB2GRAY}


def frame_from_image(msg: Image | CompressedImage) -> Frame:
    """The frame of a raw or compressed image message. InputError names what is wrong with it and the cure.

    cv_bridge converts the encodings `BRIDGED` where this ROS installation has it; the rest (planar and packed YUV, wide
    numbers, padded rows) is `encodings.to_rgb`.
    """
    if isinstance(msg, CompressedImage):
        return Frame(encodings.from_compressed(msg))
    packed = msg.encoding in BRIDGED and msg.step == msg.width * encodings.ENCODINGS[msg.encoding].pixel_bytes
    if packed and (bridge := cv_bridge()) is not None:
        encodings.check(msg)
        return Frame(np.ascontiguousarray(bridge.imgmsg_to_cv2(msg, "rgb8")))
    return Frame(encodings.to_rgb(msg))


@cache
def cv_bridge():
    """A CvBridge that works; None where there is none (it is not among the ROS wheels), or one that was built for another numpy (apt's
    beside pip's numpy 2), which shows only when it converts, and ends the process then: so it is tried in another one first."""
    if importlib.util.find_spec("cv_bridge") is None:
        return None
    try:
        subprocess.run([sys.executable, "-c", TRIAL], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    from cv_bridge import CvBridge
    return CvBridge()


def nanoseconds(stamp: Time) -> int:
    """Since the epoch. Any stamp will do, where rclpy's own Time raises for one before it."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def image_from_rgb(rgb: np.ndarray, header: Header, encoding: str = "rgb8") -> Image:
    """A message of uint8[H, W, 3] RGB under the given header, in one of the encodings `FROM_RGB`."""
    code = FROM_RGB[encoding]
    pixels = np.ascontiguousarray(rgb, np.uint8) if code is None else cv2.cvtColor(rgb, code)
    height, width = pixels.shape[:2]
    return Image(header=header, height=height, width=width, encoding=encoding, step=pixels.nbytes // height,
                 data=array("B", pixels.tobytes()))  # anything else some releases check byte by byte


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
