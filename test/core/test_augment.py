"""Whatever is done to a picture, its labels are done with it: pixels painted where objects are stay in their boxes."""

import numpy as np
import pytest
from tabletop_scenes import scene_of

from clue_ros.data.augment import Window, camera_noise, random_zoom
from clue_ros.tabletop.scene import COLOURS, Scene, SceneObject
from clue_ros.training.base import supervision
from clue_ros.training.vision import dense_target, patch_owner, patches_in
from clue_ros.types import Box

SIZE = 200
SCENE = scene_of(("large", "red", "mug", 0.2, 0.3), ("small", "blue", "ball", 0.7, 0.25), ("large", "white", "can", 0.45, 0.75))
BALL = SceneObject("ball", "blue", "small", (0.5, 0.0, 0.75, 0.5))
CODES = {"red": 60, "blue": 120, "white": 240}


def painted():
    """uint8[SIZE, SIZE, 3] with each object's box in a grey of its own."""
    rgb = np.zeros((SIZE, SIZE, 3), np.uint8)
    for item in SCENE.objects:
        x1, y1, x2, y2 = (round(v * SIZE) for v in item.box)
        rgb[y1:y2, x1:x2] = CODES[item.colour]
    return rgb


def check(rgb, scene):
    """Every object's pixels fill its box, give or take a pixel at the edge, and lie nowhere else."""
    height, width = rgb.shape[:2]
    for item in scene.objects:
        rows, columns = np.nonzero(rgb[..., 0] == CODES[item.colour])
        seen = columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height
        assert seen == pytest.approx(item.box, abs=1.5 / min(width, height))
    assert {int(v) for v in np.unique(rgb)} <= {0, *(CODES[item.colour] for item in scene.objects)} | set(CODES.values())


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_window_of_the_picture_is_that_of_the_scene(mirrored):
    rgb, scene = Window((0.1, 0.15, 0.85, 0.9), mirrored).of(painted(), SCENE)
    assert rgb.shape == (150, 150, 3)
    check(rgb, scene)
    x1, y1, x2, y2 = scene.objects[0].box
    left = pytest.approx(((0.15 - 0.1) / 0.75, (0.25 - 0.1) / 0.75), abs=1e-6)
    assert (1 - x2, 1 - x1) == left if mirrored else (x1, x2) == left


def test_random_windows_keep_every_object():
    for seed in range(40):
        rgb, scene = Window.random(SCENE, np.random.default_rng(seed)).of(painted(), SCENE)
        assert len(scene.objects) == 3
        check(rgb, scene)


def test_a_close_up_keeps_what_is_seen_of_objects_and_of_no_others():
    kept = set()
    for seed in range(60):
        rgb, scene = random_zoom(painted(), SCENE, np.random.default_rng(seed))
        kept.add(len(scene.objects))
        check(rgb, scene)
        assert all(0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1 for x1, y1, x2, y2 in (item.box for item in scene.objects))
        side = rgb.shape[0] / SIZE
        for item in scene.objects:  # all of them are 0.1 wide in the whole picture
            assert Box(*item.box).area > 0.24 * (0.1 / side) ** 2
    assert {1, 2} <= kept


def test_camera_noise_changes_colours_and_no_places():
    rng = np.random.default_rng(0)
    noisy = [camera_noise(painted(), rng) for _ in range(20)]
    assert all(image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8 for image in noisy)
    inside = np.mean([image[52:68, 32:48].mean() - image[150:, :60].mean() for image in noisy])  # the mug; the table
    assert inside > 25 and len({int(image[60, 40, 0]) for image in noisy}) > 5


def test_patches_of_a_wide_box_lie_side_by_side():
    wide = patches_in(Box(0.0, 0.5, 1.0, 0.75), 4)
    assert wide.tolist() == [[False] * 4, [False] * 4, [True] * 4, [False] * 4]


def test_a_patch_belongs_to_the_smaller_of_two_objects_and_says_how_far_its_sides_are():
    mug = SceneObject("mug", "red", "large", (0.0, 0.0, 1.0, 1.0))
    for objects in ((mug, BALL), (BALL, mug)):
        owner = patch_owner(Scene(0, "", objects), 4)
        ball = objects.index(BALL)
        assert owner[0, 2] == owner[1, 2] == ball and (owner == 1 - ball).sum() == 14
    scene = Scene(0, "", objects)
    said = dense_target(scene, owner)
    assert said["owned"].all() and said["colour"].reshape(4, 4)[1, 2] == COLOURS.index("blue")
    assert said["sides"].reshape(4, 4, 4)[0, 2] == pytest.approx((0.125, 0.125, 0.125, 0.375))
    assert said["sides"].reshape(4, 4, 4)[0, 1] == pytest.approx((0.375, 0.125, 0.625, 0.875))  # of the picture that is the mug
    nobody = dense_target(SCENE, patch_owner(SCENE, 4))
    assert (nobody["colour"][~nobody["owned"]] == -100).all() and not nobody["owned"].all()


def test_what_is_meant_is_looked_at_in_equal_shares():
    patches = np.array([[True, True, False, False], [False, False, False, True]])
    boxes = [Box(0, 0, 0.5, 0.5), Box(0.5, 0.5, 1, 1)]
    told = supervision([patches, patches[:1]], [boxes, boxes[:1]])
    assert told["look"].tolist() == [[0.25, 0.25, 0.0, 0.5], [0.5, 0.5, 0.0, 0.0]]
    assert told["referents"].tolist() == [[True, True, False, True], [True, True, False, False]]
    assert told["boxes"][0].tolist() == [[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]] and not told["boxes"][1, 1].any()
