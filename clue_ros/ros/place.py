"""Where the topics of one camera lie."""

from __future__ import annotations

from dataclasses import dataclass

from rclpy.impl.rcutils_logger import RcutilsLogger

from clue_ros.ros.lifecycle import ManagedNode


@dataclass(frozen=True)
class Place:
    """A node, and below its namespace the name of one of its cameras: `front/image`, `front/grounding` and so on.

    A camera without a name, as most nodes have one, has plain `image`, `grounding` and so on.
    """

    node: ManagedNode
    name: str = ""

    def topic(self, name: str) -> str:
        """The camera's own topic of that name, relative to the node."""
        return f"{self.name}/{name}" if self.name else name

    @property
    def log(self) -> RcutilsLogger:
        """A logger whose lines name the camera."""
        log = self.node.get_logger()
        return log.get_child(self.name) if self.name else log
