"""`clue_person`: someone to talk to the node, at the terminal or from a script.

    ros2 run clue_ros clue_person                                   type instructions; type answers to questions
    ros2 run clue_ros clue_person --ros-args -p instruction:="pick up the white bowl" -p answers:="['the left one']"
"""

from __future__ import annotations

import queue
import sys
import threading
import time

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from clue_ros.msg import AmbiguityHeatmap, GroundedObject

# The node keeps one result for latecomers; a listener keeps some, to miss none when two come at once.
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
OUTCOMES = {getattr(GroundedObject, name): name[8:].lower().replace("_", " ")
            for name in ("OUTCOME_GROUNDED", "OUTCOME_QUESTION_TIMEOUT", "OUTCOME_SUPERSEDED", "OUTCOME_TURN_LIMIT",
                         "OUTCOME_ERROR")}


class Person(Node):
    """Says instructions and answers; what comes back waits, in order, in the queue `heard`.

    heard: AmbiguityHeatmap for each look, String for each question, GroundedObject for each outcome.
    """

    def __init__(self, **options):
        super().__init__("clue_person", **options)
        self.heard: queue.Queue[AmbiguityHeatmap | String | GroundedObject] = queue.Queue()
        self._instruction = self.create_publisher(String, "instruction", 10)
        self._answer = self.create_publisher(String, "answer", 10)
        self.create_subscription(AmbiguityHeatmap, "heatmap", self.heard.put, LATCHED)
        self.create_subscription(String, "speech", self.heard.put, 10)
        self.create_subscription(GroundedObject, "grounding", self.heard.put, LATCHED)

    def wait_for_node(self, seconds: float) -> bool:
        """Whether clue_node listens and can be heard, within that time."""
        end = time.monotonic() + seconds
        while not self._connected():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def _connected(self) -> bool:
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


def describe(message: AmbiguityHeatmap | String | GroundedObject) -> str:
    """One line for the terminal."""
    if isinstance(message, String):
        return f"robot   {message.data}"
    if isinstance(message, AmbiguityHeatmap):
        return f"        P(ambiguous) {message.probability:.2f}, threshold {message.threshold:.2f}"
    if message.outcome == GroundedObject.OUTCOME_ERROR:
        return f"error   {message.error}"
    if message.outcome not in (GroundedObject.OUTCOME_GROUNDED, GroundedObject.OUTCOME_TURN_LIMIT):
        return f"ended   {OUTCOMES[message.outcome]}: {message.instruction}"
    b = message.box
    return (f"robot   [{b.x1:.0f} {b.y1:.0f} {b.x2:.0f} {b.y2:.0f}] {message.label}, score {message.score:.2f}, "
            f"{message.latency_ms:.0f} ms")


def _talk_by_script(person: Person, instruction: str, answers: list[str]) -> None:
    """One instruction; each question gets the next answer; ends with the outcome."""
    while person.listen(0.5) is not None:
        pass  # latched results of earlier instructions
    person.say(instruction)
    print(f"person  {instruction}", flush=True)
    left = list(answers)
    while rclpy.ok():
        message = person.listen(0.2)
        if message is None or getattr(message, "instruction", instruction) != instruction:
            continue
        print(describe(message), flush=True)
        if isinstance(message, GroundedObject):
            return
        if isinstance(message, String) and left:
            person.reply(left[0])
            print(f"person  {left.pop(0)}", flush=True)


def _talk_at_terminal(person: Person) -> None:
    """A line is the answer while a question is open, an instruction otherwise; ends with the input."""
    asked = threading.Event()

    def echo() -> None:
        while rclpy.ok():
            message = person.listen(0.2)
            if message is not None:
                (asked.set if isinstance(message, String) else asked.clear)()
                print(describe(message), flush=True)

    threading.Thread(target=echo, name="echo", daemon=True).start()
    print("Say what to look for, for example: pick up the red mug   (Ctrl-D ends)", flush=True)
    for line in sys.stdin:
        if line.strip():
            (person.reply if asked.is_set() else person.say)(line.strip())
            asked.clear()


def main(args: list[str] | None = None) -> None:
    """Talk until the script or the input ends."""
    rclpy.init(args=args)
    person = Person()
    instruction = person.declare_parameter("instruction", "").value
    answers = person.declare_parameter("answers", Parameter.Type.STRING_ARRAY)
    answers = answers.value or []
    executor = SingleThreadedExecutor()
    executor.add_node(person)
    spinning = threading.Thread(target=_spin, args=(executor,), name="ros", daemon=True)
    spinning.start()
    try:
        if not person.wait_for_node(60.0):
            sys.exit("clue_node was not found within 60 s: start it with the same namespace and ROS_DOMAIN_ID")
        if instruction:
            _talk_by_script(person, instruction, answers)
        else:
            _talk_at_terminal(person)
    except KeyboardInterrupt:
        pass
    finally:
        rclpy.try_shutdown()
        spinning.join(1.0)


def _spin(executor: SingleThreadedExecutor) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        pass


if __name__ == "__main__":
    main()
