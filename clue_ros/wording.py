"""What a question offers, and what an answer takes of it, by their words alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from clue_ros.types import Turn

SYNONYMS = {"little": "small", "large": "big"}
ORDERS = (("left", "middle", "right"), ("top", "middle", "bottom"))  # along x and y
COURTESY = {"the", "one", "please", "thanks", "i", "mean", "on", "at", "in"}


def picks_an_offer(turn: Turn) -> bool:
    """Whether the answer takes one of the question's options and says nothing new: "the left one please", not "no, the red
    one"."""
    said, offered = (set(_words(text)) - COURTESY for text in (turn.answer, turn.question))
    return bool(said) and said <= offered


@dataclass(frozen=True)
class PlaceTaken:
    """An answer's place among those that a question offered, one for each of `count` objects. axis: along which they are
    ordered, 0 for x and 1 for y; rank: from 0, from left to right and from top to bottom."""

    axis: int
    rank: int
    count: int


def places_offered(question: str) -> tuple[str, ...]:
    """The two opposite sides of the picture that a question offers, in the order of `ORDERS`, with the middle where it offers that
    too; none where it asks about anything else, be it "the mug left of the bowl or the one right of the plate"."""
    options = {option - COURTESY for option in meaning(question)}
    for order in ORDERS:
        there = tuple(word for word in order if {word} in options)
        if {order[0], order[-1]} <= set(there) and len(there) == len(options):
            return there
    return ()


def place_taken(turn: Turn) -> PlaceTaken | None:
    """Where the answer takes one of the places that the question offered; else None."""
    there, taken = places_offered(turn.question), _places(turn.answer)
    if len(taken) != 1 or not taken <= set(there) or not picks_an_offer(turn):
        return None
    axis = next(axis for axis, order in enumerate(ORDERS) if there[0] in order)
    return PlaceTaken(axis, there.index(*taken), len(there))


def meaning(question: str) -> frozenset[frozenset[str]]:
    """What two questions share that ask the same, be it with their options in another order, or with "one" for "mug": the words
    of each option that are not in all of them."""
    options = re.split(r",|\bor\b", re.sub(r"^\W*do you mean\b", "", question.lower()))
    words = [found for option in options if (found := frozenset(_words(option)))]
    common = frozenset.intersection(*words) if len(words) > 1 else frozenset()
    return frozenset(option - common for option in words)


def _words(text: str) -> list[str]:
    return [SYNONYMS.get(word, word) for word in re.findall(r"\w+", text.lower())]


def _places(text: str) -> set[str]:
    return {word for word in _words(text) if any(word in order for order in ORDERS)}
