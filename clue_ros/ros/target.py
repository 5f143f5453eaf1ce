"""`target`: where the object is in space, from its box, the depth in the box and the camera's calibration.

    image -------> box --+
    depth -------> z ----+--> x, y, z in metres, in the camera's optical frame: x right, y down, z forward (REP 103)
    camera_info ---------+

The point is the object's visible surface in the middle of its box, not the object's centre. Assumed, and refused where
it can be seen not to hold:

- `depth` is registered to the image: same frame_id, same size; its numbers are as REP 118 has them (`geometry`).
- The image is as the camera took it; its distortion is undone with the model in `camera_info` (K, D). For an image that
  is rectified already, set the parameter `rectified`: then P holds, and there is no distortion left.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary

from geometry_msgs.msg import PointStamped
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CameraInfo, Image

from clue_ros.ros.conversions import nanoseconds
from clue_ros.ros.geometry import locate
from clue_ros.ros.inputs import Inputs
from clue_ros.ros.parameters import Settings
from clue_ros.ros.place import Place
from clue_ros.ros.qos import NEWEST, RELIABLE
from clue_ros.ros.request import Event, Finished, Outcome, Snapshot
from clue_ros.types import InputError

PATIENCE = 0.5  # seconds a finished look waits for the depth of its image: depth often comes a little later
RECENT, MOST_BYTES = 1.0, 128_000_000  # seconds of depth images kept for an image that comes later than its depth, and their size


class _MayStillCome(InputError):
    """What is missing may be on its way."""


class Target:
    """Listens to a camera's `camera_info` and `depth`, and publishes `target` for each object that was found, or warns why it cannot.

    settings: the parameters' present values. refusal: why the last box got no target, "" when it got one or there was none yet;
    `/diagnostics` tells it too. `target` is not latched: a point of an earlier instruction must not reach an
    arm that starts listening later.
    """

    def __init__(self, place: Place, inputs: Inputs, settings: Callable[[], Settings]):
        self._inputs, self._settings, self._log = inputs, settings, place.log
        self.refusal = ""
        self._lock = threading.Lock()
        self._info: CameraInfo | None = None
        self._recent: deque[Image] = deque()
        # For every image that somebody still holds, the depth nearest in time; None before the first.
        self._nearest: WeakKeyDictionary[Snapshot, Image | None] = WeakKeyDictionary()
        self._waiting: tuple[Finished, float] | None = None  # a box whose depth may still come, and until when
        self._publisher = place.node.create_lifecycle_publisher(PointStamped, place.topic("target"), RELIABLE)
        self._info_topic = inputs.listen(CameraInfo, place.topic("camera_info"), self._on_info, NEWEST)
        self._depth_topic = inputs.listen(Image, place.topic("depth"), self._on_depth, NEWEST)
        inputs.watchers.append(self._pair)
        place.node.create_timer(0.1, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def tell(self, event: Event) -> None:
        """One event of the session: at the end of a request, publish where its object is, or say why not. A box that is but the
        likeliest gets none: a point cannot say so, and an arm would reach for it."""
        if not isinstance(event, Finished) or event.grounding is None:
            return
        self._settle(at_once=True)  # the box before this one can wait no longer
        if event.outcome is not Outcome.GROUNDED:
            with self._lock:
                self._refuse(event, "it is not known which object is meant, the box is but the likeliest")
            return
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
        if not self._inputs.listening:
            return
        with self._lock:
            self._recent.append(msg)
            while _apart(self._recent[0], msg) > RECENT or sum(len(depth.data) for depth in self._recent) > max(MOST_BYTES, len(msg.data)):
                self._recent.popleft()
            for snapshot, nearest in list(self._nearest.items()):
                if nearest is None or _apart(snapshot.image, msg) < _apart(snapshot.image, nearest):
                    self._nearest[snapshot] = msg
        self._settle()

    def _tick(self) -> None:
        self._settle()
        with self._lock:
            if self._waiting is None and not self._inputs.listening:  # a deactivated node keeps no pictures
                self._recent.clear()
                self._nearest.clear()

    def _settle(self, at_once: bool = False) -> None:
        """Publish or refuse the box that waits, if one does; it goes on waiting for what may still come, but not for ever."""
        with self._lock:
            if self._waiting is None:
                return
            (event, deadline), self._waiting = self._waiting, None
            try:
                self._publisher.publish(self._locate(event))
                self.refusal = ""
            except InputError as error:
                if isinstance(error, _MayStillCome) and not at_once and time.monotonic() < deadline:
                    self._waiting = event, deadline
                    return
                self._refuse(event, str(error))

    def _refuse(self, event: Finished, why: str) -> None:
        self.refusal = f"request {event.request.identity}: no target is published: {why}"
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
