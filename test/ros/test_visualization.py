"""The overlay: pure pictures."""

import numpy as np
import pytest

from clue_ros.ros.visualization import blend_heatmap, overlay, plain
from clue_ros.types import Ambiguity, Box, Candidate, Decision, Grounding, Prompt, Question, Turn

HEAT = np.zeros((4, 4), np.float32)
HEAT[1, 2] = 1


@pytest.mark.parametrize("size", [(192, 256), (480, 640), (2160, 3840), (50, 2000), (1, 1)])
@pytest.mark.parametrize("outcome", [Question("this or that? " * 20), Grounding(Box(0, 0, 1, 1), 0.5, "mug")])
def test_any_size_and_outcome_can_be_drawn(size, outcome):
    rgb = np.full((*size, 3), 90, np.uint8)
    verdict = Ambiguity(0.7, 0.5, HEAT, (Candidate(Box(0, 0, *size[::-1]), 0.9),))
    prompt = Prompt("greif die größte Tasse 🍵", (Turn("which?", "links"),))
    picture = overlay(rgb, Decision(verdict, outcome), prompt)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and max(picture.shape[1:]) <= 1280
    assert (rgb == 90).all()  # the camera's pixels are left alone


def test_the_heatmap_covers_its_cell_and_no_other_place():
    rgb = np.full((400, 400, 3), 90, np.uint8)
    drawn = blend_heatmap(rgb, HEAT, 0.6)
    assert (drawn[:, :120] == 90).all() and (drawn[300:] == 90).all()
    assert np.abs(drawn[150, 250].astype(int) - 90).max() > 30  # the middle of cell (1, 2)
    assert (blend_heatmap(rgb, HEAT, 0.0) == rgb).all()


def test_the_box_is_drawn_where_it_is():
    rgb = np.zeros((480, 640, 3), np.uint8)
    verdict = Ambiguity(0.1, 0.5, np.zeros((4, 4), np.float32))
    picture = overlay(rgb, Decision(verdict, Grounding(Box(100, 200, 300, 400), 0.5, "mug")), Prompt("the mug"))
    rows, cols = np.nonzero((picture[:480] == (64, 220, 120)).all(-1))
    below_tag = rows > 205
    assert abs(cols[below_tag].min() - 100) <= 2 and abs(cols[below_tag].max() - 300) <= 2
    assert abs(rows.max() - 400) <= 2


def test_plain_letters():
    assert plain("Größe é") == "Gro?e e" and plain("杯") == "?"
