#!/usr/bin/env python3
"""Replays a recording into a running clue_node and compares what it decides with golden decisions.

    ros2 run clue_ros clue_node --ros-args -p image_transport:=compressed     in one terminal
    python examples/bag_replay.py                                             in another: the recording beside this file
    python examples/bag_replay.py MY_BAG --accept                             what it decides now is golden from now on
    python examples/bag_replay.py MY_BAG                                      does it still decide so?
    python examples/bag_replay.py --record                                    the recording beside this file, made anew

A recording (rosbag2 folder, .mcap or .db3) holds images, instructions and answers. Each instruction is said over the newest
image before it, each answer when the robot asks; images are stamped anew, and shown until the next one is due. The golden
decisions say what was done, not in what words: whether the robot asked, how the instruction ended, and the box (IoU >= 0.5).
Exit code 0 when every decision is the golden one. Reads with the rosbags library; `ros2 bag record` writes such recordings.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rclpy.qos import QoSProfile
from rclpy.time import Time
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from clue_ros.data.recordings import COMPRESSED, TEXT, Utterance, read_dialogs
from clue_ros.msg import GroundedObject
from clue_ros.ros.begin import begin
from clue_ros.ros.conversions import box_from_message
from clue_ros.ros.person import OUTCOMES, POINTS, SETTLE, Person, Unheard
from clue_ros.ros.spinning import spinning
from clue_ros.types import Box, InputError

SHIPPED = Path(__file__).resolve().parent / "recording"
IMAGE, INSTRUCTION, ANSWER = "/image/compressed", "/instruction", "/answer"
SAME = 0.5  # IoU from which two boxes are of the same object
RATE = 5.0  # images a second
LEFT_OPEN = "no answer"  # how an instruction ends whose question the recording does not answer


@dataclasses.dataclass(frozen=True)
class Decision:
    """asks: whether the robot asked at all. outcome: one of `OUTCOMES`, or LEFT_OPEN. box: (x1, y1, x2, y2) in pixels of the
    source image, None when it pointed at nothing."""

    instruction: str
    asks: bool
    outcome: str
    box: tuple[float, float, float, float] | None = None

    def iou(self, other: Decision) -> float:
        """Of the boxes; 0 when only one has a box, 1 when neither has."""
        if self.box is None or other.box is None:
            return float(self.box is other.box)
        return Box(*self.box).iou(Box(*other.box))

    def same(self, golden: Decision) -> bool:
        """Whether it is the golden one."""
        return (self.instruction, self.asks, self.outcome) == (golden.instruction, golden.asks, golden.outcome) \
            and self.iou(golden) >= SAME

    def __str__(self) -> str:
        return ("asks, " if self.asks else "") + (self.outcome if self.outcome != "grounded" else "box")


class Replay(Person):
    """A camera and a person, as they were recorded."""

    def __init__(self, compressed: bool, patience: float):
        super().__init__("clue_replay")
        self._patience = patience
        kind, topic = (CompressedImage, self.resolve_topic_name("image") + "/compressed") if compressed else (Image, "image")
        self._camera = self.create_publisher(kind, topic, QoSProfile(depth=1))
        self._recorded: object = None
        self._shown = Time()
        self.create_timer(1 / RATE, self._publish)

    def check(self) -> None:
        """InputError when the node is not there, or does not look at these images."""
        if not self.wait_for_node(self._patience):
            raise InputError(f"clue_node was not found within {self._patience:g} s: start it with the same namespace and "
                             "ROS_DOMAIN_ID")
        while self.listen(SETTLE) is not None:
            pass  # results of earlier instructions, which are latched
        if not self._camera.get_subscription_count():
            transport = "compressed" if self._camera.msg_type is CompressedImage else "raw"
            raise InputError(f"nobody listens to {self._camera.topic_name}: start clue_node with "
                             f"image_transport:={transport}, and without remapping `image`")

    def play(self, dialog: list[Utterance]) -> tuple[Decision, str]:
        """What the robot decided, and what it asked first."""
        questions: list[str] = []
        instruction = dialog[0].text
        for number, utterance in enumerate(dialog):
            self._show(utterance.image)
            if number:
                time.sleep(SETTLE)
                self.reply(utterance.text)
                _, reply = self.turn(self._patience)
            else:
                _, (_, reply) = self.say_about(instruction, self._shown, self._patience)
            if isinstance(reply, GroundedObject):
                box = rounded(box_from_message(reply.box)) if reply.outcome in POINTS else None
                return Decision(instruction, bool(questions), OUTCOMES[reply.outcome], box), (questions or [""])[0]
            questions.append(reply.data)
        return Decision(instruction, True, LEFT_OPEN), questions[0]

    def _show(self, recorded: object) -> None:
        if recorded is not self._recorded:
            self._recorded, self._shown = recorded, self.get_clock().now()

    def _publish(self) -> None:
        if self._recorded is not None:
            self._camera.publish(stamped_now(self._recorded, self.get_clock().now()))


def rounded(box: Box) -> tuple[float, float, float, float]:
    """To a tenth of a pixel."""
    return tuple(round(value, 1) for value in (box.x1, box.y1, box.x2, box.y2))


def stamped_now(recorded: object, now: Time) -> Image | CompressedImage:
    """A recorded image message as one to publish, of this moment: the node refuses old ones (max_frame_age)."""
    header = Header(frame_id=recorded.header.frame_id, stamp=now.to_msg())
    data = recorded.data.tobytes()
    if recorded.__msgtype__ == COMPRESSED:
        return CompressedImage(header=header, format=recorded.format, data=data)
    return Image(header=header, data=data, **{name: getattr(recorded, name) for name in (
        "height", "width", "encoding", "is_bigendian", "step")})


# -- golden decisions ----------------------------------------------------------------------------------------------------


def read_golden(path: Path) -> list[Decision]:
    """InputError when the file is missing or is no list of decisions."""
    try:
        return [Decision(**entry | {"box": entry["box"] and tuple(entry["box"])})
                for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} holds no golden decisions ({error}): --accept writes them") from error


def write_golden(decisions: list[Decision], path: Path) -> None:
    """One decision a line."""
    lines = ",\n ".join(json.dumps(dataclasses.asdict(decision)) for decision in decisions)
    path.write_text(f"[{lines}]\n", encoding="utf-8")


def compare(decisions: list[Decision], golden: list[Decision]) -> int:
    """Print the table; how many are not the golden ones."""
    print(f"\n{'':>3} {'instruction':<32} {'golden':<24} {'now':<24} {'IoU':>4}")
    for number, (now, then) in enumerate(zip(decisions, golden, strict=True), 1):
        print(f"{number:>3} {now.instruction:<32.32} {then!s:<24} {now!s:<24} {now.iou(then):>4.2f}"
              f"{'' if now.same(then) else '   differs'}")
    wrong = sum(not now.same(then) for now, then in zip(decisions, golden, strict=True))
    print(f"{len(golden) - wrong} of {len(golden)} decisions are the golden ones")
    return wrong


# -- making the recording --------------------------------------------------------------------------------------------------


def record(folder: Path) -> None:
    """The demo's pictures and words as a recording, with what is true about them as the golden decisions. No node is needed.

    The answers are those of the rule-based person to the rule-based question, so they do not depend on a model's words.
    """
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    from clue_ros.ros.pictures import demo_folder
    from clue_ros.ros.script import QUESTION, read_script
    from clue_ros.tabletop.questions import Oracle, ask
    store, rng = get_typestore(Stores.LATEST), np.random.default_rng(0)
    string, image, header, stamp = (store.types[name] for name in (
        TEXT, COMPRESSED, "std_msgs/msg/Header", "builtin_interfaces/msg/Time"))
    golden = []
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / folder.name
        with Writer(made, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
            topics = {name: bag.add_connection(name, kind, typestore=store)
                      for name, kind in ((IMAGE, COMPRESSED), (INSTRUCTION, TEXT), (ANSWER, TEXT))}

            def write(name: str, message: object, second: int) -> None:
                bag.write(topics[name], second * 10 ** 9, store.serialize_cdr(message, message.__msgtype__))

            for number, step in enumerate(read_script(demo_folder())):
                second, objects = 10 * number, step.picture.scene.objects
                jpeg = np.fromfile(demo_folder() / step.picture.name, np.uint8)
                write(IMAGE, image(header(stamp(second, 0), "camera_color_optical_frame"), "jpeg", jpeg), second)
                write(INSTRUCTION, string(step.say), second + 1)
                if step.expect == QUESTION:
                    question, *_ = ask(objects, step.candidates)
                    answer = Oracle(objects, step.target, rng).answer(question, step.candidates)
                    write(ANSWER, string(answer), second + 5)
                box = rounded(step.picture.box(step.target))
                golden.append(Decision(step.say, step.expect == QUESTION, "grounded", box))
        write_golden(golden, made / "golden.json")
        folder.mkdir(parents=True, exist_ok=True)
        for file in made.iterdir():
            shutil.copyfile(file, folder / file.name)
    print(f"{folder}: {len(golden)} instructions, {sum(f.stat().st_size for f in folder.iterdir()) / 1000:.0f} kB")


def replay(options: argparse.Namespace) -> int:
    """The exit code."""
    golden_at = options.golden or (options.bag / "golden.json" if options.bag.is_dir() else
                                   options.bag.with_suffix(".golden.json"))
    dialogs = read_dialogs(options.bag, options.image, options.instruction, options.answer)
    golden = None if options.accept else read_golden(golden_at)
    if golden is not None and [g.instruction for g in golden] != [dialog[0].text for dialog in dialogs]:
        raise InputError(f"{golden_at} is of another recording than {options.bag}: --accept writes a new one")
    begin()
    player = Replay(dialogs[0][0].image.__msgtype__ == COMPRESSED, options.patience)
    decisions = []
    with spinning(player, patience=1.0):
        player.check()
        for number, dialog in enumerate(dialogs, 1):
            decision, question = player.play(dialog)
            decisions.append(decision)
            print(f"{number:>3} {decision.instruction}: {question or decision}", flush=True)
    if golden is None:
        write_golden(decisions, golden_at)
        print(f"{len(decisions)} decisions are golden from now on: {golden_at}")
        return 0
    return min(compare(decisions, golden), 1)


def main() -> None:
    """Parse and replay, or record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", type=Path, nargs="?", default=SHIPPED, help="rosbag2 folder, .mcap or .db3 file")
    parser.add_argument("--golden", type=Path, help="golden decisions; else golden.json in the recording's folder")
    parser.add_argument("--accept", action="store_true", help="write what is decided now as the golden decisions")
    parser.add_argument("--record", action="store_true", help="write the recording and its golden decisions from the demo's "
                                                              "pictures and the truth about them")
    for name, topic in (("image", IMAGE), ("instruction", INSTRUCTION), ("answer", ANSWER)):
        parser.add_argument(f"--{name}", default=topic, help=f"topic in the recording, {topic} by default")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for the node, and for each reply")
    options = parser.parse_args(remove_ros_args(sys.argv)[1:])
    try:
        sys.exit(record(options.bag) if options.record else replay(options))
    except (InputError, Unheard) as error:
        sys.exit(f"bag_replay: {error}")
    except KeyboardInterrupt:
        sys.exit("bag_replay: stopped")


if __name__ == "__main__":
    main()
