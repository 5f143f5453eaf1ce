"""Recordings of a robot (rosbag2 folders, .mcap and .db3 files): what was said, over the newest image at that moment.

Read with the `rosbags` library, so no ROS is needed.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from clue_ros.data.fields import words
from clue_ros.data.records import Picture, Reading, Record
from clue_ros.encodings import from_compressed, to_rgb
from clue_ros.types import InputError, Prompt

IMAGE, INSTRUCTION = "/image", "/instruction"  # what a robot calls them that renames nothing
RAW, COMPRESSED, TEXT = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "std_msgs/msg/String"
Topics = Sequence[tuple[str, tuple[str, ...]]]  # names, and the message types that each may hold


@dataclasses.dataclass(frozen=True, eq=False)
class Utterance:
    """What a person said. image: the newest image message before it, as it was recorded."""

    text: str
    image: object


def read_recording(path: str | Path, image: str = IMAGE, instruction: str = INSTRUCTION) -> Reading:
    """A record for every message on the instruction topic, with the newest image recorded before it.

    Nothing is known of what was meant: records have no boxes. Left out and counted: instructions before the first image,
    and empty or overlong ones. InputError when the recording lacks a topic, or holds another type on it; when a picture
    is looked at, also for one that cannot be converted.
    """
    return Reading(f"recording {path}", partial(_records, Path(path), image, instruction))


def read_dialogs(path: str | Path, image: str = IMAGE, instruction: str = INSTRUCTION,
                 answer: str = "/answer") -> list[list[Utterance]]:
    """What was said in a recording: lists of an instruction and the answers that came before the next one.

    The answer topic may be missing. InputError when another one is, holds another type, or when there is no instruction
    after the first image; what was said before that image is left out.
    """
    dialogs: list[list[Utterance]] = []
    newest = None
    wanted = [(image, (RAW, COMPRESSED)), (instruction, (TEXT,))]
    for topic, _, message in _messages(Path(path), wanted, [(answer, (TEXT,))]):
        if topic == image:
            newest = message
        elif newest is not None and topic == instruction:
            dialogs.append([Utterance(message.data, newest)])
        elif dialogs:
            dialogs[-1].append(Utterance(message.data, newest))
    if not dialogs:
        raise InputError(f"{path} holds no instruction on {instruction} after the first image on {image}")
    return dialogs


def _records(path: Path, image: str, instruction: str, skipped: Counter[str]) -> Iterator[Record]:
    picture = None
    for topic, stamp, message in _messages(path, [(image, (RAW, COMPRESSED)), (instruction, (TEXT,))]):
        name = f"{path}, {topic} at {stamp} ns"
        if topic == image:
            picture = Picture(name, partial(_pixels, message, name))
        elif picture is None:
            skipped["instruction before the first image"] += 1
        elif text := words(message.data):
            yield Record(picture, Prompt(text), f"{instruction}@{stamp}", "recording")
        else:
            skipped["instruction that is empty or too long"] += 1


def _messages(path: Path, wanted: Topics, optional: Topics = ()) -> Iterator[tuple[str, int, object]]:
    """(topic, time of recording in ns, message) of these topics, in the order of time; the optional ones may be missing."""
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise InputError(f"reading {path} needs the rosbags library: pip install rosbags") from error
    if not path.exists():
        raise InputError(f"there is no recording {path}")
    try:
        # Recordings of older ROS 2 releases do not carry the definitions of their messages.
        with AnyReader([path], default_typestore=get_typestore(Stores.LATEST)) as reader:
            _check(path, reader.connections, wanted, optional)
            topics = [c for c in reader.connections if c.topic in dict([*wanted, *optional])]
            for connection, stamp, data in reader.messages(topics):
                yield connection.topic, stamp, reader.deserialize(data, connection.msgtype)
    except InputError:
        raise
    except Exception as error:  # of rosbags, of the storage beneath it, or of the system: damaged bytes raise what they like
        raise InputError(f"{path} is no readable recording: {error}") from error


def _check(path: Path, connections: list, wanted: Topics, optional: Topics) -> None:
    """InputError when a wanted topic is missing, or one has another type."""
    for topic, kinds in [*wanted, *optional]:
        held = {c.msgtype for c in connections if c.topic == topic}
        if not held and (topic, kinds) in wanted:
            listed = ", ".join(sorted(f"{c.topic} ({c.msgtype})" for c in connections)) or "no topics"
            raise InputError(f"{path} has no topic {topic}; it holds {listed}")
        if not held <= set(kinds):
            raise InputError(f"{path}: topic {topic} holds {', '.join(sorted(held))}, needed is {' or '.join(kinds)}")


def _pixels(message: object, name: str) -> np.ndarray:
    """uint8[H, W, 3] RGB of a raw or compressed image message."""
    try:
        return (from_compressed if message.__msgtype__ == COMPRESSED else to_rgb)(message)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
