#!/usr/bin/env python3
"""Renders the frames of the demo: `make gl && tools/ros_env.sh python tools/demo_frames.py --seed 4 20 24 46`.

Each number is a scene of `clue-tabletop write --pairs --seed SEED`, rendered larger; it gives two frames, the scene and
its twin with one object fewer. They go to resource/demo with their truth; which are shown is up to demo.json there. (The frames in
the repository are from when other scenes shared their meshes; drawn again, they look different.)
"""

import argparse
import dataclasses
from pathlib import Path

import cv2
import numpy as np

from clue_ros.tabletop.dataset import variant_of, without_one
from clue_ros.tabletop.render import Renderer
from clue_ros.tabletop.scene import to_json
from clue_ros.tabletop.world import World

QUALITY = 90  # of the JPEG files


def twins(index: int, seed: int):
    """(uint8[H, W, 3] RGB, Scene) of scene 2 * index and of its twin, as the data set of that seed has them."""
    renderer = Renderer(World(resolution=(640, 480)), variant_of(seed, index))
    rng = np.random.default_rng((seed, index))
    while True:
        poses = renderer.sample(rng)
        if len(poses) < 3:
            continue
        names = [f"{2 * index + k:04d}.jpg" for k in (0, 1)]
        drawn = [renderer.draw(p, 2 * index + k, names[k]) for k, p in enumerate((poses, without_one(poses, rng)))]
        if None not in drawn:
            renderer.close()
            return drawn


def main() -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=int, nargs="+")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("resource/demo"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "scenes.jsonl").open("w", encoding="utf-8") as lines:
        for index in options.index:
            pair = twins(index, options.seed)
            for k, (rgb, scene) in enumerate(pair):
                cv2.imwrite(str(options.out / scene.image), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
                lines.write(to_json(dataclasses.replace(scene, pair=pair[1 - k][1].id)) + "\n")


if __name__ == "__main__":
    main()
