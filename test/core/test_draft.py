"""What was said before is guessed again, by the longest known ending."""

from clue_ros.vlm.draft import Drafts


def test_nothing_is_guessed_before_anything_was_said():
    assert Drafts().propose([1, 2, 3]) == ()


def test_a_text_is_guessed_from_its_start_and_from_its_middle():
    drafts = Drafts(length=3)
    drafts.remember([9, 1, 2, 3, 4, 5])
    assert drafts.propose([9]) == (1, 2, 3)
    assert drafts.propose([7, 7, 3]) == (4, 5)


def test_the_longest_ending_decides_then_the_latest():
    drafts = Drafts()
    drafts.remember([1, 2, 5])
    drafts.remember([3, 2, 6])
    assert drafts.propose([2]) == (6,) and drafts.propose([1, 2]) == (5,)


def test_memory_is_bounded():
    drafts = Drafts(most=100)
    for k in range(1000):
        drafts.remember(range(10 * k, 10 * k + 10))
    assert len(drafts._next) < 200


def test_a_prompt_is_echoed_in_the_words_that_answers_had():
    drafts = Drafts(length=3)
    drafts.remember([9, 1, 2])
    assert drafts.echo([7, 2, 8, 1, 2]) == (2, 1)  # 9 is no word of an answer, and nothing is said twice
    assert Drafts().echo([1, 2]) == ()
