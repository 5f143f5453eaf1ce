"""Scores whose values are known by hand."""

import numpy as np
import pytest

from clue_ros.data.it2p import Command, language_controlled, words_alone
from clue_ros.evaluation.metrics import accuracy_at, bootstrap, detection_scores, expected_calibration_error


def test_f1_precision_recall_by_hand():
    truth = np.array([1, 1, 1, 0, 0], bool)
    scores = detection_scores(truth, np.array([0.9, 0.8, 0.1, 0.7, 0.2]), 0.5)
    assert scores["precision"].value == pytest.approx(2 / 3) and scores["recall"].value == pytest.approx(2 / 3)
    assert scores["F1"].value == pytest.approx(2 / 3)
    assert scores["AUROC"].value == pytest.approx(4 / 6)


def test_a_perfectly_calibrated_probability_has_no_error():
    truth = np.array([0, 0, 0, 1] * 25, bool)
    assert expected_calibration_error(truth, np.full(100, 0.25)) == pytest.approx(0)
    assert expected_calibration_error(truth, np.full(100, 0.95)) == pytest.approx(0.70)


def test_an_iou_of_exactly_one_half_counts():
    assert accuracy_at(0.5)(np.array([0.5, 0.49])) == 0.5


def test_intervals_hold_the_value_and_shrink_with_data():
    rng = np.random.default_rng(0)
    few, many = (bootstrap(np.mean, rng.random(n) < 0.7) for n in (30, 3000))
    assert few.low <= few.value <= few.high and many.high - many.low < (few.high - few.low) / 3


def test_nothing_to_score_is_an_error_not_a_zero():
    with pytest.raises(ValueError, match="nothing to score"):
        bootstrap(np.mean, np.array([]))


def test_the_language_controlled_split_keeps_phrases_used_both_ways():
    commands = [Command("1", "left block", (1, 1)), Command("2", "left block", None), Command("2", "red block", (2, 2))]
    kept = language_controlled(commands)
    assert [c.text for c in kept] == ["left block", "left block"] and words_alone(kept) == [0.5, 0.5]
