"""A depth camera made up: its calibration, its messages, and a node that publishes them."""

import numpy as np
from geometry_msgs.msg import PointStamped
from rclpy.duration import Duration
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from clue_ros.types import Box

SIZE = W, H = 640, 480
BOX = Box(200, 100, 320, 260)
HEADER = Header(frame_id="optical")
HEADER.stamp.sec = 7
K = np.array([[600.0, 0, 310], [0, 610, 245], [0, 0, 1]])
BARREL = [-0.3, 0.1, 0.001, -0.002, 0.0]


def calibration(d=(), model="plumb_bob", **changes):
    """The CameraInfo of a camera with K, and of its rectified image with the same numbers in P."""
    p = np.column_stack([K, np.zeros(3)])
    info = CameraInfo(header=HEADER, width=W, height=H, k=K.ravel(), p=p.ravel(), d=list(d), distortion_model=model)
    for name, value in changes.items():
        setattr(info, name, value)
    return info


def depth_message(metres, encoding="32FC1", *, padding=0, big=False, header=HEADER):
    """float[H, W] metres as a message with `padding` bytes after each row."""
    pixels = (np.nan_to_num(metres) * 1000).round().astype("u2") if encoding == "16UC1" else metres.astype("f4")
    pixels = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
    rows = np.pad(pixels.view(np.uint8), ((0, 0), (0, padding)), constant_values=99)
    return Image(header=header, height=len(rows), width=metres.shape[1], encoding=encoding, step=rows.shape[1],
                 is_bigendian=int(big), data=rows.tobytes())


def scene(near=0.8, far=1.5):
    """float32[H, W]: an object that fills the inner 80 % of the box, before a table."""
    depth = np.full((H, W), far, np.float32)
    depth[116:244, 212:308] = near
    return depth


class DepthCamera:
    """Publishes calibration and depth for each image of the stage's camera, as an RGB-D camera does.

    metres: what it sees, None for nothing; late: seconds between image and depth; changes: of its calibration.
    """

    def __init__(self, play):
        self.metres, self.late, self.changes, self.targets = None, 0.0, {}, []
        node = play.person
        self.depth, self.info = node.create_publisher(Image, "depth", 5), node.create_publisher(CameraInfo, "camera_info", 5)
        node.create_subscription(Image, "image", self._see, 5)
        node.create_subscription(PointStamped, "target", self.targets.append, 5)
        play.until(lambda: self.depth.get_subscription_count() and self.info.get_subscription_count()
                   and node.count_publishers("target"))

    def _see(self, msg):
        if self.metres is not None:
            self.info.publish(calibration(header=msg.header, **self.changes))
            stamp = (Time.from_msg(msg.header.stamp) + Duration(seconds=self.late)).to_msg()
            header = Header(frame_id=msg.header.frame_id, stamp=stamp)
            self.depth.publish(depth_message(self.metres, "16UC1", header=header))
