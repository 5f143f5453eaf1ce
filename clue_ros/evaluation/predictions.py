"""Scores a log of predictions in JSON lines, of this system or of any other; no model is needed.

One line a prompt:
    {"bbox": [x1, y1, x2, y2], "gt_bbox": [x1, y1, x2, y2], "ambiguous": false, "probability": 0.12}

bbox: the box that was given, null when none was; gt_bbox: the right one, in the same unit. ambiguous: the truth;
probability: P(ambiguous) that was given, 0..1, or 0 and 1 for a system that only says no or yes. Boxes and ambiguity are
each scored on the lines that have both of their fields (a null gt_bbox, ambiguous or probability is none). image: the picture's
name or number, if it is there; lines about one picture are not independent, and are drawn together for the intervals. Other fields are not
read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clue_ros.data.fields import expect, field, numbers, read_json_lines
from clue_ros.evaluation.metrics import Score, accuracy_at, bootstrap, detection_scores, expected_calibration_error
from clue_ros.types import Box, InputError


@dataclass(frozen=True, eq=False)
class Predictions:
    """iou: float[n] with the right box, 0 for an invalid output. invalid: bool[n], no box or none with an area.
    truth, probability: bool[m] and float[m], of the lines that speak of ambiguity. groups: str[n], groups_of_truth: str[m], what
    the lines that are not independent share. unlabelled: lines of whose prompt nothing is known."""

    iou: np.ndarray
    invalid: np.ndarray
    truth: np.ndarray
    probability: np.ndarray
    groups: np.ndarray
    groups_of_truth: np.ndarray
    unlabelled: int = 0


def read_predictions(file: str | Path) -> Predictions:
    """The log's columns. InputError names the line that cannot be read, or says that there is nothing to score."""
    ious, invalid, truth, probability, groups, groups_of_truth = ([] for _ in range(6))
    unlabelled = 0
    for where, line in read_json_lines(Path(file)):
        known = {name for name, value in line.items() if value is not None}
        group = f"image {line['image']}" if "image" in known else where
        if "gt_bbox" in known:
            right, given = _right_box(line, where), _given_box(line, where)
            ious.append(given.iou(right) if given else 0.0)
            invalid.append(given is None)
            groups.append(group)
        if {"ambiguous", "probability"} <= known:
            truth.append(field(line, "ambiguous", bool, where))
            probability.append(_probability(line, where))
            groups_of_truth.append(group)
        elif not known & {"gt_bbox", "ambiguous"} and known & {"bbox", "probability"}:
            unlabelled += 1
        elif "gt_bbox" not in known:
            raise InputError(f'{where}: nothing to score: it needs "bbox" and "gt_bbox", or "ambiguous" and "probability"')
    if not ious and not truth:
        raise InputError(f"{file} holds no predictions that are labelled: a line needs \"gt_bbox\" or \"ambiguous\"" if unlabelled else
                         f"{file} holds no predictions")
    return Predictions(np.array(ious), np.array(invalid, bool), np.array(truth, bool), np.array(probability, float),
                       np.array(groups), np.array(groups_of_truth), unlabelled)


def score(read: Predictions, threshold: float = 0.5) -> dict[str, Score]:
    """Every score that the log has the fields for; a prompt is called ambiguous when probability >= threshold.

    Where all prompts are clear, or all are ambiguous, only the calibration error means something, and nothing else of
    ambiguity is scored.
    """
    table: dict[str, Score] = {}
    if len(read.iou):
        table = {name: bootstrap(metric, column, groups=read.groups) for name, metric, column in (
            ("Acc@0.5 (IoU >= 0.5)", accuracy_at(0.5), read.iou),
            ("Acc@0.5 (IoU > 0.5)", lambda iou: float(np.mean(iou > 0.5)), read.iou),
            ("mean IoU", np.mean, read.iou), ("invalid outputs, counted as wrong", np.mean, read.invalid))}
    if len(set(read.truth.tolist())) == 2:
        scores = detection_scores(read.truth, read.probability, threshold, groups=read.groups_of_truth)
        table |= {f"ambiguity {name}": value for name, value in scores.items()}
    elif len(read.truth):
        table["ambiguity ECE"] = bootstrap(expected_calibration_error, read.truth, read.probability, groups=read.groups_of_truth, basic=True)
    return table


def summary(read: Predictions) -> str:
    """What the table does not say: how many outputs were invalid, and why ambiguity scores may be missing."""
    said = []
    if len(read.iou):
        said.append(f"{read.invalid.sum()} of {len(read.iou)} outputs are invalid (null, or no box with an area) and count "
                    "as wrong")
    if read.unlabelled:
        said.append(f"{read.unlabelled} lines are of prompts of which nothing is known, and are left out")
    if len(read.truth) and len(set(read.truth.tolist())) == 1:
        said.append(f"all {len(read.truth)} prompts labelled are {'ambiguous' if read.truth[0] else 'clear'}: there is no "
                    "telling apart to score")
    return "; ".join(said)


def _right_box(line: dict, where: str) -> Box:
    box = Box(*numbers(line["gt_bbox"], f'{where}: field "gt_bbox"'))
    if not _has_area(box):
        raise InputError(f'{where}: field "gt_bbox" must be x1, y1, x2, y2 with x1 < x2 and y1 < y2, is {line["gt_bbox"]}')
    return box


def _given_box(line: dict, where: str) -> Box | None:
    """The system's box; None when its output is none: that is the system's fault, not the log's."""
    if "bbox" not in line:
        raise InputError(f'{where}: field "bbox" is missing: write null where the system gave no box')
    try:
        box = Box(*numbers(line["bbox"], where))
    except InputError:
        return None
    return box if _has_area(box) else None


def _has_area(box: Box) -> bool:
    return 0 < box.area < math.inf


def _probability(line: dict, where: str) -> float:
    value = expect(line["probability"], float, f'{where}: field "probability"')
    if not 0 <= value <= 1:
        raise InputError(f'{where}: field "probability" must be between 0 and 1, is {value}')
    return float(value)
