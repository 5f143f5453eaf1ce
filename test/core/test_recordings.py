"""Recordings are written with the library that also reads them, as raw messages would be recorded from a robot."""

import sys

import cv2
import numpy as np
import pytest

from clue_ros.data.recordings import read_dialogs, read_recording
from clue_ros.types import InputError

rosbag2 = pytest.importorskip("rosbags.rosbag2")
typesys = pytest.importorskip("rosbags.typesys")

STORE = typesys.get_typestore(typesys.Stores.LATEST)
IMAGE, COMPRESSED, STRING = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "std_msgs/msg/String"
BLUE = np.full((4, 6, 3), (0, 0, 255), np.uint8)


def header():
    return STORE.types["std_msgs/msg/Header"](STORE.types["builtin_interfaces/msg/Time"](0, 0), "camera")


def raw(rgb=BLUE, encoding="rgb8", padding=0, **change):
    data = np.pad(rgb.reshape(len(rgb), -1), ((0, 0), (0, padding)))
    fields = {"height": rgb.shape[0], "width": rgb.shape[1], "step": data.shape[1]} | change
    return STORE.types[IMAGE](header=header(), encoding=encoding, is_bigendian=0, data=data.ravel(), **fields)


def jpeg(rgb=BLUE):
    return STORE.types[COMPRESSED](header=header(), format="png", data=cv2.imencode(".png", rgb[..., ::-1])[1].ravel())


def said(text):
    return STORE.types[STRING](text)


def record(path, *messages, plugin="SQLITE3"):
    """A bag of (topic, message) or (topic, message, time in ns); the time is the place in the list by default."""
    with rosbag2.Writer(path, version=9, storage_plugin=rosbag2.StoragePlugin[plugin]) as bag:
        connections = {}
        for k, (topic, message, *time) in enumerate(messages):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = bag.add_connection(topic, kind, typestore=STORE)
            bag.write(connections[topic], *(time or [k]), STORE.serialize_cdr(message, kind))
    return path


@pytest.mark.parametrize("plugin", ["SQLITE3", "MCAP"])
def test_an_instruction_is_about_the_newest_image_before_it(tmp_path, plugin):
    bag = record(tmp_path / "bag", ("/instruction", said("too early")), ("/image", raw(BLUE)), ("/other", said("not this")),
                 ("/image", raw(BLUE // 5)), ("/instruction", said(" pick up\nthe mug ")), ("/instruction", said("")),
                 ("/instruction", said("the ball")), ("/image", raw(BLUE // 3)), plugin=plugin)
    reading = read_recording(bag)
    mug, ball = reading
    assert mug.prompt.instruction == "pick up the mug" and ball.prompt.instruction == "the ball"
    assert np.array_equal(mug.picture.frame().rgb, BLUE // 5) and ball.picture is mug.picture
    assert mug.ambiguous is None and not mug.boxes and mug.target is None and mug.id != ball.id
    assert reading.skipped == {"instruction before the first image": 1, "instruction that is empty or too long": 1}


def test_a_single_mcap_file_is_a_recording_too(tmp_path):
    bag = record(tmp_path / "bag", ("/image", raw()), ("/instruction", said("the mug")), plugin="MCAP")
    file, = bag.glob("*.mcap")
    assert [r.prompt.instruction for r in read_recording(file)] == ["the mug"]


def test_time_orders_messages_not_their_place_in_the_file(tmp_path):
    bag = record(tmp_path / "bag", ("/instruction", said("the mug"), 5), ("/image", raw(BLUE // 5), 9), ("/image", raw(), 3))
    only, = read_recording(bag)
    assert np.array_equal(only.picture.frame().rgb, BLUE)


@pytest.mark.parametrize("message", [raw(BLUE[..., ::-1], "bgr8"), raw(padding=5), jpeg(),
                                     raw(np.dstack([BLUE, BLUE[..., :1]]), "rgba8", padding=2)])
def test_every_common_encoding_gives_the_same_pixels(tmp_path, message):
    only, = read_recording(record(tmp_path / "bag", ("/cam", message), ("/say", said("the mug"))), "/cam", "/say")
    assert np.array_equal(only.picture.frame().rgb, BLUE)


@pytest.mark.parametrize("message, sentence", [
    (raw(encoding="8UC3"), "encoding '8UC3' is not supported"), (raw(encoding="rainbow"), "rainbow"),
    (raw(width=7), "7 pixels of rgb8 are 21 bytes a row, its step is 18"), (raw(height=5), "5 rows .* it carries 72"),
    (raw(height=0), "6 x 0 pixels"), (raw(BLUE[:, :, :2], "yuv422", width=5), "5 x 4 pixels.* share their colour"),
    (STORE.types[COMPRESSED](header=header(), format="jpeg", data=np.zeros(9, np.uint8)), "cannot be decoded")])
def test_an_image_that_cannot_be_converted_is_named(tmp_path, message, sentence):
    only, = read_recording(record(tmp_path / "bag", ("/image", message), ("/instruction", said("the mug"))))
    with pytest.raises(InputError, match=rf"bag, /image at 0 ns.*({sentence})"):
        only.picture.frame()


def test_missing_topics_and_wrong_types_are_named_with_what_there_is(tmp_path):
    bag = record(tmp_path / "bag", ("/image", raw()), ("/words", said("the mug")))
    with pytest.raises(InputError, match=rf"no topic /instruction; it holds /image \({IMAGE}\), /words \({STRING}\)"):
        list(read_recording(bag))
    with pytest.raises(InputError, match=rf"topic /words holds {STRING}, needed is {IMAGE} or {COMPRESSED}"):
        list(read_recording(bag, image="/words", instruction="/words"))
    with pytest.raises(InputError, match=rf"topic /image holds {IMAGE}, needed is {STRING}"):
        list(read_recording(bag, image="/image", instruction="/image"))


def test_dialogs_have_their_answers_each_over_the_newest_image(tmp_path):
    bag = record(tmp_path / "bag", ("/answer", said("nobody asked")), ("/instruction", said("too early")),
                 ("/image", raw(BLUE)), ("/instruction", said("the mug")), ("/image", raw(BLUE // 5)),
                 ("/answer", said("the left one")), ("/instruction", said("the ball")))
    mug, ball = read_dialogs(bag)
    assert [[u.text for u in dialog] for dialog in (mug, ball)] == [["the mug", "the left one"], ["the ball"]]
    assert [dialog[-1].image.data[2] for dialog in (mug, ball)] == [51, 51] and mug[0].image.data[2] == 255
    assert mug[0].image.encoding == "rgb8"


def test_dialogs_need_an_instruction_over_an_image_but_no_answers(tmp_path):
    only, = read_dialogs(record(tmp_path / "bag", ("/image", raw()), ("/instruction", said("the mug"))))
    assert len(only) == 1
    with pytest.raises(InputError, match="holds no instruction on /instruction after the first image on /image"):
        read_dialogs(record(tmp_path / "early", ("/instruction", said("the mug")), ("/image", raw())))
    with pytest.raises(InputError, match=rf"topic /answer holds {IMAGE}, needed is {STRING}"):
        read_dialogs(record(tmp_path / "kind", ("/image", raw()), ("/instruction", said("the mug")), ("/answer", raw())))


def test_an_unreadable_recording_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no recording .*gone"):
        list(read_recording(tmp_path / "gone"))
    (tmp_path / "text.mcap").write_text("no recording")
    with pytest.raises(InputError, match="text.mcap is no readable recording"):
        list(read_recording(tmp_path / "text.mcap"))
    with pytest.raises(InputError, match="is no readable recording"):
        list(read_recording(tmp_path))


@pytest.mark.parametrize("plugin", ["SQLITE3", "MCAP"])
def test_a_truncated_recording_is_refused_not_half_read(tmp_path, plugin):
    images = [("/image", raw(np.zeros((60, 80, 3), np.uint8)))] * 9
    bag = record(tmp_path / "bag", *images, ("/instruction", said("the mug")), plugin=plugin)
    file, = (f for f in bag.iterdir() if f.suffix != ".yaml")
    file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    with pytest.raises(InputError, match="is no readable recording"):
        list(read_recording(bag))


def test_a_recording_with_damaged_pages_is_refused_in_a_sentence(tmp_path):
    images = [("/image", raw(np.zeros((60, 80, 3), np.uint8)))] * 9
    bag = record(tmp_path / "bag", *images, ("/instruction", said("the mug")))
    file, = (f for f in bag.iterdir() if f.suffix != ".yaml")
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 3:-len(whole) // 4] = bytes([0xA5]) * len(whole[len(whole) // 3:-len(whole) // 4])
    file.write_bytes(whole)
    with pytest.raises(InputError, match="is no readable recording"):
        list(read_recording(bag))


def test_the_library_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rosbags.highlevel", None)
    with pytest.raises(InputError, match="pip install rosbags"):
        list(read_recording(tmp_path))
