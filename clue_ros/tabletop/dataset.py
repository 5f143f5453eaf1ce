"""Writes a folder of rendered scenes: `images/*.jpg`, one line a scene in `scenes.jsonl`, the settings in `world.json`.

With pairs, every second scene is the counterfactual twin of the one before: the same view with one object fewer.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import signal
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from clue_ros.files import as_it_reads_back, keep_settings, kept_settings
from clue_ros.tabletop.render import Pose, Renderer
from clue_ros.tabletop.scene import Scene, to_json
from clue_ros.tabletop.world import World
from clue_ros.types import InputError

JPEG_QUALITY = 95
MOST_TRIES = 2000  # of one scene; usually a few do
ALIKE = 32  # so many scenes in a row share their meshes and cloths; building them takes a while
MOST_SCENES = 1000 * ALIKE  # of one seed


@lru_cache(maxsize=1)
def _renderer(world: World, variant: int) -> Renderer:
    """The renderer of a worker process: one OpenGL context at a time."""
    return Renderer(world, variant)


def _render_one(job: tuple[int, int, bool, str, World]) -> list[Scene]:
    """Render scene `index` (and its twin), save the pixels, return the records."""
    index, seed, pairs, folder, world = job
    rng = np.random.default_rng((seed, index))
    renderer = _renderer(world, variant_of(seed, index))
    for _ in range(MOST_TRIES):
        poses = renderer.sample(rng)
        if len(poses) < 2 + pairs:
            continue
        variants = [poses] + ([without_one(poses, rng)] if pairs else [])
        drawn = [renderer.draw(v, index * len(variants) + k, f"images/{index * len(variants) + k:06d}.jpg")
                 for k, v in enumerate(variants)]
        if all(d is not None for d in drawn):
            break
    else:
        raise InputError(f"of {MOST_TRIES} random scenes of this world none shows all its objects: ask for fewer of them, or "
                         "smaller ones")
    scenes = []
    for k, (pixels, scene) in enumerate(drawn):
        file = Path(folder) / scene.image
        if not cv2.imwrite(str(file), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
            raise OSError(f"{file} cannot be written: is the disk full?")
        scenes.append(dataclasses.replace(scene, pair=drawn[1 - k][1].id) if pairs else scene)
    return scenes


def variant_of(seed: int, index: int) -> int:
    """Of the meshes and cloths of that scene, for `Renderer`; another one for every seed, up to MOST_SCENES of each."""
    return MOST_SCENES // ALIKE * seed + index // ALIKE


def without_one(poses: list[Pose], rng: np.random.Generator) -> list[Pose]:
    """The poses less one object, one that has a look-alike where possible: that is what makes words ambiguous."""
    alike = [i for i, p in enumerate(poses) if sum((q.shape, q.colour) == (p.shape, p.colour) for q in poses) > 1]
    gone = int(rng.choice(alike if alike else range(len(poses))))
    return poses[:gone] + poses[gone + 1:]


def write(folder: str | Path, count: int, seed: int, *, world: World = World(), pairs: bool = False,
          workers: int = 2, progress: bool = True) -> Path:
    """Render `count` scenes (twice as many with `pairs`) into `folder`; the same seed gives the same pixels.

    Scenes are written in order, so a run that was stopped leaves a readable data set of the scenes done so far; the same call goes
    on with it. InputError for a folder of other scenes.
    """
    folder = Path(folder)
    if count > MOST_SCENES:
        raise InputError(f"{count} scenes are too many of one seed, whose last would have the meshes and cloths of the next seed: write "
                         f"at most {MOST_SCENES} into a folder, the others with another seed into another one")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    done = _claim(folder, {"seed": seed, "pairs": pairs, "world": dataclasses.asdict(world)}, count, 1 + pairs)
    jobs = [(i, seed, pairs, str(folder), world) for i in range(done, count)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool, (folder / "scenes.jsonl").open("a") as out:
        results = pool.imap(_render_one, jobs, chunksize=8)
        for scenes in tqdm(results, total=count, initial=done, desc="rendering", unit="scene", disable=not progress):
            out.write("".join(to_json(scene) + "\n" for scene in scenes))
            out.flush()  # whole lines, also when it is killed
    return folder


def _claim(folder: Path, settings: dict, count: int, lines_each: int) -> int:
    """Mark the folder as of these settings; how many of `count` scenes an earlier call has left there, of `lines_each` lines in
    scenes.jsonl. What is left of another one is cut off. InputError for a folder of other scenes, or of more."""
    world, scenes = folder / "world.json", folder / "scenes.jsonl"
    mine = as_it_reads_back(settings)
    there = kept_settings(world) or {}
    lines = scenes.read_bytes().splitlines(keepends=True) if scenes.is_file() else []
    done = sum(line.endswith(b"\n") for line in lines) // lines_each
    if lines and (done > count or {key: there.get(key) for key in mine} != mine):
        raise InputError(f"{folder} holds {done} scenes of seed {there.get('seed')}, and those asked for are others, or fewer: give "
                         "another --out, or remove it")
    keep_settings(world, {**mine, "count": count})
    scenes.write_bytes(b"".join(lines[:done * lines_each]))
    return done
