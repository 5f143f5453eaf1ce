"""The adapters learn from the records of other data sets: what is kept of them, what a batch says, and that they do learn."""

import base64
import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch

from clue_ros.cli import train
from clue_ros.cli.common import run
from clue_ros.data.readers import Labelled
from clue_ros.data.records import Part, Picture, Record
from clue_ros.model_folder import load
from clue_ros.training import lessons
from clue_ros.training.adapters import train_ambiguity, train_ivg
from clue_ros.training.configs import CONFIGS
from clue_ros.training.lessons import LessonBatches, keep_lessons, lesson_of
from clue_ros.training.recipes import read_base
from clue_ros.types import Box, InputError, Prompt, Turn

DEBUG = CONFIGS["debug"]
REQUEST, ASKED, REPLY = "give me the cup", "the left one?", "yes"


def invig(folder, count=3):
    """A file of InViG rows: the cup is a red square on grey, somewhere else in each picture; one question was asked."""
    rows = []
    for k in range(count):
        rgb, x, y = np.full((60, 80, 3), 120, np.uint8), 10 + 15 * k, 8 + 10 * k
        rgb[y:y + 20, x:x + 24] = 255, 0, 0
        image = base64.b64encode(cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()).decode()
        dialog = [["", REQUEST], [ASKED, REPLY]]
        rows.append({"ref_list": [{"bbox": [x, y, x + 24, y + 20], "category": "Cup", "dialog": dialog, "id": "r"}],
                     "image_info": {"file_name": f"{k}.png", "height": 60, "id": str(k), "width": 80}, "image": {"bytes": image}})
    file = folder / "train-0.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return Labelled(file, "invig")


def test_pictures_that_cannot_be_read_teach_nothing_and_are_told(tmp_path, caplog):
    data = invig(tmp_path)
    rows = [json.loads(line) for line in data.data.read_text().splitlines()]
    whole = keep_lessons(data, tmp_path / "whole", 64)
    rows[1]["image"]["bytes"] = base64.b64encode(b"cut").decode()
    data.data.write_text("\n".join(map(json.dumps, rows)))
    found = keep_lessons(data, tmp_path / "kept", 64)
    assert [k.picture for k in found] == [0, 0, 1, 1] and [k.example for k in found] == [k.example for k in whole if k.picture != 1]
    assert "left out 2 x record whose picture cannot be read" in caplog.text
    assert len(list((tmp_path / "kept").glob("*.jpg"))) == 2


@pytest.fixture
def batches(trained, tmp_path):
    """Of that file, for the debug base."""
    model, grammar = read_base(trained / "base")
    side = model.config.vision_config.image_size
    found = keep_lessons(invig(tmp_path), tmp_path / "kept", side)
    return LessonBatches(grammar, side, 4, 2, 4, seed=0, lessons=found, folder=tmp_path / "kept")


def test_lessons_are_what_the_records_say_and_are_kept(tmp_path, monkeypatch):
    found = keep_lessons(invig(tmp_path), tmp_path / "kept", 64)
    assert [(k.picture, k.example.question, k.known) for k in found[:3]] == [(0, ASKED, False), (0, None, True), (1, ASKED, False)]
    assert found[1].example.prompt == Prompt(REQUEST, (Turn(ASKED, REPLY),)) and found[1].example.label == "cup"
    assert found[1].example.boxes == (Box(10 / 80, 8 / 60, 34 / 80, 28 / 60),) and not found[0].example.boxes
    small = cv2.imread(str(tmp_path / "kept/0.jpg"))[..., ::-1]
    assert small.shape == (64, 64, 3) and small[18, 17, 0] > 200 > 80 > small[18, 17, 1] and abs(int(small[50, 50, 0]) - 120) < 10
    monkeypatch.setattr(lessons, "_written", None)  # nothing is read again
    assert keep_lessons(invig(tmp_path), tmp_path / "kept", 64) == found


def test_data_that_would_teach_but_one_thing_is_refused(tmp_path, monkeypatch):
    clear = [Record(Picture(str(k), lambda: np.zeros((8, 8, 3), np.uint8)), Prompt(REQUEST), str(k), "some", False, (Box(1, 1, 4, 4),))
             for k in range(2)]
    asking = [dataclasses.replace(record, ambiguous=True, boxes=()) for record in clear]
    for records, only in ((clear, "to point"), (asking, "to ask")):
        monkeypatch.setattr(Labelled, "read", lambda _: records)
        with pytest.raises(InputError, match=f"teaches nothing but {only}: it needs"):
            keep_lessons(Labelled(tmp_path), tmp_path / only, 64)
        assert not (tmp_path / only / "lessons.jsonl").exists()


def test_a_batch_says_what_is_right_to_answer_and_where(batches):
    grammar, seen = batches.grammar, set()
    for step in range(8):
        batch = batches(step)
        assert batch["pixel_values"].shape == (2, 3, batches.side, batches.side) and len(batch["ids"]) == 8
        for k, labels in enumerate(batch["labels"]):
            suffix = [int(i) for i in labels if i >= 0]
            asks = suffix[0] == grammar.clarify
            assert bool(batch["ambiguous"][k]) == asks != bool(batch["known"][k])
            assert grammar.text(suffix if asks else suffix[4:]) == (ASKED if asks else "cup")
            assert bool(batch["look"][k].any()) != asks  # nobody says what else "the cup" may mean
            if not asks:
                y1, x1, y2, x2 = (number - grammar.first_location for number in suffix[:4])
                centre = int((y1 + y2) / 2047 * 4) * 4 + int((x1 + x2) / 2047 * 4)
                red = batch["pixel_values"][k // 4, 0] - batch["pixel_values"][k // 4, 1]  # where the cup is in this very picture
                rows, columns = torch.nonzero(red > red.max() / 2).float().mean(0) / batches.side * 4
                assert int(rows) * 4 + int(columns) == centre
                assert batch["referents"][k, centre] and batch["look"][k].sum() == pytest.approx(1.0)
            seen.add(asks)
    assert seen == {True, False}
    again = batches(3)
    assert all(torch.equal(value, again[key]) for key, value in batches(3).items())


def test_both_adapters_learn_from_dialogs_about_photographs(trained, tmp_path):
    data = invig(tmp_path)
    config = dataclasses.replace(DEBUG["ivg"], loop=dataclasses.replace(DEBUG["ivg"].loop, steps=200, learning_rate=5e-3, log_every=10))
    adapter = train_ivg(config, data, trained / "base", tmp_path / "ivg")
    losses = [json.loads(line)["text"] for line in (tmp_path / "ivg/log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0] - 0.15  # a LoRA has little to work with in a base that was hardly trained
    out = train_ambiguity(DEBUG["ambiguity"], data, trained / "base", adapter, tmp_path / "ambiguity")
    logged = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(line["loss"]) for line in logged) and (out / "detector/model.safetensors").is_file()


def test_by_the_command_line(trained, tmp_path, capsys):
    data = invig(tmp_path).data
    common = ["ivg", "--config", "debug", "--base", str(trained / "base"), "--reader", "invig", "--data"]
    for words, sentence in ((["a", "b"], "reads one data set, 2 were given"), ([str(tmp_path / "none")], "downloads are not allowed")):
        arguments = train.parser().parse_args([*common, *words, "--out", str(tmp_path / "out")])
        with pytest.raises(SystemExit, match=sentence):
            run(lambda: arguments.call(arguments))
    arguments = train.parser().parse_args([*common, str(data), "--out", str(tmp_path / "ivg")])
    run(lambda: arguments.call(arguments))
    assert (tmp_path / "ivg/adapter/adapter_model.safetensors").is_file() and "adapter: " in capsys.readouterr().out
    arguments = train.parser().parse_args(["ambiguity", *common[1:], str(data), "--adapter", str(tmp_path / "ivg/adapter"),
                                           "--validation", str(tmp_path), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="--validation takes pairs of the tabletop: leave it out"):
        run(lambda: arguments.call(arguments))
    assert not (tmp_path / "out").exists()
    assert load(trained, "cpu")  # the base is as it was


@pytest.mark.parametrize("known, question, boxes", [
    ({"ambiguous": None}, None, None), ({"ambiguous": False, "target": (3.0, 4.0)}, None, None),
    ({"ambiguous": True}, "", ()), ({"ambiguous": True, "question": "which?"}, "which?", ()),
    ({"ambiguous": True, "boxes": (Box(0, 0, 8, 5), Box(8, 0, 16, 5))}, "", (Box(0, 0, 0.5, 0.5), Box(0.5, 0, 1, 0.5)))])
def test_what_a_record_teaches(known, question, boxes):
    record = Record(Picture("p", lambda: np.zeros((10, 16, 3), np.uint8)), Prompt("the cup"), "1", "test", **known)
    lesson = lesson_of(record, 5)
    if boxes is None:
        assert lesson is None
    else:
        assert (lesson.picture, lesson.example.question, lesson.example.boxes) == (5, question, boxes)
        assert lesson.known == bool(boxes)


def test_where_nobody_worded_a_question_the_token_alone_is_taught(trained):
    _, grammar = read_base(trained / "base")
    assert grammar.question_suffix("") == (grammar.clarify,)
    bare = grammar.boxes_suffix([Box(0, 0, 0.5, 0.5)], (1, 1), "")
    assert len(bare) == 5 and bare[-1] == grammar.eos


def test_a_data_set_that_teaches_nothing_is_refused(tmp_path):
    nobody = dataclasses.replace(invig(tmp_path), part=next(
        p for n in range(1, 40) if not any((p := Part(n, 40)).holds(f"train-0.jsonl, row {k}") for k in range(3))))
    with pytest.raises(InputError, match="teaches nothing: it needs records"):
        keep_lessons(nobody, tmp_path / "kept", 64)
    assert not (tmp_path / "kept/lessons.jsonl").exists()
