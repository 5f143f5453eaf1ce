"""Tabletop scenes as an indexable source of images and truth."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from clue_ros.data.augment import Window, camera_noise, random_zoom
from clue_ros.data.fields import expect, field, parse_json, read_bytes
from clue_ros.data.records import Picture
from clue_ros.tabletop.language import SEEN, UNSEEN, Phrasing
from clue_ros.tabletop.scene import Scene, read_scenes
from clue_ros.tabletop.world import ASPECTS
from clue_ros.types import InputError

log = logging.getLogger(__name__)


class SceneImages:
    """Data set folders of `clue-tabletop write`, one after the other. The JPEG files are kept in memory, encoded."""

    def __init__(self, *folders: str | Path):
        self.folders = tuple(Path(folder) for folder in folders)
        self.scenes: list[Scene] = []
        self.encoded: list[np.ndarray] = []
        self._settings: list[dict | None] = []
        for folder in folders:
            start, found = len(self.scenes), read_scenes(folder)
            self._settings.append(settings := _settings(Path(folder)))
            if settings and len(found) < (meant := _meant(settings, Path(folder) / "world.json")):
                log.warning("%s holds %d of %d scenes, since its writing was stopped: the same `clue-tabletop write` goes on", folder,
                            len(found), meant)
            for position, scene in enumerate(found):
                if scene.id != position:
                    raise InputError(f"{Path(folder) / 'scenes.jsonl'}: scene {scene.id} stands where scene {position} should, lines "
                                     "are missing or were moved: write the data set again, or copy it whole")
                self.encoded.append(np.frombuffer((Path(folder) / scene.image).read_bytes(), np.uint8))
                pair = start + scene.pair if scene.pair is not None and scene.pair < len(found) else None  # its twin was not written
                self.scenes.append(dataclasses.replace(scene, id=start + scene.id, pair=pair))

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Scene]:
        """uint8[H, W, 3] RGB and its truth, as rendered. InputError when the picture is damaged."""
        return self.picture(index).load(), self.scenes[index]

    def picture(self, index: int) -> Picture:
        """The picture of a scene."""
        name = f"{', '.join(map(str, self.folders))}: scene {index}"
        return Picture.of_bytes(name, self.encoded[index], group=self.group_of(index))

    def group_of(self, index: int) -> str:
        """What a scene and its twin have in common, whatever the folder is called."""
        pair = self.scenes[index].pair
        return f"scene {index if pair is None else min(index, pair)}"

    @cached_property
    def unseen(self) -> tuple[str, ...]:
        """What in these folders is of the kind that is kept from training (`World.unseen`)."""
        return tuple(sorted({aspect for folder, settings in zip(self.folders, self._settings)
                             if settings is not None for aspect in _unseen(settings, folder / "world.json")}))

    @property
    def phrasing(self) -> Phrasing:
        """How instructions about these scenes are put."""
        return UNSEEN if "phrasings" in self.unseen else SEEN

    @cached_property
    def twins(self) -> list[tuple[int, int]]:
        """Indices of counterfactual pairs: a scene, and the same with one object fewer."""
        return [(s.id, s.pair) for s in self.scenes
                if s.pair is not None and len(self.scenes[s.pair].objects) < len(s.objects)]

    def augmented(self, rng: np.random.Generator, zoom: float = 0.0) -> tuple[np.ndarray, Scene]:
        """A random scene in a random view through a random camera; with probability `zoom` a close-up."""
        close = rng.random() < zoom
        rgb, scene = self[int(rng.integers(len(self)))]
        rgb, scene = random_zoom(rgb, scene, rng) if close else Window.random(scene, rng).of(rgb, scene)
        return camera_noise(rgb, rng), scene

    def augmented_twins(self, rng: np.random.Generator) -> tuple[tuple[np.ndarray, Scene], tuple[np.ndarray, Scene]]:
        """A random counterfactual pair, both in the same random window, each through its own random camera."""
        pair = [self[i] for i in self.twins[int(rng.integers(len(self.twins)))]]
        window = Window.random(pair[0][1], rng)
        full, fewer = (window.of(*one) for one in pair)
        return (camera_noise(full[0], rng), full[1]), (camera_noise(fewer[0], rng), fewer[1])


def _settings(folder: Path) -> dict | None:
    """What `clue-tabletop write` was asked for; None where nobody says. InputError when the file is damaged."""
    file = folder / "world.json"
    return expect(parse_json(read_bytes(file), str(file)), dict, str(file)) if file.is_file() else None


def _meant(settings: dict, file: Path) -> int:
    """How many scenes were asked for; 0 where an earlier version did not say. InputError when the file is damaged."""
    if "count" not in settings:
        return 0
    return field(settings, "count", int, str(file)) * (1 + field(settings, "pairs", bool, str(file)))


def _unseen(settings: dict, file: Path) -> Sequence[str]:
    """`World.unseen` of the world that the scenes were drawn from; it once was true or false. InputError when the file is
    damaged."""
    where = f"{file}: world.unseen"
    world = field(settings, "world", dict, str(file))
    if (unseen := world.get("unseen", False)) in (True, False):
        return ASPECTS if unseen else ()
    return [expect(aspect, str, where) for aspect in expect(unseen, list, where)]
