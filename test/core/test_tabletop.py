"""Words mean what the scene says; questions split; the oracle tells the truth."""

import re

import numpy as np
import pytest
from tabletop_scenes import scene_of

from clue_ros.data import examples
from clue_ros.tabletop import language, questions
from clue_ros.tabletop.questions import Offer
from clue_ros.tabletop.scene import Scene, from_json, to_json
from clue_ros.types import Box


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def crowd():
    return scene_of(("large", "red", "block", 0.1, 0.2), ("small", "red", "block", 0.5, 0.25), ("large", "blue", "block", 0.9, 0.3),
                    ("large", "red", "mug", 0.3, 0.8), ("large", "green", "ball", 0.7, 0.75))


def test_position_words_are_graded(crowd):
    blocks = (0, 1, 2)
    assert language.by_position(crowd.objects, blocks, "leftmost") == (0,)
    assert language.by_position(crowd.objects, blocks, "right") == (2,)
    assert language.by_position(crowd.objects, blocks, "top") == (0, 1, 2)  # 0.20, 0.25, 0.30: all nearly as high


def test_borderline_positions_have_no_meaning():
    scene = scene_of(("large", "red", "mug", 0.1, 0.5), ("large", "red", "mug", 0.22, 0.5))  # 0.12 apart: left or not?
    assert language.by_position(scene.objects, (0, 1), "left") is None


def test_every_expression_is_true_of_what_it_means(crowd, rng):
    kinds = set()
    for _ in range(500):
        found = language.sample(crowd.objects, rng)
        shape, colour, size = found.attributes
        kinds.add(found.kind)
        assert found.referents and set(found.referents) <= set(found.matches)
        for i in found.referents:
            o = crowd.objects[i]
            assert shape in (None, o.shape) and colour in (None, o.colour) and size in (None, o.size)
        if found.kind != "relation":
            assert language.elsewhere(found, crowd.objects) == found
    assert kinds == {"attribute", "position", "relation"}


def test_asked_for_ambiguity_is_given(crowd, rng):
    for _ in range(100):
        assert len(language.sample(crowd.objects, rng, ambiguous=True).referents) > 1
        assert len(language.sample(crowd.objects, rng, ambiguous=False).referents) == 1


def test_removing_the_rival_makes_the_same_words_clear(two_mugs, rng):
    twin = Scene(1, "", two_mugs.objects[:1] + two_mugs.objects[2:])
    doubtful, clear = examples.counterfactual(two_mugs, twin, rng)
    assert doubtful.prompt == clear.prompt and doubtful.ambiguous and not clear.ambiguous


def test_twins_whose_words_say_where_can_be_asked_for(crowd):
    words = [word for position in language.POSITIONS.values() for word in position.adjectives + position.phrases]
    told = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        fewer = Scene(1, "", crowd.objects[:seed % len(crowd.objects)] + crowd.objects[seed % len(crowd.objects) + 1:])
        if pair := examples.counterfactual(crowd, fewer, rng, position=True):
            doubtful, clear = pair
            assert any(word in doubtful.prompt.instruction for word in words)
            fits = [crowd.objects[i] for i in doubtful.matches]
            assert [fewer.objects[i] for i in clear.matches] == [one for one in fits if one in fewer.objects]
            told += len(clear.matches) > 1
    assert told


def test_mirroring_swaps_left_and_right(crowd):
    assert language.by_position(crowd.mirrored().objects, (0, 1, 2), "leftmost") == (2,)
    assert crowd.mirrored().mirrored().objects[0].box == pytest.approx(crowd.objects[0].box)


def test_a_crop_keeps_boxes_on_their_pixels(crowd):
    cut = crowd.window(0.0, 0.1, 1.0, 0.9)
    x1, y1, x2, y2 = cut.objects[0].box
    assert (x1, x2) == pytest.approx((0.05, 0.15)) and (y1, y2) == pytest.approx((0.05 / 0.8, 0.15 / 0.8))


def test_scenes_survive_their_file(crowd):
    read = from_json(to_json(crowd))
    assert np.allclose([o.box for o in read.objects], [o.box for o in crowd.objects], atol=1e-4)
    assert from_json(to_json(read)) == read


def test_the_best_question_names_what_differs(two_mugs):
    text, split = questions.ask(two_mugs.objects, (0, 1))
    assert text == "do you mean the red mug or the blue mug?"
    assert split.worst == 1 and questions.parse(text) == Offer("colour", ("red", "blue"), ("mug", "mug"))
    assert questions.is_true_difference(two_mugs.objects, (0, 1), text)


@pytest.mark.parametrize("text", ["do you mean the green mug or the white mug?", "do you mean the red mug or the red mug?",
                                  "do you mean the big mug or the small mug?", "which one?", "",
                                  "do you mean the red bowl or the blue bowl?", "do you mean the red mug or the blue bottle?",
                                  "do you mean the one at the top or the one at the bottom?"])
def test_a_question_that_splits_nothing_is_not_true(two_mugs, text):
    assert not questions.is_true_difference(two_mugs.objects, (0, 1), text)


def test_every_question_asked_is_true_and_every_answer_selects_the_target(crowd, rng):
    asked = 0
    for _ in range(300):
        example = examples.ambiguous(crowd, rng)
        if example is None:
            continue
        asked += 1
        assert questions.is_true_difference(crowd.objects, example.referents, example.question)
        target = language.pick(rng, example.referents)
        answer = questions.Oracle(crowd.objects, target, rng).answer(example.question, example.referents)
        after, _ = examples.follow(crowd, example, answer, target)
        assert target in after.referents and len(after.referents) < len(example.referents)
    assert asked > 100


def test_a_noisy_oracle_sometimes_lies(two_mugs, rng):
    oracle = questions.Oracle(two_mugs.objects, 0, rng, noise=0.5)
    replies = [oracle.answer("do you mean the red mug or the blue mug?", (0, 1)) for _ in range(200)]
    assert 0.3 < np.mean(["blue" in r for r in replies]) < 0.7


def test_the_oracle_describes_its_object_when_no_option_fits(two_mugs, rng):
    reply = questions.Oracle(two_mugs.objects, 0, rng).answer("do you mean the green mug or the white mug?", (0, 1))
    assert reply == "the big red mug"


def test_detect_lists_every_object_from_left_to_right(two_mugs):
    for seed in range(20):
        example = examples.detect(two_mugs, np.random.default_rng(seed))
        assert [b.x1 for b in example.boxes] == sorted(b.x1 for b in example.boxes)
        assert all(isinstance(b, Box) for b in example.boxes)


def test_invented_words_are_around_the_noun_phrase_and_not_in_it():
    rng = np.random.default_rng(0)
    said = [language.command("the red mug", rng, language.Phrasing(("take",), made_up=1.0)) for _ in range(200)]
    assert all("the red mug" in words for words in said)
    strange = [words for words in said if words not in ("the red mug", "take the red mug")]
    assert len(set(strange)) > 150 and all(re.fullmatch("[a-z ]+", words) for words in strange)
    before = [words.split("the red mug")[0].split() for words in strange]
    assert not any(" ".join(words) in language.SEEN.before for words in before)
    assert sum(bool(set(words) & set(language.INSIDE)) for words in before) > 40  # "next" is no relation there
    assert not any(words[-1] in language.INSIDE for words in before)  # "next to the red mug" would be one


def test_what_another_object_is_found_by_is_never_one_of_those(crowd, rng):
    texts = [found.text for _ in range(2000) if (found := language.sample(crowd.objects, rng)).kind == "relation"]
    assert len(texts) > 100 and not any(" one" in text.split(" the ", 1)[1] for text in texts)


def test_a_place_is_not_asked_about_twice_by_the_same_words():
    scene = scene_of(*(("large", "red", "mug", x, y) for x, y in ((0.1, 0.5), (0.3, 0.5), (0.7, 0.5), (0.9, 0.5))))
    first, split = questions.ask(scene.objects, range(4))
    asked = questions.parse(first)
    assert questions.ask(scene.objects, range(4), [asked]) is None or questions.ask(scene.objects, range(4), [asked])[0] != first
    assert questions.ask(scene.objects, range(4), [Offer("colour", ("red", "blue"), ("mug", "mug"))])[0] == first


def test_a_mirrored_box_goes_from_left_to_right(crowd):
    assert crowd.mirrored().objects[0].box == pytest.approx((0.85, 0.15, 0.95, 0.25))
    cut = crowd.window(0.05, 0.0, 1.0, 1.0)
    assert cut.objects[0].box == pytest.approx((0.0, 0.15, 0.1 / 0.95, 0.25))


def test_a_settled_dialog_leaves_one_object_and_no_offer_comes_twice(crowd):
    settled = [e for seed in range(60) if (e := examples.settled(crowd, np.random.default_rng(seed)))]
    assert len(settled) > 30 and all(len(e.referents) == 1 and not e.ambiguous and e.prompt.turns for e in settled)
    for example in settled:
        offers = [questions.parse(turn.question) for turn in example.prompt.turns]
        assert len(offers) == len(set(offers))


def test_of_four_alike_there_is_no_detection_prompt():
    alike = scene_of(*(("large", "red", "mug", x, 0.5) for x in (0.1, 0.35, 0.6, 0.85)))
    assert all(examples.detect(alike, np.random.default_rng(seed)) is None for seed in range(10))
