"""The dialog around one instruction: its turns, and how many there may be. Pure: no model, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from clue_ros.types import TURN_LIMIT, Prompt, Turn
from clue_ros.vlm.tokens import clean_text


@dataclass(frozen=True)
class Dialog:
    """An instruction, its finished turns, and the question that waits for an answer (None when none does)."""

    prompt: Prompt
    open_question: str | None = None
    turn_limit: int = TURN_LIMIT

    @classmethod
    def start(cls, instruction: str, turn_limit: int = TURN_LIMIT) -> Dialog:
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
        """The dialog before its last answer, whose question is open again. ValueError when nothing was answered."""
        if not self.prompt.turns:
            raise ValueError("there is no answer to take back")
        *earlier, last = self.prompt.turns
        return Dialog(Prompt(self.prompt.instruction, tuple(earlier)), last.question, self.turn_limit)
