"""Calibrate a model folder's detector on held-out counterfactual pairs, in place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clue_ros.data.scenes import SceneImages
from clue_ros.detector.calibration import RISK, Calibration, calibrated, logit
from clue_ros.detector.network import probability_of
from clue_ros.evaluation.suites import look_at_pairs
from clue_ros.model_folder import load, save_detector


def calibrate(model: Path, data: Path, seed: int = 0, risk: float = RISK) -> str:
    """Set scale, shift and threshold of `model`/detector from the pairs of `data`; a sentence that says what they are."""
    clue = load(model)
    looks = look_at_pairs(clue, SceneImages(data), seed, questions=False)
    first_token = logit(looks.asks)
    after = calibrated(clue.detector.settings, looks.cnn, first_token, looks.ambiguous)
    probability = probability_of(after, looks.cnn, first_token)
    calibration = Calibration(f"{len(probability)} prompts of {data.name}, seed {seed}", tuple(map(float, probability)),
                              tuple(map(bool, looks.iou < 0.5)))
    threshold = calibration.threshold(risk)
    clue.detector.settings = replace(after, threshold=threshold)
    folder = Path(model) / "detector"
    save_detector(clue.detector, folder)
    calibration.save(folder)
    return (f"calibrated on {len(probability)} prompts: P = sigmoid({after.scale:.3f} x the CNN's logit "
            f"{after.first_token:+.3f} x the first token's log odds {after.shift:+.3f}); "
            f"at risk {risk:g} it asks when P >= {threshold:.2f}, that is {(probability >= threshold).mean():.2f} of the time")
