"""Guesses of how a text goes on, so that the decoder checks several tokens in one pass instead of one by one.

A robot's questions resemble each other. Whatever was said before is looked up by its last tokens, the guess is fed to the
decoder together with the token before it, and as much of it as greedy decoding would have said is kept: speculative
decoding (arXiv 2211.17192) with a lookup (as transformers' `prompt_lookup_num_tokens`) in place of a draft model. The
words are those of plain greedy decoding; only the number of passes differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Drafts:
    """Continuations by the tokens before them. length: tokens of a guess; context: most tokens looked up by."""

    def __init__(self, length: int = 8, context: int = 4, most: int = 20_000):
        self.length, self.context, self.most = length, context, most
        self._next: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._said: set[int] = set()

    def propose(self, said: Sequence[int]) -> tuple[int, ...]:
        """Up to `length` tokens that followed the longest known ending of `said`, most recently; none when it is new."""
        for n in range(min(self.context, len(said)), 0, -1):
            if (guess := self._next.get(tuple(said[-n:]))) is not None:
                return guess
        return ()

    def echo(self, prompt: Iterable[int]) -> tuple[int, ...]:
        """Up to `length` tokens of the prompt, each once, that were ever said in answer: an object's label mostly repeats
        the words it was asked for by ("hand me the [red] [mug] there")."""
        return tuple(dict.fromkeys(token for token in prompt if token in self._said))[:self.length]

    def remember(self, said: Sequence[int]) -> None:
        """Learn a finished text: what it answers, a token, then its own ones, the end included."""
        if len(self._next) > self.most:
            self._next.clear()
        self._said.update(said[1:])
        for i in range(1, len(said)):
            for n in range(1, min(self.context, i) + 1):
                self._next[tuple(said[i - n:i])] = tuple(said[i:i + self.length])
