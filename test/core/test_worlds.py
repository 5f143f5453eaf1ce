"""Worlds, meshes and data sets of the tabletop: what is drawn, from what, and how it is kept."""

import dataclasses
import json

import numpy as np
import pytest

from clue_ros.cli.tabletop import main
from clue_ros.data.scenes import SceneImages
from clue_ros.tabletop import dataset, families, meshes
from clue_ros.tabletop.render import Pose
from clue_ros.tabletop.scene import Scene, SceneObject, from_json, to_json
from clue_ros.tabletop.world import ASPECTS, World, unseen_world
from clue_ros.types import InputError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("world", [World(), World(varied=True)], ids=["alike", "varied"])
def test_rendered_boxes_hold_their_objects_pixels(world):
    from clue_ros.tabletop.render import Renderer, RenderingUnavailable  # first: it chooses MuJoCo's kind of OpenGL
    pytest.importorskip("mujoco")
    try:
        renderer = Renderer(world)
    except RenderingUnavailable as error:
        pytest.skip(str(error))
    rng, drawn = np.random.default_rng(3), None
    while drawn is None:
        poses = renderer.sample(rng)
        drawn = renderer.draw(poses) if len(poses) > 1 else None
    rgb, scene = drawn
    assert rgb.shape == (192, 256, 3) and rgb.dtype == np.uint8 and len(scene.objects) == len(poses)
    without, _ = renderer.draw(poses[1:])
    changed = np.abs(rgb.astype(int) - without).max(-1) > 40  # the first object's pixels, and its shadow's
    x1, y1, x2, y2 = (round(v * s) for v, s in zip(scene.objects[0].box, (256, 192, 256, 192)))
    assert changed[y1:y2, x1:x2].mean() > 0.3
    again, same = renderer.draw(poses)
    assert np.array_equal(again, rgb) and same == scene
    # Of several samples a pixel's label would be a mean, and so some third object's: seen on GPUs, where boxes grew by half the picture.
    assert renderer.labels._mjr_context.offSamples == 0 < renderer.colour._mjr_context.offSamples
    renderer.close()


def test_proportions_vary_and_the_foot_stays_on_the_table():
    vertices, _ = meshes.mug()
    other = meshes.reshaped(vertices, 1.1, 0.9, 1.2)
    assert other[:, 2].min() == vertices[:, 2].min() == 0
    assert other[:, 2].max() == pytest.approx(0.9 * vertices[:, 2].max())
    assert np.allclose(meshes.reshaped(vertices, 1, 1, 1), vertices)


@pytest.mark.parametrize("shape", families.FAMILIES)
def test_members_of_a_family_differ_and_stand_on_the_table(shape):
    rng = np.random.default_rng(1)
    members = [families.FAMILIES[shape](rng) for _ in range(50)]
    for member in members:
        (vertices, faces), own = member[0]
        assert vertices[:, 2].min() == pytest.approx(0, abs=1e-9) and faces.max() == len(vertices) - 1
        assert own is None  # the first part takes the object's colour
        assert 0.028 <= np.ptp(vertices[:, 1]) <= 0.086  # metres: no large one as small as a small one
    assert len({round(np.ptp(member[0][0][0][:, 2]), 6) for member in members}) > 40


def test_no_member_of_a_family_is_like_an_unseen_mesh():
    rng = np.random.default_rng(2)
    for _ in range(100):
        (block, _), _ = families.a_block(rng)[0]
        long, deep, high = sorted(np.ptp(block, axis=0), reverse=True)
        assert high > 0.6 * long  # the unseen brick: 0.5
        (ball, _), _ = families.a_ball(rng)[0]
        assert np.ptp(ball[:, 2]) < 1.25 * 2 * np.hypot(ball[:, 0], ball[:, 1]).max()  # the unseen ball: 1.4
        (can, _), _ = families.a_can(rng)[0]
        assert np.ptp(can[:, 2]) < 2 * np.ptp(can[:, 1])  # the unseen can: 2.2
        (bottle, _), _ = families.a_bottle(rng)[0]
        radii = np.hypot(bottle[:, 0], bottle[:, 1])
        widest = bottle[radii.argmax(), 2]
        assert widest == 0 or widest > 0.4 * np.ptp(bottle[:, 2])  # at its foot, or a high shoulder: no belly (the unseen one: 0.3)
        (bowl, _), _ = families.a_bowl(rng)[0]
        radii = np.hypot(bowl[:, 0], bowl[:, 1])  # the first part has no inside
        outer = bowl[:np.flatnonzero(bowl[:, 2] == bowl[:, 2].max())[0] + 1]
        wall, outward = outer[radii[:len(outer)] > 1e-3], radii[:len(outer)][radii[:len(outer)] > 1e-3]
        straight = np.interp(wall[:, 2], [0, wall[-1, 2]], [outward[0], outward[-1]])
        assert np.abs(outward - straight).max() > 0.06 * outward[-1]  # the unseen bowl: 0


@pytest.mark.parametrize("option, words", (
    (["--proportions", "0.9"], "proportions vary by a share between 0 and 0.4, not by 0.9"),
    (["--elevation", "5", "20"], "elevation 5.0 to 20.0: give two numbers between 10 and 90, the lesser first"),
    (["--block-width", "0.2", "0.1"], "block width 0.2 to 0.1: give two numbers between 0.05 and 0.4, the lesser first"),
    (["--unseen", "--varied"], "the unseen world has meshes of its own")))
def test_a_world_that_cannot_be_is_refused_before_anything_is_rendered(tmp_path, monkeypatch, option, words):
    out = tmp_path / "data"
    monkeypatch.setattr("sys.argv", ["clue-tabletop", "write", "--out", str(out), "--count", "1", "--seed", "1", *option])
    with pytest.raises(SystemExit, match=words):
        main()
    assert not out.exists()


def test_the_unseen_world_can_be_had_in_one_aspect_alone():
    usual, *others = (dataclasses.asdict(world) for world in (World(), unseen_world(), *(unseen_world([a]) for a in ASPECTS)))
    whole, *single = ({name for name in usual if usual[name] != other[name]} for other in others)
    assert set().union(*single) == whole and unseen_world().unseen == ASPECTS
    meshes_, _, cameras, phrasings = single
    assert "elevation" in cameras - meshes_ and phrasings == {"unseen"}


def test_a_world_of_no_known_aspect_is_refused():
    with pytest.raises(InputError, match="camera can not be unseen, but meshes, surfaces, cameras, phrasings"):
        unseen_world(["camera"])
    with pytest.raises(InputError, match="it is one of the two"):
        dataclasses.replace(unseen_world(), varied=True)
    assert unseen_world(["cameras", "meshes"]) == unseen_world(["meshes", "cameras"])


def test_a_stopped_data_set_goes_on_and_another_is_not_written_over(tmp_path, two_mugs, caplog):
    settings = {"seed": 1, "pairs": True, "world": dataclasses.asdict(World())}
    assert dataset._claim(tmp_path, settings, 5, 2) == 0
    (tmp_path / "images").mkdir()
    lines = [to_json(dataclasses.replace(two_mugs, id=k, image=f"images/{k}.jpg", pair=k ^ 1)) for k in range(3)]
    for k in range(4):
        (tmp_path / f"images/{k}.jpg").write_bytes(b"")
    (tmp_path / "scenes.jsonl").write_text("\n".join(lines) + "\n" + lines[0][:40])  # killed in the second pair
    for count, others in ((5, {"seed": 2}), (5, {"pairs": False}), (0, {})):
        with pytest.raises(InputError, match="holds 1 scenes of seed 1, and those asked for are others, or fewer"):
            dataset._claim(tmp_path, settings | others, count, 2)
    assert dataset._claim(tmp_path, settings, 5, 2) == 1
    assert len(SceneImages(tmp_path)) == 2 and "holds 2 of 10 scenes, since its writing was stopped" in caplog.text


def test_two_seeds_share_no_scene_and_no_mesh():
    assert len({dataset.variant_of(seed, index) for seed in (1, 2, 3) for index in (0, dataset.ALIKE, dataset.MOST_SCENES - 1)}) == 9
    with pytest.raises(InputError, match="scenes are too many of one seed"):
        dataset.write("/nowhere", dataset.MOST_SCENES + 1, 1)


class Drawing:
    """A renderer whose scenes are the dice that it is given."""

    def sample(self, rng):
        return [Pose("mug", "red", "large", k, (float(rng.random()), 0.0), 0.0, (1.0, 0.0, 0.0)) for k in range(3)]

    def draw(self, poses, number, image):
        items = tuple(SceneObject(p.shape, p.colour, p.size, (0.3 * k, 0.1, 0.3 * k + 0.05 + 0.1 * p.xy[0], 0.9)) for k, p in enumerate(poses))
        return np.zeros((8, 8, 3), np.uint8), Scene(number, image, items)


def test_twins_name_each_other_and_another_seed_draws_others(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "_renderer", lambda *_: Drawing())
    (tmp_path / "images").mkdir()
    full, fewer = dataset._render_one((4, 1, True, str(tmp_path), World()))
    assert (full.id, full.pair, fewer.id, fewer.pair) == (8, 9, 9, 8) and len(fewer.objects) == len(full.objects) - 1
    assert dataset._render_one((4, 1, True, str(tmp_path), World()))[0] == full != dataset._render_one((4, 2, True, str(tmp_path), World()))[0]


def test_a_look_alike_goes_where_there_is_one(rng):
    poses = [Pose(shape, "red", "large", k, (0.0, 0.0), 0.0, (1.0, 0.0, 0.0)) for k, shape in enumerate(("mug", "can", "mug", "ball"))]
    assert {p.slot for _ in range(40) for p in {*poses} - {*dataset.without_one(poses, rng)}} == {0, 2}


@pytest.mark.parametrize("box", [[0.5, 0.1, 0.2, 0.9], [0.1, 0.9, 0.2, 0.5], [0.1, 0.2, 1.3, 0.9], [0.1, -0.2, 0.3, 0.9]])
def test_a_box_that_is_none_is_refused(two_mugs, box):
    record = json.loads(to_json(two_mugs))
    record["objects"][0]["box"] = box
    with pytest.raises(ValueError, match="a box is x1 < x2 and y1 < y2"):
        from_json(json.dumps(record))
