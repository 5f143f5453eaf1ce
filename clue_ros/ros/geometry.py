"""Where a box's object is in space: depth in the box, and the camera's calibration. Pure: no node, no clock.

Points are x, y, z in metres, in the camera's optical frame: x right, y down, z forward (REP 103). Depth is as REP 118 has it:
along the optical axis, 16UC1 in millimetres or 32FC1 in metres; 0, NaN and infinity mean "not measured".
"""

from __future__ import annotations

import cv2
import numpy as np
from geometry_msgs.msg import Point, PointStamped
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from clue_ros.ros.words import shown
from clue_ros.types import Box, InputError

DEPTH_DTYPES = {"16UC1": ("u2", 0.001), "mono16": ("u2", 0.001), "32FC1": ("f4", 1.0)}  # numpy's name, metres a unit
MIDDLE = 0.5  # share of the box's width and height whose depth counts
LEAST_MEASURED = 0.1  # a few measured pixels on a black or shining object are mostly those of its edge or background


def depth_in_metres(msg: Image, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
    """float32[H, W] metres along the optical axis, NaN where nothing was measured; or of these rows and columns only.
    InputError for another message."""
    if msg.encoding not in DEPTH_DTYPES:
        raise InputError(f"the depth image's encoding is '{shown(msg.encoding, 40)}': publish 16UC1 (millimetres) or 32FC1 (metres)")
    kind, metres = DEPTH_DTYPES[msg.encoding]
    dtype = np.dtype((">" if msg.is_bigendian else "<") + kind)
    row = msg.width * dtype.itemsize
    if msg.step < row or len(msg.data) != msg.step * msg.height:
        raise InputError(f"the depth image's size, step and data disagree: {msg.width} x {msg.height} pixels of "
                         f"{msg.encoding}, step {msg.step}, {len(msg.data)} bytes; correct the depth driver")
    pixels = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.step)[rows, :row]
    depth = np.ascontiguousarray(pixels).view(dtype)[:, columns].astype(np.float32) * np.float32(metres)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))


def depth_in_box(depth: Image, box: Box) -> float:
    """Metres to what fills the middle of the box.

    The median of the middle half each way. The middle, because a box's rim shows the table before and behind the object;
    the median, because up to half of the pixels may then be holes, noise or something else and the answer is still a
    depth that was measured on the object, where a mean would lie between object and table. An object that fills less
    than half of its box's middle, such as a ring or a pen that lies askew, gets the depth of what is seen through it.
    InputError when less than a tenth of the middle was measured.
    """
    middle = depth_in_metres(depth, _middle(box.y1, box.y2, depth.height), _middle(box.x1, box.x2, depth.width))
    measured = np.sort(middle[~np.isnan(middle)])
    if len(measured) < max(1.0, LEAST_MEASURED * middle.size):
        raise InputError(f"only {len(measured)} of the {middle.size} depth pixels in the middle of the box were measured: "
                         "the object is black, shining or clear, or too near or too far for the depth camera")
    return float(measured[(len(measured) - 1) // 2])


def _middle(low: float, high: float, limit: int) -> slice:
    """The pixels of 0..limit whose centres lie in the middle of low..high; at least the one below its centre."""
    centre, reach = (low + high) / 2, (high - low) * MIDDLE / 2
    first = min(max(int(np.ceil(centre - reach - 0.5)), 0), limit)
    end = min(max(int(np.floor(centre + reach - 0.5)) + 1, 0), limit)
    if first < end:
        return slice(first, end)
    nearest = min(max(int(centre), 0), limit - 1)
    return slice(nearest, nearest + 1)


def back_project(info: CameraInfo, x: float, y: float, z: float, rectified: bool) -> tuple[float, float, float]:
    """The point at z metres along the optical axis that is seen at pixel (x, y), in metres.

    x, y: as in `types`, (0, 0) the corner of the first pixel; a calibration has its origin at that pixel's centre, half a
    pixel further. rectified: use P, else K and the distortion D. InputError for a distortion model that is not known.
    """
    u, v = x - 0.5, y - 0.5
    if rectified:
        p = np.reshape(info.p, (3, 4))
        # p[0, 3] is not 0 for the second camera of a stereo pair, whose frame is the first one's.
        return ((u - p[0, 2]) * z - p[0, 3]) / p[0, 0], ((v - p[1, 2]) * z - p[1, 3]) / p[1, 1], z
    k, d, pixel = np.reshape(info.k, (3, 3)), np.array(info.d, np.float64), np.array([[[u, v]]], np.float64)
    if not d.any():
        return (u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z
    if info.distortion_model in ("plumb_bob", "rational_polynomial") and len(d) in (4, 5, 8, 12, 14):
        model = cv2
    elif info.distortion_model == "equidistant" and len(d) == 4:
        model = cv2.fisheye
    else:
        raise InputError(f"camera_info has the distortion model '{shown(info.distortion_model, 40)}' with {len(d)} numbers, which is "
                         "not known: publish a rectified image and set the parameter rectified")
    ray = model.undistortPoints(pixel, k, d)[0, 0]
    seen_at = model.projectPoints(np.array([[[*ray, 1.0]]]), np.zeros(3), np.zeros(3), k, d)[0].ravel()
    if not np.abs(seen_at - (u, v)).max() < 1:  # the search for the ray did not end at one; NaN is no end either
        raise InputError("the distortion in camera_info cannot be undone at the middle of the box: calibrate the camera "
                         "with marks up to the image's corners, or publish a rectified image and set the parameter "
                         "rectified")
    return float(ray[0]) * z, float(ray[1]) * z, z


def check_calibration(info: CameraInfo, frame: str, size: tuple[int, int], rectified: bool) -> None:
    """InputError when camera_info is not that of an image of this frame and (width, height)."""
    name, numbers, fx, fy = ("P", info.p, info.p[0], info.p[5]) if rectified else ("K", info.k, info.k[0], info.k[4])
    if not (fx > 0 and fy > 0 and np.isfinite(numbers).all()):
        raise InputError(f"camera_info is of a camera that is not calibrated (the focal lengths in {name} are {fx:g} and "
                         f"{fy:g}): calibrate it")
    if info.binning_x > 1 or info.binning_y > 1 or (info.roi.width and (info.roi.width, info.roi.height) != size):
        raise InputError("camera_info has binning or a region of interest, which is not supported: publish the camera_info "
                         "of the image that is sent")
    if (info.width, info.height) != size:
        raise InputError(f"camera_info is of {info.width} x {info.height} pixels, the image has {size[0]} x {size[1]}: "
                         "remap `camera_info` to that of the image")
    if info.header.frame_id != frame:
        raise InputError(f"camera_info is of frame '{shown(info.header.frame_id, 40)}', the image of '{shown(frame, 40)}': remap "
                         "`camera_info` to that of the image")


def check_depth(depth: Image, header: Header, size: tuple[int, int]) -> None:
    """InputError when the depth image is not registered to an image with this header and (width, height)."""
    if (depth.width, depth.height) != size:
        raise InputError(f"the depth image has {depth.width} x {depth.height} pixels, the image {size[0]} x {size[1]}: "
                         "publish depth that is registered to the image")
    if depth.header.frame_id != header.frame_id:
        raise InputError(f"the depth image is of frame '{shown(depth.header.frame_id, 40)}', the image of '{shown(header.frame_id, 40)}': "
                         "publish depth that is registered to the image")


def locate(box: Box, header: Header, size: tuple[int, int], depth: Image, info: CameraInfo, *,
           rectified: bool = False) -> PointStamped:
    """The target in the frame of the image with this header and (width, height). InputError says why there is none."""
    if not header.frame_id:
        raise InputError("the image has no frame_id, so that a point in it would be nowhere: let the camera driver set it")
    check_calibration(info, header.frame_id, size, rectified)
    check_depth(depth, header, size)
    z = depth_in_box(depth, box)
    x, y, z = back_project(info, *box.centre, z, rectified)
    return PointStamped(header=header, point=Point(x=x, y=y, z=z))
