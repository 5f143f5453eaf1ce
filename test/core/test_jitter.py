"""What a detector learns from does not depend on where things stand: maps, cells and boxes are turned over together."""

import pytest
import torch

from clue_ros.detector.jitter import SYMMETRIES, Symmetry, shaken
from clue_ros.detector.network import boxes_of, centres_of


@pytest.mark.parametrize("way", SYMMETRIES)
def test_a_box_stays_around_its_cells(way):
    grid = torch.zeros(1, 8, 8)
    grid[0, 1:3, 4:7] = 1
    box = way.of_boxes(torch.tensor([[4 / 8, 1 / 8, 7 / 8, 3 / 8]]))[0] * 8
    rows, columns = torch.nonzero(way.of(grid)[0], as_tuple=True)
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == box.tolist()


@pytest.mark.parametrize("way", SYMMETRIES)
def test_what_cells_say_of_their_boxes_can_be_turned_back(way):
    sides = torch.rand(2, 4, 5, 5) * 0.3
    boxes = boxes_of(sides)
    turned = way.of_boxes(way.of(boxes.mT.unflatten(-1, (5, 5))).flatten(-2).mT)
    (x, y), (x1, y1, x2, y2) = centres_of(5, sides.device), turned.unbind(-1)
    there = torch.stack([x - x1, y - y1, x2 - x, y2 - y], 1).unflatten(-1, (5, 5))
    assert torch.allclose(boxes_of(way.undo_sides(there)), boxes, atol=1e-6)
    assert torch.equal(way.undo(way.of(sides)), sides)


def test_the_eight_ways_are_different():
    grid = torch.arange(9.0).reshape(3, 3)
    assert len({tuple(way.of(grid).flatten().tolist()) for way in SYMMETRIES}) == 8
    assert torch.equal(SYMMETRIES[0].of(grid), grid)


def test_shaken_maps_keep_their_shape_and_lose_whole_heads():
    maps = torch.ones(50, 6, 4, 4)
    seen = shaken(maps, torch.Generator().manual_seed(0), noise=0.3, left_out=0.5)
    kept = (seen > 0).flatten(2)
    assert seen.shape == maps.shape and torch.equal(kept.all(-1), kept.any(-1))
    assert 0.4 < kept.any(-1).float().mean() < 0.6
    assert torch.equal(shaken(maps, torch.Generator(), noise=0.0, left_out=0.0), maps)


def test_all_ways_occur_and_shares_are_shaken_by_as_much_as_is_said():
    generator = torch.Generator().manual_seed(0)
    assert {Symmetry.random(generator) for _ in range(100)} == set(SYMMETRIES)
    factors = shaken(torch.ones(20, 6, 8, 8), generator, noise=0.3, left_out=0.0).log()
    assert factors.mean().abs() < 0.01 and factors.std() == pytest.approx(0.3, abs=0.01)
    lost = (shaken(torch.ones(50, 6, 4, 4), generator, left_out=0.5).sum((2, 3)) == 0)
    assert len({tuple(row) for row in lost.tolist()}) > 20  # each example other heads
