"""`clue_camera`: a camera without a camera, for trying the node.

    ros2 run clue_ros clue_camera                                        the demo's tables, one after the other
    ros2 run clue_ros clue_camera --ros-args -p source:=live             rendered tables, never the same twice
    ros2 run clue_ros clue_camera --ros-args -p source:=photo.jpg        one photograph
"""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from clue_ros.ros.conversions import image_from_rgb
from clue_ros.ros.parameters import at_start
from clue_ros.ros.pictures import open_source
from clue_ros.ros.spinning import run_node
from clue_ros.types import InputError

DAY = 86400  # seconds
FRAME_ID = "camera_color_optical_frame"
RELIABLE_NEWEST = QoSProfile(depth=1)  # fits reliable and best-effort listeners alike


class Camera(Node):
    """Publishes the picture it was last shown on `image`, `rate` times a second, stamped with the present time.

    published: pictures so far.

    Parameters: source (see `pictures.open_source`), rate in pictures a second, hold in seconds before the next
    picture (0: the first one for ever), seed of the live tables. With `manual`, `source` is not opened: use `show`.
    """

    def __init__(self, manual: bool = False, **options):
        super().__init__("clue_camera", **options)
        source, rate, hold, seed = (at_start(self, name, value) for name, value in (
            ("source", ""), ("rate", 5.0), ("hold", 20.0), ("seed", 0)))
        if not (0 < rate <= 1000 and 0 <= hold <= DAY and seed >= 0):
            raise InputError(f"rate is {rate:g}, hold {hold:g} and seed {seed}: give a rate above 0 up to 1000, a hold of 0 to {DAY} and "
                             "a seed of 0 or more")
        self._publisher = self.create_publisher(Image, "image", RELIABLE_NEWEST)
        self._message: Image | None = None
        self.published = 0
        self.create_timer(1 / rate, self._publish)
        if not manual:
            self._next = open_source(source, seed)
            self._advance()
            if hold:
                self.create_timer(hold, self._advance)

    def show(self, rgb: np.ndarray | None, encoding: str = "rgb8") -> None:
        """Point the camera at other pixels, uint8[H, W, 3] RGB, at once; None covers the lens: nothing is published.

        encoding: of the messages from now on, one of `conversions.FROM_RGB`.
        """
        self._message = None if rgb is None else image_from_rgb(rgb, Header(frame_id=FRAME_ID), encoding)
        self._publish()

    def _advance(self) -> None:
        try:
            picture = self._next()
        except InputError as error:
            self.get_logger().warning(f"{error}; the picture before it stays")
            return
        self.get_logger().info(f"showing {picture.name}, {picture.rgb.shape[1]} x {picture.rgb.shape[0]} pixels")
        self.show(picture.rgb)

    def send(self, message: Image) -> None:
        """Publish a message once, stamped with the present time."""
        message.header.stamp = self.get_clock().now().to_msg()
        self._publisher.publish(message)
        self.published += 1

    def _publish(self) -> None:
        message = self._message
        if message is not None:
            self.send(message)


def main(args: list[str] | None = None) -> None:
    """Run the camera until it is stopped; exit code 1 when the source cannot be read."""
    run_node("clue_camera", Camera, args)


if __name__ == "__main__":
    main()
