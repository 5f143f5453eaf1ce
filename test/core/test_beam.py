"""The beam finds the likeliest text, where greedy decoding does not."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clue_ros.vlm.beam import likeliest

END = 0


def searched(transitions, start, width, most=4, refused=lambda text: False, least=-np.inf):
    """By the beam, in a language whose next word depends on the last one alone: log P float[V, V] and float[V]."""
    texts = [[]]

    def step(tokens, rows):
        nonlocal texts
        texts = [[*texts[row], token] for token, row in zip(tokens, rows)]
        return torch.stack([transitions[text[-1]] for text in texts])
    return likeliest(start, step, END, width, most, refused, least)


def likelihoods(transitions, start, most=4):
    """{text: log P} of every text of at most `most` words, the end included, without which it is cut off at `most`."""
    found = {}
    for length in range(most + 1):
        for words in itertools.product(range(1, len(start)), repeat=length):
            chain = [start, *(transitions[word] for word in words)]
            spoken = sum(float(chain[k][word]) for k, word in enumerate(words))
            found[words] = spoken + (float(chain[-1][END]) if length < most else 0.0)
    return found


def test_a_likely_beginning_of_unlikely_texts_is_given_up():
    red, green, blue, purple = 1, 2, 3, 4
    start = torch.tensor([0.0, 0.45, 0.4, 0.1, 0.05]).log()
    after = torch.full((5, 5), 1e-9)
    after[red] = torch.tensor([0.01, 0.0, 0.33, 0.33, 0.33])  # red or anything
    after[green] = torch.tensor([0.01, 0.0, 0.0, 0.04, 0.95])  # green or purple
    after[blue], after[purple] = (torch.tensor([0.98, 0.005, 0.005, 0.005, 0.005]) for _ in range(2))
    assert searched(after.log(), start, 1)[0][0] == red
    text, logp = searched(after.log(), start, 2)
    assert text == [green, purple] and logp == pytest.approx(np.log(0.4 * 0.95 * 0.98), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10 ** 6), st.integers(2, 4))
def test_a_beam_as_wide_as_the_language_finds_the_best_text_of_all(seed, words):
    generator = torch.Generator().manual_seed(seed)
    table = (3 * torch.randn(words + 1, words + 1, generator=generator)).log_softmax(-1)
    every = likelihoods(table, table[0], most=3)
    text, logp = searched(table, table[0], (words + 1) ** 3, most=3)
    assert logp == pytest.approx(max(every.values()), abs=1e-4) and every[tuple(text)] == pytest.approx(logp, abs=1e-4)


def test_a_wider_beam_never_finds_less_than_greedy_decoding_and_forbidden_words_do_not_come():
    for seed in range(30):
        table = (3 * torch.randn(6, 6, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)
        table[:, 3] = -torch.inf
        found = [searched(table, table[0], width) for width in (1, 8)]
        assert found[0][1] <= found[1][1] + 1e-6 and all(3 not in text for text, _ in found)


def test_a_refused_text_gives_way_to_the_next_best_and_not_to_nothing():
    table = (3 * torch.randn(4, 4, generator=torch.Generator().manual_seed(1))).log_softmax(-1)
    ended = sorted(((logp, text) for text, logp in likelihoods(table, table[0], most=3).items() if len(text) < 3), reverse=True)
    best, second = ([text for _, text in ended][k] for k in (0, 1))
    refused = lambda text: tuple(text) == best  # noqa: E731
    assert tuple(searched(table, table[0], 64, 3)[0]) == best
    assert tuple(searched(table, table[0], 64, 3, refused)[0]) == second


def test_all_words_forbidden_is_nothing_to_say():
    nothing = torch.full((3,), -torch.inf)
    assert searched(nothing.expand(3, 3), nothing, 2)[0] == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10 ** 6), st.floats(-6, -0.1))
def test_what_is_less_likely_than_wanted_is_not_found_and_the_rest_as_ever(seed, least):
    table = (3 * torch.randn(4, 4, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)
    every = searched(table, table[0], 64, most=3)
    wanted = searched(table, table[0], 64, most=3, least=least)
    assert wanted == (every if every[1] >= least else ([], -np.inf))


def test_where_all_the_likeliest_endings_are_refused_the_others_are_gone_on_with():
    """Of twice the width that is looked at, half may end: two likely endings leave room for two texts that go on."""
    start = torch.tensor([1e-9, 0.5, 0.3, 0.2]).log()
    transitions = torch.tensor([[1.0, 0, 0, 0], [0.6, 0.1, 0.1, 0.2], [0.9, 0.02, 0.03, 0.05], [0.5, 0.2, 0.2, 0.1]]).log()
    best, _ = searched(transitions, start, width=1, most=3, refused=lambda text: len(text) < 2)
    assert len(best) >= 2
