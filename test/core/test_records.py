"""Pictures are decoded when looked at; a record never contradicts itself; what a reader leaves out is counted and said."""

import json

import cv2
import numpy as np
import pytest
from tabletop_scenes import scene_of

from clue_ros.data.it2p import read_commands, read_it2p
from clue_ros.data.readers import Labelled
from clue_ros.data.records import Part, Picture, Reading, Record, draw
from clue_ros.data.tabletop import read_tabletop
from clue_ros.tabletop.scene import Scene, SceneObject, to_json
from clue_ros.types import Box, InputError, Prompt

ONE, OTHER = Box(0, 0, 2, 2), Box(4, 4, 6, 6)
BLOCK = to_json(Scene(2, "1.png", (SceneObject("block", "red", "small", (0.1, 0.1, 0.5, 0.5)),)))
RED = np.full((6, 8, 3), (255, 0, 0), np.uint8)


def png(rgb):
    return cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()


def record(**known):
    return Record(Picture("red", lambda: RED), Prompt("the mug"), "1", "test", **known)


def test_a_picture_is_rgb_and_keyed_by_its_name(tmp_path):
    (tmp_path / "red.png").write_bytes(png(RED))
    for picture in (Picture.of_file(tmp_path / "red.png", (8, 6)), Picture.of_bytes("red", png(RED))):
        frame = picture.frame()
        assert np.array_equal(frame.rgb, RED) and frame.size == (8, 6) and frame.key == picture.name


def test_a_picture_is_read_only_when_it_is_looked_at(tmp_path):
    picture = Picture.of_file(tmp_path / "later.png")
    (tmp_path / "later.png").write_bytes(png(RED))
    assert picture.frame().size == (8, 6)


def test_the_turn_that_exif_asks_for_is_not_taken():
    jpeg = cv2.imencode(".jpg", RED)[1].tobytes()
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"  # turn right
    exif = b"\xff\xe1" + (len(tiff) + 8).to_bytes(2, "big") + b"Exif\x00\x00" + tiff
    turned = jpeg[:2] + exif + jpeg[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (8, 6, 3)
    assert Picture.of_bytes("turned", turned).frame().size == (8, 6)


@pytest.mark.parametrize("data", [b"", b"no image", png(RED)[:20]])
def test_an_unreadable_picture_is_named(tmp_path, data):
    (tmp_path / "bad.png").write_bytes(data)
    with pytest.raises(InputError, match="bad.png is no readable image"):
        Picture.of_file(tmp_path / "bad.png").frame()


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(InputError, match="gone.png is not there: if the pictures lie elsewhere, give their folder"):
        Picture.of_file(tmp_path / "gone.png").frame()


def test_annotations_of_another_size_are_refused():
    with pytest.raises(InputError, match="red is 8 x 6 pixels, its annotations are for 6 x 8"):
        Picture.of_bytes("red", png(RED), (6, 8)).frame()


@pytest.mark.parametrize("known", [
    {"ambiguous": False, "boxes": (ONE, OTHER)}, {"ambiguous": True, "boxes": (ONE,)}, {"boxes": (ONE,)},
    {"ambiguous": False, "boxes": (ONE,), "target": OTHER}, {"ambiguous": False, "question": "which one?"}])
def test_a_record_cannot_contradict_itself(known):
    with pytest.raises(ValueError):
        record(**known)


def test_a_reading_can_be_read_again_and_says_what_it_left_out(caplog):
    def read(skipped):
        skipped["crowd"] += 2
        yield record()
    reading = Reading("test", read)
    for _ in range(2):
        assert len(list(reading)) == 1 and reading.skipped == {"crowd": 2}
    assert caplog.messages == ["test: left out 2 x crowd"] * 2


def test_nothing_left_out_is_no_warning(caplog):
    reading = Reading("test", lambda skipped: iter([record()]))
    assert len(list(reading)) == 1 and not caplog.messages and reading.summary() == "test: left out nothing"


@pytest.fixture
def tabletop(tmp_path):
    """Two red mugs and a ball; a ball alone, about which nothing is ambiguous."""
    mugs = ("large", "red", "mug", 0.2, 0.5), ("large", "red", "mug", 0.8, 0.5)
    scenes = [scene_of(*mugs, ("large", "blue", "ball", 0.5, 0.2)), scene_of(("large", "red", "ball", 0.5, 0.5))]
    lines = [json.loads(to_json(s)) | {"id": k, "image": f"{k}.png"} for k, s in enumerate(scenes)]
    (tmp_path / "scenes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for k in range(2):
        (tmp_path / f"{k}.png").write_bytes(png(np.full((48, 64, 3), 40 * k, np.uint8)))
    return tmp_path


def test_the_seed_draws_the_words(tabletop):
    said = [[r.prompt.instruction for r in Labelled(tabletop, seed=seed).read()] for seed in range(8)]
    assert said[0] == [r.prompt.instruction for r in Labelled(tabletop).read()] and len({tuple(words) for words in said}) > 1


def test_tabletop_records_have_boxes_in_pixels_of_their_picture(tabletop):
    reading = read_tabletop(tabletop, seed=3)
    records = list(reading)
    assert [r.ambiguous for r in records] == [False, True, False]
    assert reading.skipped == {"scene without an instruction that is ambiguous": 1}
    clear, doubtful, alone = records
    assert doubtful.question and doubtful.target is None and clear.target == clear.boxes[0]
    assert alone.boxes[0] == pytest.approx(Box(0.45 * 64, 0.45 * 48, 0.55 * 64, 0.55 * 48))
    assert (alone.picture.frame().rgb == 40).all() and alone.picture.frame().size == (64, 48)
    assert [r.prompt for r in read_tabletop(tabletop, seed=3)] == [r.prompt for r in records]


@pytest.mark.parametrize("line", ["{", "{}", "[]", '{"id": 1, "image": "1.png", "objects": 3}',
                                  '{"id": 1, "image": "1.png", "objects": [{"shape": "mug"}]}',
                                  '{"id": 1, "image": "1.png", "objects": []}',
                                  *(BLOCK.replace(*change) for change in (("red", "pink"), ("0.5", "NaN"), ("0.1", "0.9"),
                                                                          ('"pair":null', '"pair":-1')))])
def test_a_line_that_is_no_scene_is_named(tabletop, line):
    with (tabletop / "scenes.jsonl").open("a") as file:
        file.write("\n" + line + "\n")
    with pytest.raises(InputError, match="scenes.jsonl, line 3 is no scene"):
        list(read_tabletop(tabletop))


def test_a_rendered_picture_that_is_damaged_is_left_out_or_named(tabletop):
    whole, picture = list(read_tabletop(tabletop)), tabletop / "1.png"
    picture.write_bytes(picture.read_bytes()[:60])  # its size is known, not its pixels
    cut = list(read_tabletop(tabletop))
    assert [record.boxes for record in cut] == [record.boxes for record in whole]
    with pytest.raises(InputError, match="scene 1 is no readable image"):
        [record.picture.frame() for record in cut]
    picture.write_bytes(b"no image")
    reading = read_tabletop(tabletop)
    assert 0 < len(list(reading)) < len(whole) and reading.skipped["scene whose picture cannot be read"] == 1


@pytest.fixture
def it2p(tmp_path):
    for name, text in (("commands/0002.txt", "3 4 pick up the red block\n5 1 the left block\n\n5 1 the left block\n"),
                       ("ambiguous/0002.txt", "the left block\nthe block\n"), ("commands/0004.txt", "1 2 the block\n")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "images").mkdir()
    for name in ("0002", "0004"):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(cv2.imencode(".jpg", RED)[1].tobytes())
    return tmp_path


def test_it2p_records_point_at_clear_targets(it2p):
    reading = read_it2p(it2p)
    assert [(r.prompt.instruction, r.target, r.ambiguous) for r in reading] == [
        ("pick up the red block", (3, 4), False), ("the block", None, True), ("the block", (1, 2), False)]
    assert reading.skipped == {"line of a command that is both clear and ambiguous": 3}
    assert len({r.id for r in reading}) == 3 and all(r.picture.frame().size == (8, 6) and not r.boxes for r in reading)
    assert [c.text for c in read_commands(it2p)] == [r.prompt.instruction for r in reading]


@pytest.mark.parametrize("line", ["3 4", "x 4 the red block", "nan 4 the red block"])
def test_a_line_that_is_no_command_is_named(it2p, line):
    (it2p / "commands/0004.txt").write_text(f"1 2 the block\n{line}\n")
    with pytest.raises(InputError, match="0004.txt, line 2"):
        list(read_it2p(it2p))


def test_a_folder_that_is_no_it2p_data_set_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no IT2P data set"):
        list(read_it2p(tmp_path))


def test_a_limit_draws_anywhere_and_keeps_the_order():
    drawn = [draw(range(20), np.random.default_rng(seed), 5) for seed in range(30)]
    assert all(some == sorted(set(some)) and len(some) == 5 for some in drawn) and set().union(*drawn) == set(range(20))
    assert draw(range(4), np.random.default_rng(0), None) == [0, 1, 2, 3]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0", "half", "1/2/3"])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="give one such as 1/2 or 2/2"):
        Part.parse(text)
