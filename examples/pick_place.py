#!/usr/bin/env python3
"""Picks up the object that a person names, and puts it down beside: a client of clue_node's action `ground`.

    ros2 run clue_ros clue_node --ros-args -p depth:=true -r image:=... -r depth:=... -r camera_info:=...
    python examples/pick_place.py "pick up the red mug"                            answers are typed at the terminal
    python examples/pick_place.py "pick up the red mug" --answer "the left one"    or given, one for each question
    python examples/pick_place.py "pick up the red mug" --up 0 -1 0 --ros-args -r __ns:=/robot1

Needs rclpy and the messages of clue_ros, nothing else. There is no arm here: `Arm` prints each pose and publishes it on
`pick_place/pose` (latched; geometry_msgs/PoseStamped, in the camera's frame); let it call your motion planner instead. Exit
code 0 when the whole sequence was gone through, else 1 and one sentence.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
import termios
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import rclpy
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import Point, PointStamped, Pose, PoseStamped, Quaternion
from rclpy.action import ActionClient
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from rclpy.utilities import remove_ros_args

from clue_ros.action import Ground
from clue_ros.msg import Answer, GroundedObject

CLEARANCE = 0.10  # metres above the object, before and after it is gripped
CARRY = 0.15  # metres above the table's objects on the way to the new place
DEEPER = 0.02  # metres from the target, which lies on the object's surface, to where the fingers close
PATIENCE = 3.0  # seconds to wait for a message that should follow at once
ENDINGS = {
    GroundedObject.OUTCOME_QUESTION_TIMEOUT: "nobody answered the question in time",
    GroundedObject.OUTCOME_SUPERSEDED: "a newer instruction took over",
    GroundedObject.OUTCOME_CANCELLED: "the instruction was canceled",
}


class Failure(RuntimeError):
    """The object cannot be picked; the message says why, in one sentence."""


# -- the plan: pure ----------------------------------------------------------------------------------------------------


def pointing(direction: np.ndarray) -> Quaternion:
    """The smallest turn that makes the tool's z axis point along a unit vector."""
    x, y, z = map(float, direction)
    if z < -1 + 1e-9:
        return Quaternion(x=1.0, y=0.0, z=0.0, w=0.0)  # half a turn; every axis across z would do
    q = np.array([-y, x, 0.0, 1 + z]) / np.sqrt(2 * (1 + z))
    return Quaternion(x=float(q[0]), y=float(q[1]), z=0.0, w=float(q[3]))


def plan(target: PointStamped, up: Sequence[float], aside: Sequence[float]) -> list[tuple[str, PoseStamped | None]]:
    """The steps by name, with the tool's pose in the target's frame; None for the gripper's.

    target: on the object's surface. up: from the table to the ceiling, of any length, in the target's frame; the tool's z
    axis will point down. aside: metres from the old place to the new one. Failure when up is no direction.
    """
    length = np.linalg.norm(up)
    if not (np.isfinite(length) and length > 0):
        raise Failure(f"--up is {' '.join(map(str, up))}: give a direction, such as 0 0 -1 for a camera that looks down")
    up = np.asarray(up, float) / length
    down = pointing(-up)
    here = np.array([target.point.x, target.point.y, target.point.z])
    there = here + np.asarray(aside, float)

    def at(place: np.ndarray, height: float) -> PoseStamped:
        x, y, z = map(float, place + height * up)
        # The header with the image's stamp: a camera on the arm was elsewhere before and is elsewhere now.
        return PoseStamped(header=target.header, pose=Pose(position=Point(x=x, y=y, z=z), orientation=down))

    return [("open the gripper", None), ("approach", at(here, CLEARANCE)), ("grasp", at(here, -DEEPER)),
            ("close the gripper", None), ("lift", at(here, CARRY)), ("carry", at(there, CARRY)),
            ("place", at(there, -DEEPER)), ("open the gripper", None), ("retreat", at(there, CLEARANCE))]


# -- who takes part ------------------------------------------------------------------------------------------------------


class Answers:
    """The person's: those given first, then what is typed, which nobody waits for."""

    def __init__(self, given: Sequence[str]):
        self._given, self._typed = deque(given), deque()

    def forget(self) -> None:
        """A question was just asked: what was typed before it is no answer to it."""
        if os.isatty(0):
            self._typed.clear()
            termios.tcflush(0, termios.TCIFLUSH)

    def next(self) -> str | None:
        """The next answer, None while there is none. EOFError when nobody will give one."""
        if self._given:
            return self._given.popleft()
        if not self._typed and select.select([0], [], [], 0)[0]:
            text = os.read(0, 4096).decode(errors="replace")
            if not text:
                raise EOFError
            self._typed.extend(filter(None, map(str.strip, text.splitlines())))
        return self._typed.popleft() if self._typed else None


class Arm:
    """A robot's arm that only says where it would go."""

    def __init__(self, node: Node, pace: float):
        # Who finds this program late still gets every pose, as one who listens from the start.
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._poses, self._pace = node.create_publisher(PoseStamped, "pick_place/pose", latched), pace

    def do(self, name: str, pose: PoseStamped | None) -> None:
        """One step of the plan. Put your motion planner and your gripper here; raise Failure when they fail."""
        if pose is None:
            print(f"arm     {name}", flush=True)
        else:
            p, q = pose.pose.position, pose.pose.orientation
            print(f"arm     {name:<9} {p.x:7.3f} {p.y:7.3f} {p.z:7.3f} m   {q.x:6.3f} {q.y:6.3f} {q.z:6.3f} {q.w:6.3f}   "
                  f"in {pose.header.frame_id}", flush=True)
            self._poses.publish(pose)
        time.sleep(self._pace)

    def rest(self) -> None:
        """The plan is done; whoever listens has got it all before this program ends."""
        self._poses.wait_for_all_acked(Duration(seconds=PATIENCE))


class PickPlace(Node):
    """Asks clue_node where the object is, and lets the person answer."""

    def __init__(self, answers: Answers, **options):
        super().__init__("pick_place", **options)
        self._answers, self._questions, self._targets = answers, deque(), []
        self._ground = ActionClient(self, Ground, "ground")
        self._answer = self.create_publisher(Answer, "answer/addressed", 10)
        # Listens before it asks: a target is published once.
        self._target = self.create_subscription(PointStamped, "target", self._targets.append, 10)

    def destroy_node(self) -> None:
        """Take everything off the network."""
        self._ground.destroy()
        super().destroy_node()

    def wait(self, done: Callable[[], bool], seconds: float = float("inf")) -> bool:
        """Let messages come until it is done; whether it was in time."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                return False
            rclpy.spin_once(self, timeout_sec=0.05)
        return True

    def find(self, instruction: str, patience: float) -> GroundedObject:
        """The object in the image, after as many questions as it takes. Failure says why there is none."""
        if not self.wait(lambda: self._ground.server_is_ready() and self._answer.get_subscription_count(), patience):
            raise Failure(f"there is no action `ground` within {patience:g} s: start clue_node, with the same namespace and "
                          "ROS_DOMAIN_ID")
        self._targets.clear()  # those of others' instructions, maybe about the same image
        sent = self._ground.send_goal_async(Ground.Goal(instruction=instruction),
                                            feedback_callback=lambda m: self._questions.append(m.feedback))
        try:
            if not self.wait(sent.done, PATIENCE):
                raise Failure("clue_node does not take the instruction: is it still running?")
            ended = sent.result().get_result_async()
            self._talk(ended.done)
        except (EOFError, KeyboardInterrupt):
            self._cancel(sent)
            raise Failure("the instruction was canceled: nobody answers") from None
        if ended.result().status == GoalStatus.STATUS_UNKNOWN:
            raise Failure("clue_node does not know any more how the instruction ended: ask for the result sooner")
        return self._judge(ended.result().result.grounding)

    def _cancel(self, sent: Future) -> None:
        """End the goal that was sent, once the node has taken it."""
        if self.wait(sent.done, PATIENCE):
            canceled = sent.result().cancel_goal_async()
            self.wait(canceled.done, PATIENCE)

    def _talk(self, ended: Callable[[], bool]) -> None:
        """Put each question to the person until the goal has ended. EOFError when one stays without an answer."""
        asked: Ground.Feedback | None = None
        while not self.wait(ended, 0.1):
            if not self._ground.server_is_ready():
                raise Failure("clue_node has gone")
            if self._questions:
                asked = self._questions.popleft()
                self._answers.forget()
                print(f"robot   {asked.question}", flush=True)
            if asked is not None and (text := self._answers.next()) is not None:
                print(f"person  {text}", flush=True)
                self._answer.publish(Answer(request_id=asked.request_id, turn=asked.verdict.turn, text=text))
                asked = None

    @staticmethod
    def _judge(found: GroundedObject) -> GroundedObject:
        """What was found, if it can be relied on."""
        if found.outcome == GroundedObject.OUTCOME_ERROR:
            raise Failure(f"the object was not found: {found.error}")
        if found.outcome in ENDINGS:
            raise Failure(f"the object was not found: {ENDINGS[found.outcome]}")
        b = found.box
        print(f"robot   {found.label} at [{b.x1:.0f} {b.y1:.0f} {b.x2:.0f} {b.y2:.0f}], score {found.score:.2f}", flush=True)
        if found.outcome == GroundedObject.OUTCOME_TURN_LIMIT:
            raise Failure(f"the robot is still in doubt whether that is the object, after {found.questions_asked} question(s), and has "
                          "no other, or may ask no more (parameter turn_limit): nothing is picked; say it in other words")
        return found

    def locate(self, found: GroundedObject) -> PointStamped:
        """Where the object is in space. Failure when the node does not know."""
        topic = self._target.topic_name
        if not self.count_publishers(topic):
            raise Failure(f"there is no depth, so that nobody knows how far away the object is: nothing publishes {topic}; "
                          "start clue_node with depth:=true and remap depth and camera_info")
        if not self.wait(lambda: any(target.header == found.header for target in self._targets), PATIENCE):
            raise Failure(f"nothing came on {topic} within {PATIENCE:g} s: clue_node's log tells why no target is published")
        return next(target for target in reversed(self._targets) if target.header == found.header)


def main() -> None:
    """Parse, find, locate, and let the arm go through the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instruction")
    parser.add_argument("--answer", action="append", default=[], help="to a question, in their order; else they are typed")
    parser.add_argument("--up", type=float, nargs=3, default=[0.0, 0.0, -1.0], metavar=("X", "Y", "Z"),
                        help="direction from table to ceiling in the camera's optical frame (x right, y down, z forward); "
                             "0 0 -1: the camera looks straight down")
    parser.add_argument("--aside", type=float, nargs=3, default=[0.2, 0.0, 0.0], metavar=("X", "Y", "Z"),
                        help="metres from the object's place to where it is put, in the same frame")
    parser.add_argument("--pace", type=float, default=0.3, help="seconds a step takes")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for clue_node to appear")
    options = parser.parse_args(remove_ros_args(sys.argv)[1:])
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C must leave the time to cancel the goal
    node = PickPlace(Answers(options.answer))
    arm = Arm(node, options.pace)
    try:
        target = node.locate(node.find(options.instruction, options.patience))
        for name, pose in plan(target, options.up, options.aside):
            arm.do(name, pose)
        arm.rest()
        print("done")
    except Failure as failure:
        sys.exit(f"pick_place: {failure}")
    except KeyboardInterrupt:
        sys.exit("pick_place: stopped")
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
