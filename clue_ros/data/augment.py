"""Random views of a scene: crop, mirror, and what cameras do to colours and sharpness. Labels follow the pixels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np

from clue_ros.tabletop.scene import Scene
from clue_ros.types import Box


@dataclass(frozen=True)
class Window:
    """A window of the image: left, top, right and bottom as fractions of its width and height, maybe mirrored."""

    sides: tuple[float, float, float, float]
    mirrored: bool

    @classmethod
    def random(cls, scene: Scene, rng: np.random.Generator) -> Window:
        """A window that keeps every object of the scene."""
        left, top, right, bottom = scene.extent()
        tight = rng.random()  # 0: the whole image, 1: as close as the objects allow
        sides = (rng.uniform(0, left) * tight, rng.uniform(0, top) * tight,
                 1 - rng.uniform(0, 1 - right) * tight, 1 - rng.uniform(0, 1 - bottom) * tight)
        return cls(sides, bool(rng.random() < 0.5))

    def of(self, rgb: np.ndarray, scene: Scene) -> tuple[np.ndarray, Scene]:
        """The part of uint8[H, W, 3] in the window, rounded outwards to whole pixels, and its truth."""
        height, width = rgb.shape[:2]
        x1, y1 = int(self.sides[0] * width), int(self.sides[1] * height)
        x2, y2 = int(np.ceil(self.sides[2] * width)), int(np.ceil(self.sides[3] * height))
        rgb, scene = rgb[y1:y2, x1:x2], scene.window(x1 / width, y1 / height, x2 / width, y2 / height)
        return (rgb[:, ::-1], scene.mirrored()) if self.mirrored else (rgb, scene)


def random_zoom(rgb: np.ndarray, scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, Scene]:
    """A close-up around a random object, for dense labels only: objects cut by the border keep the visible part of
    their box, those of which less than a quarter is left are dropped, so words like "leftmost" would not be true."""
    height, width = rgb.shape[:2]
    x, y = scene.objects[int(rng.integers(len(scene.objects)))].centre
    side = rng.uniform(0.25, 0.8)
    left, top = (float(np.clip(c - side * rng.uniform(0.25, 0.75), 0, 1 - side)) for c in (x, y))
    x1, y1 = int(left * width), int(top * height)
    x2, y2 = int((left + side) * width), int((top + side) * height)
    view = scene.window(x1 / width, y1 / height, x2 / width, y2 / height)
    kept = []
    for item in view.objects:
        cut = tuple(float(v) for v in np.clip(item.box, 0, 1))
        if Box(*cut).area > 0.25 * Box(*item.box).area:
            kept.append(dataclasses.replace(item, box=cut))
    if not kept:
        return Window.random(scene, rng).of(rgb, scene)
    rgb = rgb[y1:y2, x1:x2]
    view = dataclasses.replace(view, objects=tuple(kept))
    return (rgb[:, ::-1], view.mirrored()) if rng.random() < 0.5 else (rgb, view)


def camera_noise(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, white balance, gamma, blur, sensor noise and JPEG of a cheap camera; uint8[H, W, 3] to the same."""
    levels = np.arange(256, dtype=np.float32)[:, None] / 255
    gains = rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)
    curve = np.clip(levels * gains + rng.uniform(-0.03, 0.05), 0, 1) ** rng.uniform(0.75, 1.3)
    rgb = cv2.LUT(np.ascontiguousarray(rgb), (255 * curve).astype(np.uint8).reshape(1, 256, 3))
    if rng.random() < 0.4:
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.3, 1.1))
    if rng.random() < 0.5:
        noise = rng.normal(0, rng.uniform(1, 9), rgb.shape).astype(np.float32)
        rgb = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = int(rng.integers(30, 95))
        rgb = cv2.imdecode(cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return rgb
