"""The dialog around one instruction: turns, limit, and the decision to ask or to point. Pure: no model, no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass

from clue_ros.types import Prompt, Turn
from clue_ros.vlm.tokens import clean_text

SYNONYMS = {"little": "small", "large": "big"}
ORDERS = (("left", "middle", "right"), ("top", "middle", "bottom"))  # along x and y
COURTESY = {"the", "one", "please", "thanks", "i", "mean", "on", "at", "in"}


@dataclass(frozen=True)
class Dialog:
    """An instruction, its finished turns, and the question that waits for an answer (None when none does)."""

    prompt: Prompt
    open_question: str | None = None
    turn_limit: int = 3

    @classmethod
    def start(cls, instruction: str, turn_limit: int = 3) -> Dialog:
        """A new dialog. InputError when the instruction is empty or too long."""
        return cls(Prompt(clean_text(instruction)), None, turn_limit)

    @property
    def turns(self) -> int:
        """Answered questions so far."""
        return len(self.prompt.turns)

    def may_ask(self) -> bool:
        """Whether another question is allowed."""
        return self.turns < self.turn_limit

    def ask(self, question: str) -> Dialog:
        """The dialog after the robot asked."""
        return Dialog(self.prompt, question, self.turn_limit)

    def answer(self, text: str) -> Dialog:
        """The dialog after the person answered. InputError for an unusable text, ValueError when nothing was asked."""
        if self.open_question is None:
            raise ValueError("there is no open question to answer")
        turn = Turn(self.open_question, clean_text(text, "answer"))
        return Dialog(Prompt(self.prompt.instruction, (*self.prompt.turns, turn)), None, self.turn_limit)

    def take_back(self) -> Dialog:
        """The dialog before its last answer, whose question is open again."""
        *earlier, last = self.prompt.turns
        return Dialog(Prompt(self.prompt.instruction, tuple(earlier)), last.question, self.turn_limit)


def picks_an_offer(turn: Turn) -> bool:
    """Whether the answer takes one of the question's options and says nothing new: "the left one please", not "no, the red
    one"."""
    said, offered = (set(_words(text)) - COURTESY for text in (turn.answer, turn.question))
    return bool(said) and said <= offered


@dataclass(frozen=True)
class Place:
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


def place_taken(turn: Turn) -> Place | None:
    """Where the answer takes one of the places that the question offered; else None."""
    there, taken = places_offered(turn.question), _places(turn.answer)
    if not there or len(taken) != 1 or not picks_an_offer(turn):
        return None
    axis = next(axis for axis, order in enumerate(ORDERS) if there[0] in order)
    return Place(axis, there.index(*taken), len(there))


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
