"""Someone who talks to the node by topic: the terminal's part, the demo's and the tests'."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from rclpy.time import Time
from std_msgs.msg import String

from clue_ros.msg import AmbiguityHeatmap, GroundedObject, Question
from clue_ros.ros.qos import EVERY_WORD, LATCHED_LISTENER, RELIABLE
from clue_ros.ros.request import Outcome

SETTLE = 0.5  # seconds from a new image to the words about it
REPEATS = 10  # how often an instruction is said when the robot looks at an older image
POINTS = (GroundedObject.OUTCOME_GROUNDED, GroundedObject.OUTCOME_TURN_LIMIT)  # outcomes with a box
Heard = AmbiguityHeatmap | String | Question | GroundedObject
Turn = tuple[AmbiguityHeatmap | None, String | GroundedObject]
OUTCOMES = {outcome.value: outcome.name.lower().replace("_", " ") for outcome in Outcome}


class Unheard(RuntimeError):
    """The robot did not reply, or not about what it was shown; the message says why."""


def _comes_with_a_verdict(reply: String | GroundedObject) -> bool:
    """Whether it is what a look led to: a question, or a box."""
    return isinstance(reply, String) or reply.outcome in POINTS


def in_touch(node: Node, replies: Iterable[Subscription], words: Iterable[Publisher]) -> bool:
    """Whether somebody publishes each of the replies, by the names that they were remapped to, and listens to all words."""
    return all(node.count_publishers(s.topic_name) for s in replies) and all(p.get_subscription_count() for p in words)


class Person(Node):
    """Says instructions and answers; what comes back waits, in order, in the queue `heard`.

    heard: AmbiguityHeatmap for each look, GroundedObject for each outcome, and for each question a String as it is spoken. latched: a
    Question instead, which tells at once which one is open, and when none is any more.
    """

    def __init__(self, name: str = "clue_person", *, latched: bool = False, **options):
        super().__init__(name, **options)
        self.heard: queue.Queue[Heard] = queue.Queue()
        questions = (Question, "question", self.heard.put, LATCHED_LISTENER) if latched else (String, "speech", self.heard.put, RELIABLE)
        self._instruction = self.create_publisher(String, "instruction", EVERY_WORD)
        self._answer = self.create_publisher(String, "answer", EVERY_WORD)
        self._replies = [self.create_subscription(AmbiguityHeatmap, "heatmap", self.heard.put, LATCHED_LISTENER),
                         self.create_subscription(*questions),
                         self.create_subscription(GroundedObject, "grounding", self.heard.put, LATCHED_LISTENER)]

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
        return in_touch(self, self._replies, (self._instruction, self._answer))

    def say(self, text: str) -> None:
        """An instruction."""
        self._instruction.publish(String(data=text))

    def reply(self, text: str) -> None:
        """An answer to the open question."""
        self._answer.publish(String(data=text))

    def listen(self, seconds: float) -> Heard | None:
        """The next thing that came back, or None when nothing did in time."""
        try:
            return self.heard.get(timeout=seconds)
        except queue.Empty:
            return None

    def turn(self, patience: float, gone: Callable[[], str] = str) -> Turn:
        """The verdict of the next look (None if there was none) and what the robot then said, in whatever order they come:
        topics are not ordered among each other. Unheard after so many seconds, or with the sentence of `gone`."""
        verdict = reply = None
        end = time.monotonic() + patience
        while reply is None or (verdict is None and _comes_with_a_verdict(reply)):
            if sentence := gone():
                raise Unheard(sentence)
            if time.monotonic() > end:
                raise Unheard(f"clue_node said nothing for {patience:g} s")
            message = self.listen(0.2)
            if isinstance(message, AmbiguityHeatmap):
                verdict = message
            elif message is not None and getattr(message, "outcome", None) != GroundedObject.OUTCOME_SUPERSEDED:
                reply = message  # the end of a dialog that was begun again says nothing about this one
        return verdict, reply

    def say_about(self, text: str, shown: Time, patience: float, gone: Callable[[], str] = str) -> tuple[float, Turn]:
        """An instruction about the image that is published since `shown`: when it was said (`time.perf_counter`), and the turn
        that follows. Large messages get lost (best effort, small socket buffers), so the robot may still look at an older one:
        the stamp tells, and the words are said again. Unheard when they never are about that image."""
        for _ in range(REPEATS):
            time.sleep(SETTLE)
            start = time.perf_counter()
            self.say(text)
            verdict, reply = self.turn(patience, gone)
            if verdict is None or Time.from_msg(verdict.header.stamp) >= shown:
                return start, (verdict, reply)
        raise Unheard(f"clue_node gets none of the pictures: {REPEATS} looks in turn were at an older one")
