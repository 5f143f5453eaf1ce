"""Scores whose values are known by hand."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from clue_ros.data.it2p import Command, language_controlled, words_alone
from clue_ros.evaluation.metrics import (ACTS_WRONGLY, ASKS, accuracy_at, area_under_risk_coverage, auroc, auroc_within, average_precision, bootstrap,
                                         best_f1_threshold, detection_scores, expected_calibration_error, f1, precision, recall,
                                         risk_by_coverage, risk_scores)
from clue_ros.types import Ambiguity


def test_f1_precision_recall_by_hand():
    truth = np.array([1, 1, 1, 0, 0], bool)
    scores = detection_scores(truth, np.array([0.9, 0.8, 0.1, 0.7, 0.2]), 0.5)
    assert scores["precision"].value == pytest.approx(2 / 3) and scores["recall"].value == pytest.approx(2 / 3)
    assert scores["F1"].value == pytest.approx(2 / 3)
    assert scores["AUROC"].value == pytest.approx(4 / 6)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.9, 1.0])), min_size=2, max_size=40))
@settings(max_examples=150, deadline=None)
def test_scores_are_those_of_scikit_learn(rows):
    truth, score = np.array([t for t, _ in rows]), np.array([p for _, p in rows])
    said = score >= 0.5
    assert precision(truth, said) == pytest.approx(sklearn.metrics.precision_score(truth, said, zero_division=0))
    assert recall(truth, said) == pytest.approx(sklearn.metrics.recall_score(truth, said, zero_division=0))
    assert f1(truth, said) == pytest.approx(sklearn.metrics.f1_score(truth, said, zero_division=0))
    if 0 < truth.sum() < len(truth):
        assert auroc(truth, score) == pytest.approx(sklearn.metrics.roc_auc_score(truth, score))
    if truth.any():
        assert average_precision(truth, score) == pytest.approx(sklearn.metrics.average_precision_score(truth, score))


def test_risk_and_coverage_by_hand():
    wrong, p = np.array([0, 1, 0, 1], bool), np.array([0.1, 0.9, 0.2, 0.6])
    assert area_under_risk_coverage(wrong, p) == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    scores = risk_scores(wrong, p, 0.7)
    assert scores["acts wrongly, of all prompts"].value == 0.25 and scores["asks"].value == 0.25


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


def test_examples_of_one_group_are_drawn_together():
    """Said twice, nothing is more certain; and what is true of every group's whole is certain."""
    values = np.random.default_rng(0).random(200)
    once, twice = bootstrap(np.mean, values), bootstrap(np.mean, np.repeat(values, 2), groups=np.repeat(np.arange(200), 2))
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high)) and twice.count == 400
    halves = bootstrap(np.mean, np.array([0, 0, 1, 1, 1, 0]), groups=["a", "b", "a", "c", "b", "c"])
    assert halves.low == halves.value == halves.high == 0.5


def test_equally_ambiguous_prompts_have_no_order():
    wrong = np.array([True, False, True, False])
    assert risk_by_coverage(wrong, np.zeros(4)).tolist() == [0.5] * 4
    assert risk_by_coverage(wrong, np.array([0.9, 0.1, 0.8, 0.2])).tolist() == pytest.approx([0, 0, 1 / 3, 0.5])


def test_of_equally_good_thresholds_the_middle_of_the_longest_run_is_taken():
    truth, probability = np.array([True, False, True, False]), np.array([0.9, 0.1, 0.605, 0.295])
    assert best_f1_threshold(truth, probability) == pytest.approx(0.45)
    truth, probability = np.array([1, 0, 1, 1, 0], bool), np.array([0.2, 0.25, 0.6, 0.65, 0.1])
    best = best_f1_threshold(truth, probability)
    assert f1(truth, probability >= best) == max(f1(truth, probability >= t) for t in np.linspace(0.02, 0.98, 97))


def test_the_language_controlled_split_keeps_phrases_used_both_ways():
    commands = [Command("1", "left block", (1, 1)), Command("2", "left block", None), Command("2", "red block", (2, 2))]
    kept = language_controlled(commands)
    assert [c.text for c in kept] == ["left block", "left block"] and words_alone(kept) == {"left block": 0.5}


def test_an_interval_of_the_calibration_error_holds_the_truth():
    """P of a truth that is drawn by it, 0.05 off: ECE is greater, the fewer the examples, and so is that of every resample."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(30):
        share = rng.uniform(0.1, 0.9, 600)
        score = bootstrap(expected_calibration_error, rng.random(600) < share, share + 0.05, rounds=200, basic=True)
        held += score.low <= 0.05 <= score.high
    assert held >= 25


def test_who_is_at_the_threshold_asks_as_the_robot_does():
    wrong, probability = np.array([True, True, False]), np.array([0.5, 0.4, 0.5])
    assert Ambiguity(0.5, 0.5, np.zeros((2, 2), np.float32)).is_ambiguous
    scores = risk_scores(wrong, probability, 0.5)
    assert scores[ACTS_WRONGLY].value == pytest.approx(1 / 3) and scores[ASKS].value == pytest.approx(2 / 3)


def test_every_score_draws_the_examples_of_a_group_together():
    """So that ten copies of each make no interval narrower."""
    rng = np.random.default_rng(0)
    truth = rng.random(80) < 0.5
    probability, number = 0.2 * truth + 0.8 * rng.random(80), np.arange(80)

    def scores(copies):
        t, p, g = (np.repeat(column, copies) for column in (truth, probability, number))
        return detection_scores(t, p, 0.5, rounds=200, groups=g) | risk_scores(t, p, 0.5, g)
    once, often = scores(1), scores(10)
    for name, score in once.items():
        assert often[name].high - often[name].low > 0.9 * (score.high - score.low) > 0, name


def test_a_stratum_counts_by_its_pairs():
    truth, stratum = np.array([True, False] + [True] * 2 + [False] * 3), np.array([1] * 2 + [2] * 5)
    score = np.array([0.1, 0.9, 0.8, 0.7, 0.3, 0.2, 0.1])  # one pair the wrong way round, six the right one
    assert auroc_within(truth, score, stratum) == pytest.approx(6 / 7)


def test_within_strata_only_what_is_alike_is_compared():
    truth, stratum = np.array([True, False, True, False]), np.array([1, 1, 2, 2])
    assert auroc_within(truth, np.array([0.1, 0.2, 0.9, 0.8]), stratum) == 0.5
    assert auroc_within(truth, stratum.astype(float), stratum) == 0.5
    assert np.isnan(auroc_within(np.array([True, False]), np.array([0.0, 1.0]), np.array([1, 2])))
