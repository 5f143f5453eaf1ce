"""Someone who talks to the node by topic: the terminal's part, the demo's and the tests'."""

from __future__ import annotations

import queue
import time

from rclpy.node import Node
from std_msgs.msg import String

from clue_ros.msg import AmbiguityHeatmap, GroundedObject
from clue_ros.ros.qos import EVERY_WORD, LATCHED_LISTENER, RELIABLE
from clue_ros.ros.session import Outcome

OUTCOMES = {outcome.value: outcome.name.lower().replace("_", " ") for outcome in Outcome}


class Person(Node):
    """Says instructions and answers; what comes back waits, in order, in the queue `heard`.

    heard: AmbiguityHeatmap for each look, String for each question, GroundedObject for each outcome.
    """

    def __init__(self, name: str = "clue_person", **options):
        super().__init__(name, **options)
        self.heard: queue.Queue[AmbiguityHeatmap | String | GroundedObject] = queue.Queue()
        self._instruction = self.create_publisher(String, "instruction", EVERY_WORD)
        self._answer = self.create_publisher(String, "answer", EVERY_WORD)
        self.create_subscription(AmbiguityHeatmap, "heatmap", self.heard.put, LATCHED_LISTENER)
        self.create_subscription(String, "speech", self.heard.put, RELIABLE)
        self.create_subscription(GroundedObject, "grounding", self.heard.put, LATCHED_LISTENER)

    def wait_for_node(self, seconds: float) -> bool:
        """Whether clue_node listens and can be heard, within that time."""
        end = time.monotonic() + seconds
        while not self.connected():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def connected(self) -> bool:
        """Whether clue_node listens and can be heard now."""
        heard = all(self.count_publishers(name) for name in ("speech", "grounding", "heatmap"))
        return heard and all(p.get_subscription_count() for p in (self._instruction, self._answer))

    def say(self, text: str) -> None:
        """An instruction."""
        self._instruction.publish(String(data=text))

    def reply(self, text: str) -> None:
        """An answer to the open question."""
        self._answer.publish(String(data=text))

    def listen(self, seconds: float) -> AmbiguityHeatmap | String | GroundedObject | None:
        """The next thing that came back, or None when nothing did in time."""
        try:
            return self.heard.get(timeout=seconds)
        except queue.Empty:
            return None
