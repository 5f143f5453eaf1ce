"""A model folder is calibrated in place, on any labelled data set: with the embedded model and the demo's pictures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from clue_ros.data.readers import Labelled
from clue_ros.data.records import Part, Reading
from clue_ros.data.scenes import SceneImages
from clue_ros.detector.calibration import Calibration
from clue_ros.evaluation import predictions
from clue_ros.evaluation.calibrate import calibrate
from clue_ros.evaluation.records import _drawn, records, write_predictions
from clue_ros.files import replacing
from clue_ros.model_folder import embedded, load
from clue_ros.tabletop.scene import read_scenes
from clue_ros.types import InputError

@pytest.fixture
def model(tmp_path):
    """A copy of the embedded model, whose detector may be changed."""
    return shutil.copytree(embedded(), tmp_path / "model")


@pytest.fixture
def instances(scenes):
    """The same as a COCO file of 640 x 480 pixels, the colour and the shape of each object its class."""
    found, classes = read_scenes(scenes), []
    annotations = []
    for scene in found:
        for n, item in enumerate(scene.objects):
            name = f"{item.colour} {item.shape}"
            classes += [name] if name not in classes else []
            x1, y1, x2, y2 = item.box
            annotations.append({"id": 100 * scene.id + n, "image_id": scene.id, "category_id": classes.index(name), "iscrowd": 0,
                                "bbox": [x1 * 640, y1 * 480, (x2 - x1) * 640, (y2 - y1) * 480]})
    images = [{"id": s.id, "file_name": s.image, "width": 640, "height": 480} for s in found]
    file = scenes / "instances.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations,
                                "categories": [{"id": k, "name": name} for k, name in enumerate(classes)]}))
    return file


def test_calibrating_twice_changes_nothing(model, scenes):
    """It starts from the CNN's own logits, not from the calibrated P."""
    def said_and_written():
        said = calibrate(model, [Labelled(scenes)])
        return said, *((model / "detector" / name).read_text() for name in ("config.json", "calibration.json"))
    before = (model / "detector" / "calibration.json").read_text()
    first = said_and_written()
    assert "calibrated on 6 prompts of pairs" in first[0] and first[2] != before
    assert said_and_written() == first
    made = Calibration.read(model / "detector")
    assert json.loads(first[1])["threshold"] == made.threshold() == load(model, "cpu").threshold
    assert load(model, "cpu").calibration.data == "6 prompts of pairs, seed 0"


def test_weights_that_another_program_wrote_stay_as_they_are(model, scenes):
    weights = model / "detector" / "model.safetensors"
    save_file(load_file(weights), weights)  # the same numbers in other bytes
    written = weights.read_bytes()
    calibrate(model, [Labelled(scenes)])
    assert weights.read_bytes() == written
    load(model, "cpu")  # whose calibration is of these weights


def test_a_stop_while_it_is_written_leaves_a_whole_model(model, scenes, monkeypatch):
    remove, rename = shutil.rmtree, Path.rename

    def stop(path, **options):
        if Path(path).name == "detector.old" and Path(path).exists():
            raise KeyboardInterrupt
        remove(path, **options)

    def refuse(path, target):
        if path.name == "detector.part":
            raise OSError("no room")
        return rename(path, target)
    for name, trick, error in (("shutil.rmtree", stop, KeyboardInterrupt), ("pathlib.Path.rename", refuse, OSError)):
        with monkeypatch.context() as patch, pytest.raises(error):
            patch.setattr(name, trick)
            calibrate(model, [Labelled(scenes)])
        load(model, "cpu")
    calibrate(model, [Labelled(scenes)])
    assert load(model, "cpu").calibration.data == "6 prompts of pairs, seed 0"
    assert sorted(path.name for path in model.iterdir()) == sorted(path.name for path in embedded().iterdir())


def test_a_model_whose_calibration_was_killed_between_the_two_is_read_all_the_same(model):
    (model / "detector").rename(model / "detector.old")
    load(model, "cpu")
    assert (model / "detector").is_dir() and not (model / "detector.old").exists()
    (model / "detector").rename(model.parent / "elsewhere.old")
    (model / "detector").symlink_to(model.parent / "elsewhere")
    load(model, "cpu")
    assert (model.parent / "elsewhere").is_dir() and (model / "detector").is_symlink()


def test_a_calibration_says_in_what_numbers_it_was_made(model, scenes):
    calibrate(model, [Labelled(scenes)], device="cpu", dtype="bfloat16")
    assert load(model, "cpu").calibration.data == "6 prompts of pairs, seed 0, in bfloat16"


def test_two_data_sets_are_calibrated_on_as_one(model, scenes):
    said = calibrate(model, [Labelled(scenes)] * 2)
    kept = load(model, "cpu").calibration
    assert "calibrated on 12 prompts of pairs and pairs" in said
    assert max(kept.group) == 5 and [kept.group.count(k) for k in range(6)] == [2] * 6  # a pair of one is none of the other


def test_a_photographers_data_set_is_scored_and_calibrated_on(model, instances):
    table = records(load(model, "cpu"), Labelled(instances, "coco"))
    assert table["clear prompts: right object"].value > 0.7  # the demo's pictures are some that it solves
    assert table["ambiguity AUROC"].value > 0.9
    assert table["ambiguity AUROC"].count == table["clear prompts: right object"].count + 3
    log = instances.with_name("log.jsonl")
    assert write_predictions(load(model, "cpu"), Labelled(instances, "coco"), log) == table["ambiguity AUROC"].count
    logged = predictions.score(predictions.read_predictions(log))
    assert logged["ambiguity AUROC"].value == table["ambiguity AUROC"].value
    assert logged["Acc@0.5 (IoU >= 0.5)"].value == table["clear prompts: right object"].value
    assert "calibrated on" in calibrate(model, [Labelled(instances, "coco")])
    assert load(model, "cpu").calibration.data.endswith(" prompts of instances.json, seed 0")


def test_words_that_are_more_than_the_model_can_read_are_left_out_and_told(model, instances, caplog):
    record = json.loads(instances.read_text())
    record["categories"][0]["name"] = "碗" * 300
    file = instances.with_name("long.json")
    file.write_text(json.dumps(record))
    clue, every, others = load(model, "cpu"), len(list(Labelled(instances, "coco").read())), instances.with_name("log.jsonl")
    written = write_predictions(clue, Labelled(file, "coco"), others)
    assert 0 < written < every and f"left out {every - written} prompts that cannot be used, the first " in caplog.text
    assert "碗" not in others.read_text()


def test_a_picture_that_cannot_be_read_is_left_out_and_told(model, instances, caplog):
    record, data, log = json.loads(instances.read_text()), Labelled(instances, "coco"), instances.with_name("log.jsonl")
    clue, every = load(model, "cpu"), len(list(data.read()))
    pictures = [instances.parent / image["file_name"] for image in record["images"]]
    pictures[0].write_bytes(pictures[0].read_bytes()[:100])
    written = write_predictions(clue, data, log)
    assert 0 < written < every and f"left out {every - written} prompts that cannot be used" in caplog.text
    assert pictures[0].name in caplog.text and pictures[0].name not in log.read_text()
    for picture in pictures[1:]:
        picture.write_bytes(b"")
    with pytest.raises(InputError, match=f"none of {every} prompts can be used, the first .*{pictures[0].name} is no readable image"):
        write_predictions(clue, data, log)
    assert log.read_text()  # what was there stays


def test_a_log_takes_the_place_of_no_folder(model, instances, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("dear")
    for out in (tmp_path / "mine", Path(".")):
        with pytest.raises(InputError, match="is a folder: give the name of a file"):
            write_predictions(load(model, "cpu"), Labelled(instances, "coco"), out)
    with pytest.raises(InputError, match="is a folder"), replacing(tmp_path / "mine") as part:
        part.write_text("a file")
    assert (tmp_path / "mine/notes.txt").read_text() == "dear" and not list(tmp_path.glob("*.part*"))


def test_prompts_of_one_kind_are_nothing_to_calibrate_on(model, instances):
    record = json.loads(instances.read_text())
    first = {(a["image_id"], a["category_id"]): a for a in reversed(record["annotations"])}
    instances.write_text(json.dumps(record | {"annotations": list(first.values())}))
    with pytest.raises(InputError, match="is not calibrated on .*instances.json: both clear and ambiguous prompts are needed"):
        calibrate(model, [Labelled(instances, "coco")])


@pytest.mark.parametrize("damaged", ["{", '{"data": "x", "probability": [0.5], "wrong": [0]}'])
def test_a_calibration_that_cannot_be_read_is_made_anew(model, scenes, damaged):
    (model / "detector" / "calibration.json").write_text(damaged)
    with pytest.raises(RuntimeError, match="calibration.json cannot be read: `clue-train calibrate` makes it"):
        load(model, "cpu")
    calibrate(model, [Labelled(scenes)])
    assert load(model, "cpu").calibration.risk == 0.05


def test_options_of_another_reader_are_refused_before_anything_is_looked_at(model, scenes):
    with pytest.raises(InputError, match="a split and downloads are InViG's"):
        calibrate(model, [Labelled(scenes, split="test")])


def test_there_is_no_such_model(scenes):
    with pytest.raises(RuntimeError, match="no model folder nowhere"):
        calibrate("nowhere", [Labelled(scenes)])


def test_two_parts_share_no_picture(instances):
    names = [{r.picture.name for r in Labelled(instances, "coco").read() if Part(n, 2).holds(r.picture.name)} for n in (1, 2)]
    assert all(names) and not names[0] & names[1]
    assert names[0] | names[1] == {r.picture.name for r in Labelled(instances, "coco").read()}
    with pytest.raises(InputError, match="part 3/2: give one such as 1/2"):
        Part.parse("3/2")


def test_parts_of_a_tabletop_cut_no_pair_and_do_not_depend_on_the_folders_name(scenes, tmp_path):
    shutil.copytree(scenes, tmp_path / "elsewhere")
    source, moved = SceneImages(scenes), SceneImages(tmp_path / "elsewhere")
    groups = [source.picture(k).group for k in range(len(source))]
    assert groups == [moved.picture(k).group for k in range(len(moved))] and source.twins
    for full, fewer in source.twins:
        assert groups[full] == groups[fewer]
    assert {record.picture.group for record in Labelled(scenes).read()} <= set(groups)


def test_a_data_set_that_lacks_lines_is_refused_and_one_that_was_cut_short_is_read(scenes):
    file, count = scenes / "scenes.jsonl", len(SceneImages(scenes))
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-1]))
    cut = SceneImages(scenes)
    assert len(cut) == count - 1 and all(pair < len(cut) for pair in (s.pair for s in cut.scenes) if pair is not None)
    file.write_text("\n".join(lines[:1] + lines[2:]))
    with pytest.raises(InputError, match="scenes.jsonl: scene 2 stands where scene 1 should"):
        SceneImages(scenes)


def test_what_is_not_drawn_from_is_read_once(instances, monkeypatch):
    passes, read = [], Reading.__iter__
    monkeypatch.setattr(Reading, "count", lambda self, keep: passes.append("count") or sum(map(keep, self)))
    monkeypatch.setattr(Reading, "__iter__", lambda self: passes.append("pass") or read(self))
    whole = list(_drawn(Labelled(instances, "coco"), np.random.default_rng(0), None, lambda record: True))
    assert passes == ["pass"] and len(whole) > 3
    some = list(_drawn(Labelled(instances, "coco"), np.random.default_rng(0), 3, lambda record: True))
    assert passes == ["pass", "count", "pass", "pass"] and {r.id for r in some} < {r.id for r in whole} and len(some) == 3


def test_a_split_is_invigs_alone(scenes):
    with pytest.raises(InputError, match="leave them out for --reader coco"):
        Labelled(scenes, "coco", split="test").read()


def test_what_the_model_says_of_a_recording_is_logged(tmp_path):
    recording = Path(__file__).parents[2] / "examples" / "recording"
    clue, log = load(embedded(), "cpu"), tmp_path / "log.jsonl"
    count = write_predictions(clue, Labelled(recording, "recording", topics=("/image/compressed", "/instruction")), log)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == count > 1
    for line in lines:
        assert (line["question"] is not None) == (line["probability"] >= clue.threshold) and not {"ambiguous", "gt_bbox"} & line.keys()
        x1, y1, x2, y2 = line["bbox"]
        assert x1 < x2 and y1 < y2
    with pytest.raises(InputError, match="has no topic /words; it holds /answer"):
        write_predictions(clue, Labelled(recording, "recording", topics=("/image/compressed", "/words")), tmp_path / "other.jsonl")
    assert not (tmp_path / "other.jsonl").exists()


def test_the_embedded_model_itself_stays_as_it_is(scenes):
    with pytest.raises(InputError, match="tabletop is the embedded model, .* calibrate the copy"):
        calibrate("tabletop", [Labelled(scenes)])
