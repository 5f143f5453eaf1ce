"""Tabletop scenes as an indexable source of images and truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from clue_ros.data.augment import camera_noise, random_view, random_zoom
from clue_ros.tabletop.scene import Scene, read_scenes


class SceneImages:
    """A data set folder of `clue-tabletop write`. The JPEG files are kept in memory, encoded."""

    def __init__(self, folder: str | Path):
        self.scenes = read_scenes(folder)
        self.encoded = [np.frombuffer((Path(folder) / s.image).read_bytes(), np.uint8) for s in self.scenes]

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Scene]:
        """uint8[H, W, 3] RGB and its truth, as rendered."""
        bgr = cv2.imdecode(self.encoded[index], cv2.IMREAD_COLOR)
        return np.ascontiguousarray(bgr[..., ::-1]), self.scenes[index]

    def augmented(self, rng: np.random.Generator, zoom: float = 0.0) -> tuple[np.ndarray, Scene]:
        """A random scene in a random view through a random camera; with probability `zoom` a close-up."""
        view = random_zoom if rng.random() < zoom else random_view
        rgb, scene = view(*self[int(rng.integers(len(self)))], rng)
        return camera_noise(rgb, rng), scene
