"""The detector reads maps, its boxes come from cells, its probability can be calibrated, its files are checked."""

import json

import numpy as np
import pytest
import torch

from clue_ros.detector.calibration import Calibration, calibrated, conformal, cross_fitted
from clue_ros.detector.jitter import SYMMETRIES
from clue_ros.detector.network import Detector, DetectorSettings, View, boxes_of, candidates_of, rivals
from clue_ros.detector.weighing import SUREST, Weighing, bounded
from clue_ros.types import Box, InputError, ModelError
from clue_ros.vlm.paligemma import text_to_image

SETTINGS = DetectorSettings(layers=(3,), channels=6, grid=10)


def blobs(rng, count: int) -> np.ndarray:
    """Six maps with the same `count` bright cells, far apart, each map summing to 1."""
    maps = rng.random((6, 10, 10)).astype(np.float32) * 0.2
    for cell in rng.choice([11, 17, 44, 71, 77], count, replace=False):
        maps[:, cell // 10, cell % 10] += 5
    return maps / maps.sum((1, 2), keepdims=True)


def test_it_learns_to_tell_two_peaks_from_one():
    torch.manual_seed(0)
    rng, detector = np.random.default_rng(0), Detector(SETTINGS)
    optimiser = torch.optim.AdamW(detector.parameters(), 3e-3)
    for _ in range(120):
        truth = rng.random(32) < 0.5
        maps = torch.from_numpy(np.stack([blobs(rng, 1 + int(t)) for t in truth]))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(detector(maps).ambiguous, torch.from_numpy(truth).float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    one = [detector.judge([View(blobs(rng, 1))], (64, 48)).is_ambiguous for _ in range(50)]
    two = [detector.judge([View(blobs(rng, 2))], (64, 48)).is_ambiguous for _ in range(50)]
    assert np.mean(two) > 0.9 and np.mean(one) < 0.1


@pytest.mark.parametrize("way", SYMMETRIES)
def test_the_verdict_is_the_same_however_the_maps_lie(way):
    torch.manual_seed(0)
    detector, maps = Detector(SETTINGS).eval(), blobs(np.random.default_rng(1), 2)
    turned = way.of(torch.from_numpy(maps)).contiguous().numpy()
    one, other = (detector.judge([View(m)], (64, 64)) for m in (maps, turned))
    assert other.probability == pytest.approx(one.probability, abs=1e-6)
    assert np.allclose(way.of(torch.from_numpy(one.heatmap)).numpy(), other.heatmap, atol=1e-6)


def test_maps_of_another_grid_are_refused():
    with pytest.raises(ValueError, match=r"expects maps float32\[6, 10, 10\], received \[6, 12, 12\]"):
        Detector(SETTINGS).eval().judge([View(np.full((6, 12, 12), 0.01, np.float32))], (64, 48))


def test_maps_of_another_model_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"\[6, 10, 10\].*\[4, 10, 10\]"):
        Detector(SETTINGS).judge([View(np.zeros((4, 10, 10), np.float32))], (64, 48))


def test_head_mean_reads_one_map():
    detector = Detector(DetectorSettings((3,), 6, 10, head_mean=True)).eval()
    maps = torch.rand(2, 6, 10, 10)
    shuffled = maps[:, torch.randperm(6)]
    assert torch.allclose(detector(maps).ambiguous, detector(shuffled).ambiguous, atol=1e-5)


def logits(shares: dict[tuple[int, int], float], grid: int = 10) -> torch.Tensor:
    """Cells that are candidates with these scores, and no others."""
    cells = torch.full((grid, grid), -9.0)
    for cell, share in shares.items():
        cells[cell] = float(np.log(share / (1 - share)))
    return cells


def test_cells_and_sides_make_boxes_in_source_pixels():
    cells = logits({(2, 3): 0.9, (2, 4): 0.5, (7, 8): 0.8})  # the second is the same object as the first
    found = candidates_of(cells, torch.full((4, 10, 10), 0.1), (200, 100), overlap=0.3)
    assert [c.score for c in found] == pytest.approx([0.9, 0.8])
    b = found[0].box
    assert (b.x1, b.y1, b.x2, b.y2) == pytest.approx((50, 15, 90, 35))


def test_boxes_end_at_the_image():
    assert candidates_of(logits({(0, 0): 0.9}, 1), torch.full((4, 1, 1), 2.0), (64, 48))[0].box == Box(0, 0, 64, 48)


def test_rivals_are_other_objects_and_none_is_made_up():
    cells = logits({(2, 3): 0.9, (2, 4): 0.8, (7, 8): 0.5})[None]
    where, scores = rivals(cells, boxes_of(torch.full((1, 4, 10, 10), 0.2)), 2)
    assert where.tolist() == [[23, 78]] and scores.sigmoid().tolist() == [pytest.approx([0.9, 0.5])]
    _, scores = rivals(cells, boxes_of(torch.full((1, 4, 10, 10), 2.0)), 3)  # every cell names the whole image
    assert scores[0, 1:].tolist() == [-np.inf, -np.inf]


def test_calibration_makes_probabilities_true_and_weighs_two_opinions():
    rng = np.random.default_rng(0)
    score, first_token = rng.normal(0, 2, 8000), rng.normal(0, 2, 8000)
    truth = rng.random(8000) < 1 / (1 + np.exp(-(0.5 * score + 0.3 * first_token - 1)))
    weighing = calibrated(Weighing(), score, first_token, truth)
    found = (weighing.scale, weighing.first_token, weighing.shift)
    assert found == pytest.approx((0.5, 0.3, -1), abs=0.06)


def test_what_a_prompt_is_judged_by_was_not_fitted_to_it_nor_to_its_group():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 2)
    score, truth = rng.normal(0, 2, 120), np.tile([True, False], 60)
    score += 1.5 * truth
    weighing, probability = cross_fitted(Weighing(), score, score, truth, group, seed=1)
    assert weighing == calibrated(Weighing(), score, score, truth)
    for k in (0, 1):  # whatever the truth about a group is, it is judged alike
        other = truth.copy()
        other[group == k] = ~other[group == k]
        _, again = cross_fitted(Weighing(), score, score, other, group, seed=1)
        assert np.array_equal(again[group == k], probability[group == k]) and not np.array_equal(again, probability)
    with pytest.raises(InputError, match="both clear and ambiguous prompts are needed"):
        cross_fitted(Weighing(), score[::2], score[::2], truth[::2], group[::2])


def test_a_decoder_that_contradicts_the_cnn_is_left_out():
    rng = np.random.default_rng(0)
    score = rng.normal(0, 2, 2000)
    truth = rng.random(2000) < 1 / (1 + np.exp(-score))
    weighing = calibrated(Weighing(), score, -score + rng.normal(0, 0.5, 2000) - 3 * truth, truth)
    assert weighing.first_token == 0 and weighing.scale == pytest.approx(1, abs=0.15)


def test_the_decoders_wish_to_ask_moves_the_verdict():
    detector = Detector(SETTINGS, Weighing(first_token=1.0)).eval()
    maps = blobs(np.random.default_rng(0), 1)
    wishes = [detector.judge([View(maps, asks)], (64, 48)).probability for asks in (-3.0, 0.0, 3.0)]
    assert wishes == sorted(wishes) and wishes[0] + 0.3 < wishes[2]


def test_the_verdict_is_of_all_views_and_the_places_are_of_the_first():
    detector, rng = Detector(SETTINGS, Weighing(first_token=0.5, zoom=1.1)).eval(), np.random.default_rng(0)
    views = View(blobs(rng, 1), -2.0), View(blobs(rng, 2), 6.0)
    whole, near = (detector.judge([view], (64, 48)) for view in views)
    both = detector.judge(views, (64, 48))
    assert both.cnn == pytest.approx((whole.cnn + near.cnn) / 2, abs=1e-5)
    assert both.asks == pytest.approx((whole.asks + near.asks) / 2) and whole.asks == pytest.approx(-2.0, abs=0.2)
    assert both.probability == pytest.approx(1 / (1 + np.exp(-both.cnn - 0.5 * both.asks)), abs=1e-5)
    assert np.allclose(both.heatmap, whole.heatmap, atol=1e-5) and not np.allclose(both.heatmap, near.heatmap, atol=1e-4)


def test_an_opinion_counts_as_it_is_near_doubt_and_never_outweighs_all_others():
    doubts, sure = np.linspace(-1, 1, 9), np.array([-1e6, -12.0, 12.0, 1e6])
    assert np.abs(bounded(doubts) - doubts).max() < 0.03 and np.abs(bounded(sure)).max() <= SUREST
    assert (np.diff(bounded(np.linspace(-12, 12, 99))) > 0).all()  # alone it orders prompts as before


def test_the_risk_asked_for_is_kept_on_new_prompts():
    """Over many calibrations the mean loss on fresh prompts stays below the risk, and not far below."""
    rng = np.random.default_rng(0)

    def prompts(n):
        p = rng.random(n)
        return p, rng.random(n) < 0.02 + 0.5 * p

    lost, asked = [], []
    for _ in range(300):
        threshold = Calibration("", *prompts(400), range(400)).threshold(0.05)
        p, wrong = prompts(400)
        lost.append(np.mean((p < threshold) & wrong))
        asked.append(np.mean(p >= threshold))
    assert 0.040 < np.mean(lost) <= 0.0505 and np.mean(asked) < 0.7


def test_prompts_about_one_picture_count_as_one():
    """Ten copies of every prompt say no more than one."""
    rng = np.random.default_rng(0)
    p, wrong, group = rng.random(60), rng.random(60) < 0.3, np.arange(60) // 2
    once = Calibration("", p, wrong, group)
    copied = Calibration("", *(np.repeat(column, 10) for column in (p, wrong, group)))
    for risk in (0.05, 0.1, 0.2, 0.3):
        assert once.threshold(risk) == copied.threshold(risk)
    assert once.threshold(0.05) < Calibration("", *(np.repeat(column, 10) for column in (p, wrong)), range(600)).threshold(0.05)


def test_no_data_can_show_a_tiny_risk_and_no_wrong_box_needs_no_question():
    sure = Calibration("", (0.1, 0.9), (False, False), (0, 1))
    assert sure.threshold(0.05) == 0.0  # two prompts cannot show one in twenty: ask always
    assert sure.threshold(0.5) == 1.0
    with pytest.raises(ValueError, match="between 0 and 1"):
        sure.threshold(1.5)


def test_a_calibration_survives_its_file(tmp_path):
    probability = tuple(np.linspace(0.01, 0.99, 40).tolist())
    made = Calibration("40 prompts", probability, tuple(k % 3 == 0 for k in range(40)), tuple(range(40)), 0.2, "a hash")
    made.save(tmp_path)
    assert Calibration.read(tmp_path) == made and made.threshold() == made.threshold(0.2) > made.threshold(0.1) > 0
    record = json.loads((tmp_path / "calibration.json").read_text())
    for change in ({"probability": [2.0] * 40}, {"wrong": [0] * 39}, {"group": [0] * 41}, {"risk": 2.0}, {"risk": None}):
        (tmp_path / "calibration.json").write_text(json.dumps(record | change))
        with pytest.raises(ModelError, match="calibration.json (is no calibration|cannot be read)"):
            Calibration.read(tmp_path)


def test_the_smallest_number_of_prompts_that_can_show_a_risk():
    """(0 + 1) / (n + 1) <= 0.05 from n = 19 on."""
    few, enough = (Calibration("", (0.5,) * n, (False,) * n, tuple(range(n))) for n in (18, 19))
    assert few.threshold(0.05) == 0.0 and enough.threshold(0.05) == 1.0


def test_what_conformal_makes_keeps_the_risk_it_was_given():
    rng = np.random.default_rng(0)
    truth = np.tile([True, False], 200)
    score = rng.normal(0, 1, 400) + 2 * truth
    for risk in (0.05, 0.2):
        weighing, made = conformal(Weighing(), score, score, truth, truth, np.repeat(range(200), 2), risk=risk)
        assert made.risk == risk and weighing.threshold == made.threshold(risk) == made.threshold()


@pytest.mark.parametrize("wrong", [{"zoom": 0.5}, {"zoom": 3.0}, {"threshold": -0.1}, {"threshold": 1.5}, {"scale": True}, {"shift": np.inf}])
def test_a_weighing_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Weighing(**wrong)


def test_a_candidate_is_what_is_likelier_than_three_in_ten_up_to_eight_of_them():
    sides = torch.full((4, 10, 10), 0.02)
    assert [c.score for c in candidates_of(logits({(1, 1): 0.31, (5, 5): 0.29}), sides, (64, 48))] == pytest.approx([0.31])
    many = logits({(k, k): 0.9 for k in range(10)})
    assert len(candidates_of(many, sides, (64, 48))) == 8


def test_text_to_image_weighs_every_word_alike():
    weights = torch.tensor([[[0.1, 0.0, 0.9], [0.0, 0.8, 0.2]]])  # one head, two words, two patches and a text key
    assert torch.allclose(text_to_image(weights, 2), torch.tensor([[0.5, 0.5]]))
