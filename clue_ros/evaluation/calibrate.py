"""Calibrate a model folder's detector on prompts that were not trained on, in place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from clue_ros.data.readers import Labelled
from clue_ros.data.scenes import SceneImages
from clue_ros.detector.calibration import check_risk, conformal
from clue_ros.evaluation.looks import Seen
from clue_ros.evaluation.records import look_at
from clue_ros.evaluation.suites import look_at_pairs
from clue_ros.files import replacing
from clue_ros.model_folder import calibrated_weights, find, load, save_detector_config
from clue_ros.pipeline import Clue
from clue_ros.types import RISK, InputError


def calibrate(model: str | Path, data: Sequence[Labelled], seed: int = 0, risk: float = RISK, limit: int | None = None,
              zoom: float | None = None, device: str = "auto", dtype: str = "auto") -> str:
    """Set P, threshold and, if it is given, the second view of the model's detector from prompts of all `data`; a sentence that
    says what they are.

    P is fitted to all prompts; the threshold is of P's that were fitted without theirs (`cross_fitted`). Of the tabletop the
    counterfactual pairs are used. limit: at most so many prompts of each (pairs, of the tabletop). zoom: of the second view
    (`Weighing`), else as it is. device, dtype: as of `model_folder.load`; best those that the robot will use. InputError for
    a risk outside 0..1, a zoom outside 1..2, prompts that are all clear or all ambiguous, and the embedded model by its name.
    """
    check_risk(risk)  # before the data set is looked at, which takes long
    folder = find(model)
    if folder != Path(model).expanduser():  # found by its name: the model that came with the package
        raise InputError(f"{model} is the embedded model, which every node uses: copy it (cp -r {folder} my-model) and calibrate the copy")
    if not os.access((folder / "detector").resolve().parent, os.W_OK):
        raise InputError(f"{folder} cannot be written: copy the model to where it can, and calibrate the copy")
    clue = load(folder, device, dtype, calibrated=False)  # what is made anew may be damaged
    if zoom is not None:
        try:
            clue.detector.weighing = replace(clue.detector.weighing, zoom=zoom)
        except ValueError as error:
            raise InputError(str(error)) from error
    seen = _seen(clue, data, seed, limit)
    names = " and ".join(Path(one.data).name + one.part.words() for one in data)
    precision = "" if clue.vlm.dtype == "float32" else f", in {clue.vlm.dtype}"
    try:
        after, calibration = conformal(clue.detector.weighing, seen.cnn, seen.asks, seen.ambiguous, seen.wrong, seen.groups, seen.settled,
                                       risk=risk, seed=seed, data=f"{len(seen.ambiguous)} prompts of {names}, seed {seed}{precision}")
    except InputError as error:
        raise InputError(f"{folder} is not calibrated on {', '.join(str(one.data) for one in data)}: {error}") from error
    detector = (folder / "detector").resolve()
    with replacing(detector) as part:  # never the one's P with the other's threshold
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(detector, part)
        save_detector_config(clue.detector.settings, after, part)
        replace(calibration, weights=calibrated_weights(folder)).save(part)
    return (f"calibrated on {calibration.data}: P = sigmoid({after.scale:.3f} x the CNN's logit "
            f"{after.first_token:+.3f} x the first token's log odds {after.shift:+.3f}); "
            f"at risk {risk:g} it asks when P >= {after.threshold:.2f}, that is "
            f"{np.mean(np.array(calibration.probability) >= after.threshold):.2f} of the time")


def _seen(clue: Clue, data: Sequence[Labelled], seed: int, limit: int | None) -> Seen:
    """Of all data sets, whose groups are told apart."""
    found = []
    for number, one in enumerate(data):
        if one.reader == "tabletop":
            seen = look_at_pairs(clue, SceneImages(one.data), seed, limit, one.part, questions=False).seen
        else:
            seen = Seen.of(look_at(clue, one, seed, limit))
        found.append(replace(seen, groups=np.array([f"{number} {group}" for group in seen.groups])))
    return Seen(*(np.concatenate([getattr(seen, field.name) for seen in found]) for field in fields(Seen)))
