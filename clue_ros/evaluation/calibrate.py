"""Calibrate a model folder's detector on held-out counterfactual pairs, in place."""

from __future__ import annotations

from pathlib import Path

from clue_ros.detector.calibration import calibrate as fit
from clue_ros.evaluation.suites import read_pairs
from clue_ros.model_folder import load, save_detector


def calibrate(model: Path, data: Path, seed: int = 0) -> str:
    """Set scale, shift and threshold of `model`/detector from the pairs of `data`; a sentence that says what they are."""
    clue = load(model)
    read = read_pairs(clue, data, seed)
    settings = fit(clue.detector.settings, read.probability, read.truth)
    clue.detector.settings = settings
    save_detector(clue.detector, Path(model) / "detector")
    return (f"calibrated on {len(read.truth)} prompts: P = sigmoid({settings.scale:.3f} x logit {settings.shift:+.3f}), "
            f"ask when P >= {settings.threshold:.2f}")
