"""InViG dialogs, in the format of the Hugging Face hub, turn by turn."""

import base64
import json
import sys

import cv2
import numpy as np
import pytest
from damage import damaged
from hypothesis import HealthCheck, given, settings

from clue_ros.data.invig import _hub_rows, _local_rows, read_invig
from clue_ros.types import Box, InputError, Turn

PHOTO = cv2.imencode(".jpg", np.full((60, 80, 3), 90, np.uint8))[1].tobytes()
DIALOG = [["", "can you give me a bottle?"], ["which one do you want?", "the green one."],
          ["is it the one on the left?", "no, it is behind the cup."], ["ok, I see.", ""]]


def row(dialog=DIALOG, bbox=(10.0, 20.0, 30.5, 50.0), name="a1"):
    chinese = [["", "能给我一个瓶子吗？"], ["你要哪一个？", "绿色的"]]
    return {"ref_list": [{"bbox": list(bbox), "category": "Bottle", "dialog": dialog, "dialog_cn": chinese, "id": "r1"}],
            "image_info": {"file_name": f"openimages/{name}.jpg", "height": 60, "id": name, "width": 80},
            "image": {"bytes": base64.b64encode(PHOTO).decode(), "path": None}}


def write(folder, *rows, name="test-00000-of-00001.jsonl"):
    (folder / name).write_text("\n".join(map(json.dumps, rows)) if name.endswith("l") else json.dumps(rows))
    return folder / name


def test_every_question_is_a_record_and_the_last_has_the_box(tmp_path):
    reading = read_invig(write(tmp_path, row()))
    first, second, last = reading
    assert first.prompt.instruction == "can you give me a bottle?" and not first.prompt.turns
    assert second.prompt.turns == (Turn("which one do you want?", "the green one."),)
    assert [r.question for r in (first, second, last)] == ["which one do you want?", "is it the one on the left?", None]
    assert [r.ambiguous for r in (first, second, last)] == [True, True, False]
    assert [len(r.boxes) for r in (first, second, last)] == [0, 0, 1] and last.boxes == (Box(10, 20, 30.5, 50),)
    assert {r.target for r in (first, second, last)} == {last.boxes[0]} and len(last.prompt.turns) == 2
    assert [r.id for r in (first, second, last)] == ["a1/r1/0", "a1/r1/1", "a1/r1/2"]
    assert last.picture.frame().size == (80, 60) and reading.skipped == {"closing remark, no question": 1}


def test_a_box_in_fractions_of_the_image_is_the_same_box(tmp_path):
    *_, last = read_invig(write(tmp_path, row(bbox=(10 / 80, 20 / 60, 30.5 / 80, 50 / 60))))
    assert last.boxes[0].iou(Box(10, 20, 30.5, 50)) > 0.999
    *_, last = read_invig(write(tmp_path, row(bbox=(0.0, 0.0, 1.0, 1.0))))
    assert last.boxes[0] == Box(0, 0, 80, 60)


def test_a_closing_remark_with_a_reply_stays_in_the_dialog(tmp_path):
    records = list(read_invig(write(tmp_path, row([["", "a cup"], ["you mean the left one.", "the right one"]]))))
    assert [r.question for r in records] == [None]
    assert records[0].prompt.turns == (Turn("you mean the left one.", "the right one"),)
    assert [r.question for r in read_invig(write(tmp_path, row([["", "a cup"], ["which?", "that"], ["so this one.", "yes"],
                                                                ["ok", ""]])))] == ["which?", None]


def test_a_request_that_needed_no_question_is_clear(tmp_path):
    only, = read_invig(write(tmp_path, row([["", "the red cup"]])))
    assert not only.ambiguous and only.prompt.instruction == "the red cup" and only.boxes


def test_the_chinese_dialog_is_a_field_away(tmp_path):
    first, last = read_invig(write(tmp_path, row()), dialog="dialog_cn")
    assert first.question == "你要哪一个？" and last.prompt.turns == (Turn("你要哪一个？", "绿色的"),)


@pytest.mark.parametrize("change, reason", [
    ({"bbox": (90, 10, 95, 20)}, "dialog whose box has no area inside the image"),
    ({"bbox": (30, 10, 20, 20)}, "dialog whose box has no area inside the image"),
    ({"dialog": [["", " "], ["which?", "that"]]}, "dialog with a text that is empty or too long"),
    ({"dialog": [["", "a cup"], ["which?", ""]]}, "dialog with a text that is empty or too long"),
    ({"dialog": [["", "a" * 1001]]}, "dialog with a text that is empty or too long")])
def test_an_unusable_dialog_is_left_out_and_counted(tmp_path, change, reason):
    reading = read_invig(write(tmp_path, row(**change), row()))
    assert len(list(reading)) == 3 and reading.skipped[reason] == 1


def test_a_split_is_read_from_a_folder_and_pictures_from_their_files(tmp_path):
    (tmp_path / "data").mkdir()
    bare = {k: v for k, v in row().items() if k != "image"}
    write(tmp_path / "data", bare, name="validation-0.json")
    write(tmp_path / "data", row([["", "the cup"]]), name="train-0.json")
    records = list(read_invig(tmp_path, "validation", images=tmp_path / "photos"))
    assert len(records) == 3
    with pytest.raises(InputError, match="openimages/a1.jpg is not there"):
        records[0].picture.frame()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a1.jpg").write_bytes(PHOTO)
    assert next(iter(read_invig(tmp_path, "validation", images=tmp_path / "photos"))).picture.frame().size == (80, 60)
    (tmp_path / "all" / "images").mkdir(parents=True)
    (tmp_path / "photos" / "a1.jpg").rename(tmp_path / "all" / "images" / "a1.jpg")
    assert next(iter(read_invig(tmp_path, "validation", images=tmp_path / "all"))).picture.frame().size == (80, 60)


def test_splits_are_never_mixed(tmp_path):
    for name in ("train-0.json", "validation-0.json", "test-0.json"):
        write(tmp_path, row([["", "the cup"]]), name=name)
    with pytest.raises(InputError, match="holds files of train and validation and test: say which"):
        list(read_invig(tmp_path))
    write(tmp_path, row([["", "a hat"]]), name="pretrain-0.json")
    assert {record.prompt.instruction for record in read_invig(tmp_path, "train")} == {"the cup"}
    with pytest.raises(InputError, match="train-0.json is a file, which is read whole"):
        list(read_invig(tmp_path / "train-0.json", "test"))


def test_a_split_may_be_a_folder(tmp_path):
    for k, name in enumerate(("train", "test")):  # as the hub converts data sets to Parquet
        (tmp_path / "default" / name).mkdir(parents=True)
        write(tmp_path / "default" / name, *[row([["", "the cup"]])] * (k + 1), name="0000.json")
    assert [len(list(read_invig(tmp_path, name))) for name in ("train", "test")] == [1, 2]
    with pytest.raises(InputError, match="holds files of train and test: say which"):
        list(read_invig(tmp_path))


def test_an_empty_folder_and_an_unknown_split_are_named(tmp_path):
    with pytest.raises(InputError, match=r"holds no .parquet or .jsonl or .json file of the split test"):
        list(read_invig(tmp_path, "test"))


@pytest.mark.parametrize("change, sentence", [
    (lambda r: r["ref_list"][0].update(bbox=[1, 2, 3]), r'line 2, ref_list\[0\]: field "bbox" must be four finite numbers'),
    (lambda r: r["ref_list"][0].update(dialog=[["a cup", "which one?"]]), r'field "dialog"\[0\] must be \["", request\]'),
    (lambda r: r["ref_list"][0].update(dialog=[["", "a cup"], ["which?"]]), r'field "dialog"\[1\] must be a pair'),
    (lambda r: r["ref_list"][0].pop("dialog"), r'ref_list\[0\]: field "dialog" is missing'),
    (lambda r: r["image_info"].update(width="80"), 'line 2, image_info: field "width" must be a whole number'),
    (lambda r: r["image"].update(bytes="not base64!"), 'line 2, image: field "bytes" is no base64'),
    (lambda r: r["image"].update(bytes="é"), 'line 2, image: field "bytes" is no base64'),
    (lambda r: r["image"].update(bytes=[1]), 'line 2, image: field "bytes" must be text'),
    (lambda r: r["image"].update(bytes=None, path=3), 'line 2, image: field "path" must be text'),
    (lambda r: r.update(image="a.jpg"), 'field "image" must be an object')])
def test_a_malformed_row_is_named(tmp_path, change, sentence):
    bad = row()
    change(bad)
    with pytest.raises(InputError, match=sentence):
        list(read_invig(write(tmp_path, row(), bad)))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged(row()))
def test_a_damaged_row_is_read_or_refused_in_a_sentence(tmp_path, damaged_row):
    try:
        records = list(read_invig(write(tmp_path, damaged_row)))
    except InputError as error:
        assert "test-00000-of-00001.jsonl, line 1" in str(error)
        return
    for record in records:
        try:
            assert record.picture.frame().size == (80, 60)
        except InputError as error:  # bytes that are no image, a size that is not its own, a file that is not there
            assert str(error).startswith(str(tmp_path))


def test_a_download_must_be_allowed_and_says_what_it_needs(monkeypatch):
    with pytest.raises(InputError, match="downloads are not allowed"):
        list(read_invig("jxu124/invig", "validation"))
    with pytest.raises(InputError, match="say which split"):
        list(read_invig("jxu124/invig", allow_download=True))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="pip install datasets"):
        list(read_invig("jxu124/invig", "validation", allow_download=True))


def test_parquet_needs_a_library_and_names_it(tmp_path, monkeypatch):
    (tmp_path / "test-0.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match="pip install pyarrow"):
        list(read_invig(tmp_path, "test"))


def written_as_parquet(folder):
    """The file of 20 rows as the hub has them."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet
    rows = [row(name=f"a{k}") | {"image": {"bytes": PHOTO, "path": f"a{k}.jpg"}} for k in range(20)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "test-0.parquet")


def test_the_hubs_own_library_gives_the_same_rows(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    written_as_parquet(tmp_path / "data")
    there, here = (list(rows) for rows in (_hub_rows(str(tmp_path / "data"), "test", True), _local_rows(tmp_path / "data", "test")))
    assert len(there) == 20 and [found[1] for found in there] == [found[1] for found in here]
    assert there[3][0] == f"{tmp_path / 'data'}, test row 3"


def test_parquet_gives_the_same_records_as_json(tmp_path):
    written_as_parquet(tmp_path)
    records = list(read_invig(tmp_path, "test"))
    again = list(read_invig(write(tmp_path, *(row(name=f"a{k}") for k in range(20)))))
    known = lambda r: (r.id, r.prompt, r.boxes, r.target, r.question)  # noqa: E731
    assert list(map(known, records)) == list(map(known, again)) and len(records) == 60
    assert np.array_equal(records[0].picture.frame().rgb, again[0].picture.frame().rgb)
    (tmp_path / "test-0.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match="test-0.parquet is no readable Parquet file"):
        list(read_invig(tmp_path, "test"))
