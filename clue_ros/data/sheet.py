"""A contact sheet of rendered scenes: boxes, an expression about each, and the question it would take."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from clue_ros.data import examples
from clue_ros.data.scenes import SceneImages
from clue_ros.types import InputError

COLUMNS, ROWS, WIDTH, HEIGHT, STRIP = 4, 4, 384, 288, 40
MEANT, OTHER = (0, 200, 0), (160, 160, 160)


def contact_sheet(folder: Path, file: Path, seed: int = 0) -> Path:
    """Sixteen scenes as one PNG. Green boxes: what the words mean; grey: the other objects."""
    source, rng = SceneImages(folder), np.random.default_rng(seed)
    tiles = [_tile(source, int(i), rng) for i in rng.permutation(len(source))[:COLUMNS * ROWS]]
    tiles += [np.zeros_like(tiles[0])] * (COLUMNS * ROWS - len(tiles))
    rows = [np.concatenate(tiles[r * COLUMNS:(r + 1) * COLUMNS], 1) for r in range(ROWS)]
    file.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.haveImageWriter(str(file)) or not cv2.imwrite(str(file), np.concatenate(rows)[..., ::-1]):
        raise InputError(f"{file} cannot be written: give a name that ends in .png, where there is room")
    return file


def _tile(source: SceneImages, index: int, rng: np.random.Generator) -> np.ndarray:
    """One scene with its words below, uint8[HEIGHT + STRIP, WIDTH, 3]."""
    rgb, scene = source[index]
    image = cv2.resize(rgb, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    example = (examples.ambiguous if index % 2 else examples.clear)(scene, rng, source.phrasing) or examples.clear(
        scene, rng, source.phrasing)
    for k, item in enumerate(scene.objects):
        x1, y1, x2, y2 = (int(v * side) for v, side in zip(item.box, (WIDTH, HEIGHT) * 2))
        cv2.rectangle(image, (x1, y1), (x2, y2), MEANT if example and k in example.referents else OTHER, 2)
    strip = np.full((STRIP, WIDTH, 3), 255, np.uint8)
    lines = (example.prompt.instruction, example.question or "") if example else ("",)
    for k, line in enumerate(lines):
        cv2.putText(strip, line, (6, 15 + 17 * k), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (30, 30, 30), 1, cv2.LINE_AA)
    return np.concatenate([image, strip])
