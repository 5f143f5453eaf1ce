"""What the demo shows: a list of steps, each a picture, an instruction, and what a robot that knows its doubts does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from clue_ros.ros.pictures import Picture, read_picture, rendered
from clue_ros.tabletop import language, questions
from clue_ros.tabletop.scene import read_scenes
from clue_ros.types import InputError

QUESTION, BOX = "question", "box"


@dataclass(frozen=True, eq=False)
class Step:
    """expect: "question" or "box" first, None when anything goes. target: index of the meant object in the picture's
    scene, None for a photograph. candidates: indices of all objects that the instruction fits."""

    picture: Picture
    say: str
    expect: str | None = None
    target: int | None = None
    candidates: tuple[int, ...] = ()


def read_script(folder: str | Path) -> list[Step]:
    """The steps of demo.json beside its pictures and scenes.jsonl. InputError names the entry that does not fit."""
    folder = Path(folder)
    scenes = {scene.image: scene for scene in read_scenes(folder)}
    steps = []
    for number, entry in enumerate(json.loads((folder / "demo.json").read_text(encoding="utf-8")), 1):
        where = f"{folder / 'demo.json'}, step {number}"
        if set(entry) != {"image", "say", "target", "candidates", "expect"}:
            raise InputError(f"{where}: it needs exactly image, say, target, candidates and expect")
        if entry["image"] not in scenes:
            raise InputError(f"{where}: {entry['image']} is not in scenes.jsonl")
        if entry["expect"] not in (QUESTION, BOX) or entry["target"] not in entry["candidates"]:
            raise InputError(f"{where}: expect is '{QUESTION}' or '{BOX}', and target one of candidates")
        scene = scenes[entry["image"]]
        if max(entry["candidates"]) >= len(scene.objects):
            raise InputError(f"{where}: the scene has only {len(scene.objects)} objects")
        steps.append(Step(read_picture(folder / entry["image"], scene), entry["say"], entry["expect"], entry["target"],
                          tuple(entry["candidates"])))
    return steps


def live_script(seed: int, count: int = 4, tables: int = 200) -> list[Step]:
    """Steps about tables rendered now, in turn ambiguous and clear; labels are true by construction."""
    rng = np.random.default_rng(seed)
    steps: list[Step] = []
    for picture in islice(rendered(seed), tables):
        ambiguous = len(steps) % 2 == 0
        step = _step_about(picture, ambiguous, rng)
        if step is not None:
            steps.append(step)
        if len(steps) == count:
            return steps
    raise InputError(f"{tables} rendered tables gave only {len(steps)} of {count} steps: try another --seed")


def _step_about(picture: Picture, ambiguous: bool, rng: np.random.Generator) -> Step | None:
    """An instruction about the picture, or None when it affords none of that kind that a question could settle."""
    objects = picture.scene.objects
    found = language.sample(objects, rng, ambiguous=ambiguous)
    if found is None or len(found.referents) > 3 or (ambiguous and questions.ask(objects, found.referents) is None):
        return None
    target = int(rng.choice(found.referents))
    return Step(picture, language.command(found.text, rng), QUESTION if ambiguous else BOX, target, found.referents)
