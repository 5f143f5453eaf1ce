"""What words say of a scene, on scenes written by hand: nothing here asks the code what it means."""

import re

import numpy as np
import pytest
from tabletop_scenes import scene_of

from clue_ros.tabletop import language, questions
from clue_ros.tabletop.language import NOUNS, POSITIONS
from clue_ros.tabletop.scene import COLOURS
from clue_ros.types import Turn
from clue_ros.wording import PlaceTaken, place_taken

# Nine mugs, 0 1 2 in the upper row, 6 7 8 in the lower one.
GRID = scene_of(*(("large", "red", "mug", x, y) for y in (0.15, 0.5, 0.85) for x in (0.15, 0.5, 0.85))).objects
CELLS = {"left": (0, 3, 6), "leftmost": (0, 3, 6), "right": (2, 5, 8), "rightmost": (2, 5, 8), "top": (0, 1, 2), "topmost": (0, 1, 2),
         "bottom": (6, 7, 8), "bottommost": (6, 7, 8), "top left": (0,), "top right": (2,), "bottom left": (6,), "bottom right": (8,),
         "middle": (4,)}
UP, DOWN = ("upper", "far", "back", "top"), ("lower", "near", "front", "bottom")  # seen from in front of the table
# Around a can in the middle: a mug on each side, each of another colour.
AROUND = scene_of(("large", "green", "can", 0.5, 0.5), ("large", "red", "mug", 0.2, 0.5), ("large", "blue", "mug", 0.8, 0.5),
                  ("large", "white", "mug", 0.5, 0.2), ("small", "black", "mug", 0.5, 0.8)).objects
LEFT, RIGHT, ABOVE, BELOW = 1, 2, 3, 4


@pytest.mark.parametrize("name", POSITIONS)
def test_a_position_selects_the_objects_there_and_is_called_so(name):
    assert language.by_position(GRID, range(9), name) == CELLS[name]
    for words in POSITIONS[name].adjectives + POSITIONS[name].phrases:
        said = set(re.findall("[a-z]+", words.replace("most", "")))
        if name == "middle":
            assert said & {"middle", "center"}
            continue
        assert [bool(said & set(up_or_down)) for up_or_down in (UP, DOWN)] == ["top" in name, "bottom" in name]
        assert ["left" in said, "right" in said] == ["left" in name, "right" in name]


@pytest.mark.parametrize("side, there", [("left", LEFT), ("right", RIGHT), ("above", ABOVE), ("below", BELOW)])
def test_a_side_of_an_object_is_the_side_of_the_picture(side, there):
    opposite = {LEFT: RIGHT, RIGHT: LEFT, ABOVE: BELOW, BELOW: ABOVE}[there]
    assert language.beside(AROUND, (there, opposite), 0, side) == (there,)
    assert language.beside(AROUND, (1, 2, 3, 4), 0, side) is None  # two are level with it: nobody can tell


def test_next_to_is_the_nearest_and_what_is_nearly_as_near():
    def found(*distances):
        scene = scene_of(("large", "green", "can", 0.2, 0.5), *(("large", "red", "mug", 0.2 + d, 0.5) for d in distances))
        return language.next_to(scene.objects, range(1, 1 + len(distances)), 0)
    assert found(0.2, 0.5) == (1,) and found(0.2, 0.24) == (1, 2) and found(0.2, 0.28) is None


def test_between_is_on_the_way_from_one_to_the_other():
    def found(x, y):
        scene = scene_of(("large", "green", "can", 0.2, 0.5), ("large", "blue", "can", 0.8, 0.5), ("large", "red", "mug", x, y))
        return language.between(scene.objects, (2,), 0, 1)
    assert found(0.5, 0.5) == found(0.4, 0.55) == (2,)
    assert found(0.95, 0.5) == found(0.1, 0.5) == found(0.5, 0.8) == ()  # beyond either, or beside the way
    assert found(0.5, 0.62) is None and found(0.25, 0.5) is None


def named(phrase, objects=AROUND):
    """The objects that a noun phrase fits, by its words."""
    words = phrase.replace("that is ", "").replace("which is ", "").split()
    colours, shapes = [c for c in COLOURS if c in words], [s for s, nouns in NOUNS.items() if set(nouns) & set(words)]
    return [i for i, o in enumerate(objects) if (not colours or o.colour in colours) and (not shapes or o.shape in shapes)]


def test_relations_say_what_they_select():
    rng, seen = np.random.default_rng(0), set()
    axis_and_sign = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "behind": (1, -1), "below": (1, 1), "in front of": (1, 1)}
    for _ in range(4000):
        found = language.sample(AROUND, rng)
        if found.kind != "relation" or "color" in found.text:
            continue
        told = re.search(r"(left of|right of|above|behind|below|in front of|next to|near|beside|between) the (.*)", found.text)
        anchors = [named(part) for part in told[2].split(" and the ")]
        assert all(len(fits) == 1 for fits in anchors), found.text
        assert not set(found.referents) & {fits[0] for fits in anchors}  # nothing is beside itself
        if told[1] in axis_and_sign:
            seen.add(told[1])
            axis, sign = axis_and_sign[told[1]]
            assert all(sign * (AROUND[i].centre[axis] - AROUND[anchors[0][0]].centre[axis]) > 0 for i in found.referents)
    assert seen == set(axis_and_sign)


def test_a_size_is_named_where_sizes_differ():
    rng, sized = np.random.default_rng(0), 0
    for _ in range(1000):
        found = language.sample(AROUND, rng)
        shape, colour, size = found.attributes
        if size is not None:
            sized += 1
            assert len({o.size for o in AROUND if shape in (None, o.shape) and colour in (None, o.colour)}) > 1
            assert any(word in found.text.split() for word in language.SIZE_WORDS[size])
    assert sized > 20


ACROSS = scene_of(*(("large", "red", "mug", x, 0.5) for x in (0.8, 0.2, 0.5))).objects
DEEP = scene_of(("large", "red", "mug", 0.5, 0.8), ("large", "red", "mug", 0.5, 0.2)).objects


@pytest.mark.parametrize("objects, question, words", [
    (ACROSS[:2], "do you mean the one on the left or the one on the right?", ("right", "left")),
    (ACROSS, "do you mean the one on the left, the one in the middle or the one on the right?", ("right", "left", "middle")),
    (DEEP, "do you mean the one at the top or the one at the bottom?", ("bottom", "top"))])
def test_a_person_answers_where_the_object_is(objects, question, words):
    """words: what is true of each object. By a hundred answers, of all ways to say it."""
    rng, candidates = np.random.default_rng(0), range(len(objects))
    assert questions.ask(objects, candidates)[0] == question
    order = [word for word in ("left", "top", "middle", "right", "bottom") if word in words]
    for target, word in enumerate(words):
        for _ in range(33):
            answer = questions.Oracle(objects, target, rng).answer(question, candidates)
            assert word in answer.split() and not set(answer.split()) & (set(words) - {word})
            assert place_taken(Turn(question, answer)) == PlaceTaken(int(objects is DEEP), order.index(word), len(words))


def test_what_lies_side_by_side_is_not_told_apart_by_its_side():
    near = scene_of(("large", "red", "mug", 0.5, 0.5), ("large", "red", "mug", 0.55, 0.5)).objects
    assert not questions.splits(near, (0, 1)) and questions.ask(near, (0, 1)) is None
