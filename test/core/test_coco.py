"""Instances a class become instructions; what people could argue about is left out and counted."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from damage import damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clue_ros.data.coco import read_coco
from clue_ros.data.readers import Labelled
from clue_ros.types import Box, InputError


def instances(*found, width=100, height=80):
    """A file of one image with (category, bbox, iscrowd) instances; 1: coffee_mug, 2: ball."""
    return {"images": [{"id": 7, "file_name": "7.png", "width": width, "height": height}],
            "annotations": [{"id": k, "image_id": 7, "category_id": category, "bbox": list(box), "iscrowd": crowd, "area": 1}
                            for k, (category, box, crowd) in enumerate(found)],
            "categories": [{"id": 1, "name": "coffee_mug"}, {"id": 2, "name": "ball"}]}


def read(folder, data, **options):
    (folder / "instances.json").write_text(json.dumps(data))
    reading = read_coco(folder / "instances.json", **options)
    return {r.prompt.instruction: r for r in reading}, reading.skipped


def test_one_instance_is_clear_and_several_are_ambiguous(tmp_path):
    records, skipped = read(tmp_path, instances((1, (10, 20, 30, 40), 0), (2, (0, 0, 10, 10), 0), (2, (90, 70, 20, 20), 0)))
    mug, ball = records["pick up the coffee mug"], records["pick up the ball"]
    assert not mug.ambiguous and mug.boxes == (Box(10, 20, 40, 60),) and mug.target == mug.boxes[0]
    assert ball.ambiguous and ball.target is None and ball.boxes == (Box(0, 0, 10, 10), Box(90, 70, 100, 80))  # clipped
    assert not skipped and mug.id == "7/coffee mug"


@pytest.mark.parametrize("box, crowd, reason", [((10, 10, 20, 20), 1, "crowd region"), ((10, 10, 4, 4), 0, "tiny instance"),
                                                ((10, 10, 0, 5), 0, "box without area inside the image"),
                                                ((200, 10, 20, 20), 0, "box without area inside the image"),
                                                ((11, 20, 30, 41), 0, "second box of one instance")])
def test_a_doubtful_instance_leaves_its_class_out_but_not_the_others(tmp_path, box, crowd, reason):
    records, skipped = read(tmp_path, instances((1, (10, 20, 30, 40), 0), (1, box, crowd), (2, (0, 0, 10, 10), 0)))
    assert set(records) == {"pick up the ball"} and skipped == {f"class with a {reason}": 1}


def test_the_bound_for_tiny_instances_is_a_setting(tmp_path):
    records, _ = read(tmp_path, instances((1, (10, 10, 4, 4), 0)), min_share=0.001, instruction="grab the {}")
    assert set(records) == {"grab the coffee mug"}


def test_pictures_lie_beside_the_file_or_in_their_folder(tmp_path):
    (tmp_path / "val").mkdir()
    cv2.imwrite(str(tmp_path / "val" / "7.png"), np.zeros((80, 100, 3), np.uint8))
    records, _ = read(tmp_path, instances((1, (10, 20, 30, 40), 0)), images=tmp_path / "val")
    assert records["pick up the coffee mug"].picture.frame().size == (100, 80)
    labelled = Labelled(tmp_path / "instances.json", "coco", images=tmp_path / "val")  # as a command names it
    assert next(iter(labelled.read())).picture.frame().size == (100, 80)
    with pytest.raises(InputError, match="there is no reader voc: take tabletop, invig, it2p, coco, recording"):
        Labelled("x", "voc")
    with pytest.raises(InputError, match="leave --images out for --reader it2p"):
        replace(labelled, reader="it2p")
    records, _ = read(tmp_path, instances((1, (10, 20, 30, 40), 0)))
    with pytest.raises(InputError, match="7.png is not there"):
        records["pick up the coffee mug"].picture.frame()


def test_an_image_without_objects_is_counted(tmp_path):
    assert read(tmp_path, instances()) == ({}, {"image without an annotated object": 1})


@pytest.mark.parametrize("part, change, sentence", [
    ("annotations", {"bbox": [1, 2, 3]}, r'annotations\[0\]: field "bbox" must be four finite numbers'),
    ("annotations", {"bbox": [1, 2, 3, "4"]}, "must be a number, is '4'"),
    ("annotations", {"image_id": 8}, r"annotations\[0\]: there is no image with the id 8"),
    ("annotations", {"category_id": 3}, r"annotations\[0\]: there is no category with the id 3"),
    ("annotations", {"iscrowd": "no"}, r'annotations\[0\]: field "iscrowd" must be 0 or 1'),
    ("images", {"width": 0}, r"images\[0\]: there is no image of 0 x 80 pixels"),
    ("images", {"file_name": None}, r'images\[0\]: field "file_name" must be text'),
    ("categories", {"id": 2}, r"categories\[1\]: id 2 is already that of .*categories\[0\]"),
    ("categories", {"name": "_"}, r'categories\[0\]: field "name" is empty')])
def test_a_malformed_entry_is_named(tmp_path, part, change, sentence):
    data = instances((1, (10, 20, 30, 40), 0))
    data[part][0] |= change
    with pytest.raises(InputError, match=rf"instances.json, {sentence}" if "[" in sentence else sentence):
        read(tmp_path, data)


def test_a_missing_part_or_place_for_the_class_is_named(tmp_path):
    with pytest.raises(InputError, match='instances.json: field "annotations" is missing'):
        read(tmp_path, {"images": [], "categories": []})
    with pytest.raises(InputError, match="needs {} where"):
        read_coco(tmp_path / "instances.json", instruction="pick it up")


sides = st.integers(-20, 120)
instance = st.tuples(st.sampled_from([1, 2]), st.tuples(sides, sides, sides, sides), st.sampled_from([0, 0, 0, 1]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(instance, max_size=6))
def test_every_class_is_one_true_record_or_is_counted(tmp_path, found):
    records, skipped = read(tmp_path, instances(*found))
    assert len(records) + skipped.total() == (len({category for category, _, _ in found}) or 1)
    for name, record in records.items():
        category = 1 if "mug" in name else 2
        assert len(record.boxes) == sum(c == category for c, _, _ in found) and record.ambiguous == (len(record.boxes) > 1)
        assert all(0 <= b.x1 < b.x2 <= 100 and 0 <= b.y1 < b.y2 <= 80 for b in record.boxes)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged(instances((1, (10, 20, 30, 40), 0), (2, (0, 0, 10, 10), 0))))
def test_a_damaged_file_is_read_or_refused_in_a_sentence(tmp_path, data):
    try:
        records, _ = read(tmp_path, data)
    except InputError as error:
        assert "instances.json" in str(error)
        return
    for record in records.values():
        with pytest.raises(InputError):  # there are no pictures here
            record.picture.frame()


def test_what_is_seen_of_an_instance_decides_whether_it_is_tiny(tmp_path):
    """By default from a quarter of a percent of the picture on: 20 pixels of 100 x 80, here."""
    for box, is_left_out in (((10, 10, 4, 4), True), ((10, 10, 5, 5), False), ((99.8, 10, 40, 40), True)):
        records, _ = read(tmp_path, instances((1, box, 0)))
        assert (records == {}) == is_left_out
