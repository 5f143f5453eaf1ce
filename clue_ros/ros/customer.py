"""Who gives a node more instructions than a person would, and keeps the books on what became of each."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from rclpy.task import Future
from std_msgs.msg import String

from clue_ros.action import Ground
from clue_ros.msg import GroundedObject
from clue_ros.ros.person import in_touch
from clue_ros.ros.qos import EVERY_WORD

EVERY_OUTCOME = QoSProfile(history=HistoryPolicy.KEEP_ALL, durability=DurabilityPolicy.TRANSIENT_LOCAL)
NUMBERED = {"0": " ", "1": "\t"}  # the digits of an instruction's number, binary


class Customer(Node):
    """Numbers each instruction with a last line of blanks: the node hears it, and gives it back in the outcome, but the
    model reads the words alone.

    said: when each instruction was said, `time.perf_counter()`; questions, answers: how many there were; replies:
    milliseconds from each instruction or answer to what came of it; open_question: whether one waits for an answer; results:
    of goals, that came back.
    """

    def __init__(self, **options):
        super().__init__("clue_customer", **options)
        self.said: list[float] = []
        self.questions = self.answers = 0
        self.replies: list[float] = []
        self.open_question, self.results = False, 0
        self._spoke: float | None = None  # when, if nothing came of it yet
        self._ends: dict[int, list[tuple[float, GroundedObject]]] = defaultdict(list)
        self._running: set[int] = set()
        self._status: dict[str, str] = {}
        self._changed = threading.Condition()
        # Nothing more than that: what else it heard would be in the way of the outcomes, and in the figures.
        self._instruction = self.create_publisher(String, "instruction", EVERY_WORD)
        self._answer = self.create_publisher(String, "answer", EVERY_WORD)
        self._replies = [self.create_subscription(GroundedObject, "grounding", self._on_end, EVERY_OUTCOME),
                         self.create_subscription(String, "speech", self._on_question, EVERY_WORD),
                         self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)]
        self._ground = ActionClient(self, Ground, "ground")  # now: an executor that spins breaks on one that is half there

    def connected(self) -> bool:
        """Whether clue_node listens and can be heard now."""
        return in_touch(self, self._replies, (self._instruction, self._answer))

    def order(self, words: str) -> int:
        """An instruction; its number."""
        number, words = self._numbered(words)
        self._instruction.publish(String(data=words))
        return number

    def goal(self, words: str) -> int:
        """The same as a goal of action `ground`."""
        number, words = self._numbered(words)
        self._ground.wait_for_server()
        self._ground.send_goal_async(Ground.Goal(instruction=words)).add_done_callback(
            lambda sent: sent.result().get_result_async().add_done_callback(self._on_result))
        return number

    def _numbered(self, words: str) -> tuple[int, str]:
        with self._changed:
            number = len(self.said)
            self._spoke, self.open_question = time.perf_counter(), False
            self.said.append(self._spoke)
            self._running.add(number)
        return number, words + "\n" + "".join(NUMBERED[bit] for bit in f"{number:b}")

    def answer(self, words: str) -> None:
        """A reply, whether somebody asked or not."""
        with self._changed:
            self.answers += 1
            if self.open_question:
                self._spoke, self.open_question = time.perf_counter(), False
        self._answer.publish(String(data=words))

    def ends(self, number: int) -> list[tuple[float, GroundedObject]]:
        """The outcomes of an instruction, and when they came."""
        return self._ends[number]

    def settled(self) -> bool:
        """Whether every instruction ended."""
        return not self._running

    def wait(self, condition: Callable[[], object], seconds: float) -> bool:
        """Whether the condition came true within that time."""
        with self._changed:
            return bool(self._changed.wait_for(condition, seconds))

    def camera_status(self) -> dict[str, str]:
        """What /diagnostics last told about the camera."""
        return self._status

    def _on_end(self, msg: GroundedObject) -> None:
        came = time.perf_counter()
        number = int("".join("01"[blank == NUMBERED["1"]] for blank in msg.instruction.rpartition("\n")[2]), 2)
        with self._changed:
            self._ends[number].append((came, msg))
            self._running.discard(number)
            if number == len(self.said) - 1:
                self.open_question = False
                self._came_of_it(came)
            self._changed.notify()

    def _on_result(self, _: Future) -> None:
        with self._changed:
            self.results += 1
            self._changed.notify()

    def _on_question(self, _: String) -> None:
        came = time.perf_counter()
        with self._changed:
            self.questions += 1
            self.open_question = True
            self._came_of_it(came)
            self._changed.notify()

    def _came_of_it(self, came: float) -> None:
        if self._spoke is not None:
            self.replies.append((came - self._spoke) * 1000)
            self._spoke = None

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            if status.name == f"{self.get_namespace()[1:]}/clue_node: camera":
                self._status = {pair.key: pair.value for pair in status.values}
