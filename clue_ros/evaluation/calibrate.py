"""Calibrate a model folder's detector on prompts that were not trained on, in place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clue_ros.data.readers import READERS
from clue_ros.data.scenes import SceneImages
from clue_ros.detector.calibration import Calibration, calibrated
from clue_ros.detector.network import probability_of
from clue_ros.evaluation.looks import Seen
from clue_ros.evaluation.records import look_at
from clue_ros.evaluation.suites import look_at_pairs
from clue_ros.model_folder import find, load, save_detector
from clue_ros.pipeline import Clue
from clue_ros.types import RISK, InputError


def calibrate(model: str | Path, data: Path, seed: int = 0, risk: float = RISK, *, reader: str = "tabletop",
              limit: int | None = None) -> str:
    """Set scale, shift and threshold of the model's detector from prompts of `data`; a sentence that says what they are.

    reader: a name of `data.readers`; of the tabletop the counterfactual pairs are used. limit: at most so many prompts
    (pairs, of the tabletop). InputError for a risk outside 0..1, and for prompts that are all clear or all ambiguous.
    """
    folder = find(model)
    clue = load(folder)
    seen = _seen(clue, data, reader, seed, limit)
    if seen.ambiguous.all() or not seen.ambiguous.any():
        raise InputError(f"every prompt of {data} is {'ambiguous' if seen.ambiguous.all() else 'clear'}: to calibrate on, "
                         "both kinds are needed")
    after = calibrated(clue.detector.settings, seen.cnn, seen.asks, seen.ambiguous)
    probability = probability_of(after, seen.cnn, seen.asks)
    calibration = Calibration(f"{len(probability)} prompts of {data.name}, seed {seed}", tuple(map(float, probability)),
                              tuple(map(bool, seen.wrong)))
    threshold = calibration.threshold(risk)
    clue.detector.settings = replace(after, threshold=threshold)
    save_detector(clue.detector, folder / "detector")
    calibration.save(folder / "detector")
    return (f"calibrated on {len(probability)} prompts: P = sigmoid({after.scale:.3f} x the CNN's logit "
            f"{after.first_token:+.3f} x the first token's log odds {after.shift:+.3f}); "
            f"at risk {risk:g} it asks when P >= {threshold:.2f}, that is {(probability >= threshold).mean():.2f} of the time")


def _seen(clue: Clue, data: Path, reader: str, seed: int, limit: int | None) -> Seen:
    if reader == "tabletop":
        return look_at_pairs(clue, SceneImages(data), seed, limit, questions=False).seen
    return Seen.of(look_at(clue, READERS[reader](data), seed, limit))
