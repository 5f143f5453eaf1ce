"""`detections`: the object that was found, once more as vision_msgs/Detection2DArray, for tools that know that message.

vision_msgs is not required: without it there is no such topic. Its layout is that of version 4 (ROS 2 Humble and later).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clue_ros.ros.place import Place
from clue_ros.ros.qos import RELIABLE
from clue_ros.ros.request import Event, Finished, Outcome
from clue_ros.types import Grounding

try:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose
except ImportError:
    Detection2DArray = None
if TYPE_CHECKING:
    from std_msgs.msg import Header


class Detections:
    """Publishes `detections` of a camera, where vision_msgs is installed; else does nothing.

    It is not latched: unlike `grounding` it cannot say that a later instruction found nothing.
    """

    def __init__(self, place: Place):
        self._publisher = None
        if Detection2DArray is not None:
            self._publisher = place.node.create_lifecycle_publisher(Detection2DArray, place.topic("detections"), RELIABLE)

    def tell(self, event: Event) -> None:
        """One event of the session: at the end of a request, publish what it found, if it did; not a box that is but the likeliest,
        since a detection cannot say so."""
        if self._publisher is not None and isinstance(event, Finished) and event.outcome is Outcome.GROUNDED:
            header = event.request.seen.snapshot.image.header
            self._publisher.publish(detection_message(event.grounding, header, event.request.identity))


def detection_message(grounding: Grounding, header: Header, request_id: str) -> Detection2DArray:
    """One detection: the object meant. The candidates are left out, since a tracker would take them for objects found.

    bbox in pixels of the source image, as everywhere: the origin is the corner of the first pixel.
    """
    detection = Detection2D(header=header, id=request_id, results=[ObjectHypothesisWithPose()])
    detection.results[0].hypothesis.class_id = grounding.label
    detection.results[0].hypothesis.score = float(grounding.score)
    box = grounding.box
    detection.bbox.center.position.x, detection.bbox.center.position.y = (float(value) for value in box.centre)
    detection.bbox.size_x, detection.bbox.size_y = float(box.x2 - box.x1), float(box.y2 - box.y1)
    return Detection2DArray(header=header, detections=[detection])
