"""Camera pixels to what SigLIP sees: squashed to a square, scaled to [-1, 1]. The box coordinates undo it in `tokens`."""

from __future__ import annotations

import cv2
import numpy as np


def squash(rgb: np.ndarray, side: int) -> np.ndarray:
    """uint8[H, W, 3] RGB to uint8[side, side, 3]; the aspect ratio is not kept, as in PaliGemma."""
    height, width = rgb.shape[:2]
    shrink = height >= side and width >= side
    return cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)


def middle(rgb: np.ndarray, zoom: float) -> np.ndarray:
    """uint8[H, W, 3] to its middle, uint8[H / zoom, W / zoom, 3]: what a camera would see that were `zoom` times as near."""
    top, left = (round(length * (1 - 1 / zoom) / 2) for length in rgb.shape[:2])
    return rgb[top:rgb.shape[0] - top, left:rgb.shape[1] - left]


def to_pixel_values(rgb: np.ndarray, side: int) -> np.ndarray:
    """uint8[H, W, 3] RGB, 0..255, to float32[3, side, side] in [-1, 1]."""
    values = squash(rgb, side).astype(np.float32)
    values *= 2.0 / 255.0
    values -= 1.0
    return np.ascontiguousarray(values.transpose(2, 0, 1))
