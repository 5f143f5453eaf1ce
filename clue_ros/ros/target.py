"""`target`: where the object is in space, from its box, the depth in the box and the camera's calibration.

    image -------> box --+
    depth -------> z ----+--> x, y, z in metres, in the camera's optical frame: x right, y down, z forward (REP 103)
    camera_info ---------+

The point is the object's visible surface in the middle of its box, not the object's centre. Assumed, and refused where
it can be seen not to hold:

- `depth` is registered to the image: same frame_id, same size, and as REP 118 has it: along the optical axis, 16UC1 in
  millimetres or 32FC1 in metres; 0, NaN and infinity mean "not measured".
- The image is as the camera took it; its distortion is undone with the model in `camera_info` (K, D). For an image that
  is rectified already, set the parameter `rectified`: then P holds, and there is no distortion left.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from geometry_msgs.msg import Point, PointStamped
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from clue_ros.ros.conversions import nanoseconds
from clue_ros.ros.inputs import Inputs
from clue_ros.ros.parameters import Settings
from clue_ros.ros.place import Place
from clue_ros.ros.qos import NEWEST, RELIABLE
from clue_ros.ros.request import Event, Finished, Snapshot
from clue_ros.ros.words import shown
from clue_ros.types import Box, InputError

DEPTH_DTYPES = {"16UC1": ("u2", 0.001), "mono16": ("u2", 0.001), "32FC1": ("f4", 1.0)}  # numpy's name, metres a unit
MIDDLE = 0.5  # share of the box's width and height whose depth counts
LEAST_MEASURED = 0.1  # a few measured pixels on a black or shining object are mostly those of its edge or background
PATIENCE = 0.5  # seconds a finished look waits for the depth of its image: depth often comes a little later
RECENT = 8  # depth images kept for an image that comes later than its depth


# -- geometry, pure ----------------------------------------------------------------------------------------------------


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
        raise InputError(f"camera_info is of frame '{shown(info.header.frame_id, 40)}', the image of '{shown(frame, 40)}': remap `camera_info` to "
                         "that of the image")


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


# -- on a node -----------------------------------------------------------------------------------------------------------


class _MayStillCome(InputError):
    """What is missing may be on its way."""


class Target:
    """Listens to a camera's `camera_info` and `depth`, and publishes `target` after each box, or warns why it cannot.

    settings: the parameters' present values. refusal: why the last box got no target, "" when it got one or there was none yet;
    `/diagnostics` tells it too. `target` is not latched: a point of an earlier instruction must not reach an
    arm that starts listening later.
    """

    def __init__(self, place: Place, inputs: Inputs, settings: Callable[[], Settings]):
        self._inputs, self._settings, self._log = inputs, settings, place.log
        self.refusal = ""
        self._lock = threading.Lock()
        self._info: CameraInfo | None = None
        self._recent: deque[Image] = deque(maxlen=RECENT)
        # For every image that somebody still holds, the depth nearest in time; None before the first.
        self._nearest: WeakKeyDictionary[Snapshot, Image | None] = WeakKeyDictionary()
        self._waiting: tuple[Finished, float] | None = None  # a box whose depth may still come, and until when
        self._publisher = place.node.create_lifecycle_publisher(PointStamped, place.topic("target"), RELIABLE)
        self._info_topic = inputs.listen(CameraInfo, place.topic("camera_info"), self._on_info, NEWEST)
        self._depth_topic = inputs.listen(Image, place.topic("depth"), self._on_depth, NEWEST)
        inputs.watchers.append(self._pair)
        place.node.create_timer(0.1, self._settle, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def tell(self, event: Event) -> None:
        """One event of the session: at the end of a request, publish where its object is, or say why not."""
        if not isinstance(event, Finished) or event.grounding is None:
            return
        self._settle(at_once=True)  # the box before this one can wait no longer
        with self._lock:
            self._waiting = (event, time.monotonic() + PATIENCE)
        self._settle()

    def _pair(self, snapshot: Snapshot) -> None:
        """An image came: it gets the nearest depth of those that came, until a nearer one comes."""
        with self._lock:
            self._nearest[snapshot] = min(self._recent, key=lambda depth: _apart(snapshot.image, depth), default=None)

    def _on_info(self, msg: CameraInfo) -> None:
        with self._lock:
            self._info = msg

    def _on_depth(self, msg: Image) -> None:
        if not self._inputs.open:
            return
        with self._lock:
            self._recent.append(msg)
            for snapshot, nearest in list(self._nearest.items()):
                if nearest is None or _apart(snapshot.image, msg) < _apart(snapshot.image, nearest):
                    self._nearest[snapshot] = msg
        self._settle()

    def _settle(self, at_once: bool = False) -> None:
        """Publish or refuse the box that waits; it goes on waiting for what may still come, but not for ever."""
        with self._lock:
            if self._waiting is None:
                if not self._inputs.open:  # of no use any more: a deactivated node keeps no pictures
                    self._recent.clear()
                    self._nearest.clear()
                return
            (event, deadline), self._waiting = self._waiting, None
            try:
                self._publisher.publish(self._locate(event))
                self.refusal = ""
            except InputError as error:
                if isinstance(error, _MayStillCome) and not at_once and time.monotonic() < deadline:
                    self._waiting = event, deadline
                    return
                self.refusal = f"request {event.request.identity}: no target is published: {error}"
                self._log.warning(self.refusal)

    def _locate(self, event: Finished) -> PointStamped:
        seen, settings = event.request.seen, self._settings()
        image = seen.snapshot.image
        if not nanoseconds(image.header.stamp):
            raise InputError("the image carries no stamp, so that no depth can be told to be of the same moment: let the "
                             "camera driver stamp its images")
        if self._info is None:
            raise _MayStillCome(f"no camera_info came on {self._info_topic}: remap `camera_info` to that of the image")
        depth = self._nearest.get(seen.snapshot)
        if depth is None:
            raise _MayStillCome(f"no depth came on {self._depth_topic}: remap `depth` to the camera's registered depth")
        if (apart := _apart(image, depth)) > settings.depth_tolerance:
            raise _MayStillCome(f"the depth image nearest in time is {apart:.3f} s away from the image, depth_tolerance is "
                                f"{settings.depth_tolerance:g} s: publish depth with the image's stamps, or allow more")
        return locate(event.grounding.box, image.header, seen.size, depth, self._info, rectified=settings.rectified)


def _apart(a: Image, b: Image) -> float:
    """Seconds between two stamps, 0 or more."""
    return abs(nanoseconds(a.header.stamp) - nanoseconds(b.header.stamp)) / 1e9
