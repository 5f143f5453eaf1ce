"""What is on the table: typed records that hold the truth about one rendered image.

A scene knows its objects, their boxes and how much of each is visible. Every sentence about the scene
(`language.py`), every question (`questions.py`) and every label is derived from these records, so a label is true by
construction, also after the image was cropped or mirrored (`Scene.window`, `Scene.mirrored`).
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from clue_ros.types import InputError

SHAPES = ("block", "ball", "can", "bottle", "mug", "bowl")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
SIZES = ("small", "large")


@dataclass(frozen=True)
class SceneObject:
    """One visible object.

    box: x1, y1, x2, y2 as fractions of the image's width and height, x right, y down, tight around the visible pixels.
    visible: visible share of the object's silhouette, 0..1.
    """

    shape: str
    colour: str
    size: str
    box: tuple[float, float, float, float]
    visible: float = 1.0

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the box centre, fractions of the image."""
        x1, y1, x2, y2 = self.box
        return (x1 + x2) / 2, (y1 + y2) / 2


@dataclass(frozen=True)
class Scene:
    """Objects of one image; `image` is the file name inside the data set folder.

    pair: id of the counterfactual twin (the same scene with one object more or less), or None.
    """

    id: int
    image: str
    objects: tuple[SceneObject, ...]
    pair: int | None = None

    def mirrored(self) -> Scene:
        """The scene of the horizontally flipped image: left becomes right."""
        flip = lambda b: (1 - b[2], b[1], 1 - b[0], b[3])  # noqa: E731
        return dataclasses.replace(
            self, objects=tuple(dataclasses.replace(o, box=flip(o.box)) for o in self.objects))

    def window(self, x1: float, y1: float, x2: float, y2: float) -> Scene:
        """The scene of a crop (fractions of this image). Every object must lie inside it."""
        w, h = x2 - x1, y2 - y1
        cut = lambda b: ((b[0] - x1) / w, (b[1] - y1) / h, (b[2] - x1) / w, (b[3] - y1) / h)  # noqa: E731
        return dataclasses.replace(
            self, objects=tuple(dataclasses.replace(o, box=cut(o.box)) for o in self.objects))

    def extent(self) -> tuple[float, float, float, float]:
        """The smallest window that holds every object."""
        x1, y1, x2, y2 = zip(*(o.box for o in self.objects))
        return min(x1), min(y1), max(x2), max(y2)


def to_json(scene: Scene) -> str:
    """One line of `scenes.jsonl`; boxes rounded to 1e-5 of the image."""
    record = dataclasses.asdict(scene)
    for item in record["objects"]:
        item["box"] = [round(v, 5) for v in item["box"]]
        item["visible"] = round(item["visible"], 3)
    return json.dumps(record, separators=(",", ":"))


def from_json(line: str) -> Scene:
    """Inverse of `to_json`. ValueError for what can be no scene."""
    record = json.loads(line)
    objects = tuple(SceneObject(**{**o, "box": tuple(map(float, o["box"]))}) for o in record.pop("objects"))
    scene = Scene(**record, objects=objects)
    if not objects or not all(o.shape in SHAPES and o.colour in COLOURS and o.size in SIZES for o in objects):
        raise ValueError(f"it needs objects whose shape, colour and size are of {SHAPES + COLOURS + SIZES}")
    if not all(len(o.box) == 4 and 0 <= o.box[0] < o.box[2] <= 1 and 0 <= o.box[1] < o.box[3] <= 1 for o in objects):
        raise ValueError("a box is x1 < x2 and y1 < y2, from 0 to 1")
    if scene.pair is not None and scene.pair < 0:
        raise ValueError(f"there is no scene {scene.pair} to be its twin")
    return scene


def read_scenes(folder: str | Path) -> list[Scene]:
    """Every scene of a data set folder. InputError names a line that is no scene, FileNotFoundError the command that makes
    a data set."""
    path = Path(folder) / "scenes.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `clue-tabletop write --out {folder}` renders a data set there")
    scenes = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            scenes += [from_json(line)] if line.strip() else []
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}, line {number} is no scene ({error or type(error).__name__}); write the data set anew with "
                             "`clue-tabletop write`") from error
    if not scenes:
        raise InputError(f"{path} holds no scene: write the data set anew with `clue-tabletop write`")
    return scenes
