"""The prompt grammar, the condition token, and location tokens: each encoding beside its inverse.

Format of PaliGemma 2 (arXiv 2412.03555, big_vision): `<image>` x N, `<bos>`, prompt, newline; then the suffix and
`<eos>`. Prefix tokens attend to each other in both directions, suffix tokens only to what came before. A box is four
location tokens y1 x1 y2 x2, each round(fraction of the side x 1023).

The first suffix token is the *condition*: `<clarify>` opens a question, a location token opens a box. What people type
is always plain text: `<loc0001>` in an instruction is nine characters, never a location, and `assistant:` is no mark of
who speaks.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property

from clue_ros.types import Box, InputError, Prompt

LOCATIONS = 1024
MAX_TEXT = 1000  # characters of one instruction or answer
UNUSABLE = ("Cc", "Cf", "Cs")  # Unicode's control characters, invisible marks (of direction, tags ...) and surrogates
ROLES = ("assistant:", "user:")
CONDITION = "clarify"  # where the vocabulary has no token of its own for it
CLARIFY = f"<{CONDITION}>"


def clean_text(text: str, what: str = "instruction") -> str:
    """Characters without a shape become spaces, runs of blanks one. InputError when nothing or far too much is left."""
    if len(text) > MAX_TEXT:
        raise InputError(f"the {what} has {len(text)} characters, at most {MAX_TEXT} are read: say it in a sentence")
    cleaned = " ".join("".join(" " if unicodedata.category(c) in UNUSABLE else c for c in text).split())
    if not cleaned:
        example = "the left one" if what == "answer" else "pick up the red mug"
        raise InputError(f"the {what} is empty: say which object is meant, for example \"{example}\"")
    return cleaned


def box_to_locations(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Source pixels to location numbers (y1, x1, y2, x2), 0..1023; clipped to the image of (width, height)."""
    width, height = size
    number = lambda value, side: min(max(round(value / side * (LOCATIONS - 1)), 0), LOCATIONS - 1)  # noqa: E731
    return number(box.y1, height), number(box.x1, width), number(box.y2, height), number(box.x2, width)


def locations_to_box(locations: tuple[int, int, int, int], size: tuple[int, int]) -> Box | None:
    """Inverse of `box_to_locations` within half a location step; None when the corners are not in order."""
    width, height = size
    y1, x1, y2, x2 = (value / (LOCATIONS - 1) for value in locations)
    return Box(x1 * width, y1 * height, x2 * width, y2 * height) if x1 < x2 and y1 < y2 else None


@dataclass(frozen=True)
class Encoded:
    """Prefix tokens, and which of them are the person's and the robot's own words (the detector's queries).

    ids: image placeholders, bos, text, newline. words: for every id, whether it is a word of instruction or dialog.
    """

    ids: tuple[int, ...]
    words: tuple[bool, ...]


class Grammar:
    """Writes prompts and reads suffixes in the vocabulary of one PaliGemma tokenizer."""

    def __init__(self, tokenizer, image_tokens: int):
        self.tokenizer, self.image_tokens = tokenizer, image_tokens
        self.image = self._token("<image>")
        self.bos, self.eos, self.pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        self.first_location = self._token("<loc0000>")
        if None in (self.bos, self.eos, self.pad):
            raise InputError("the tokenizer does not say which tokens begin, end and pad a text: it is no PaliGemma's")
        if self._token(f"<loc{LOCATIONS - 1:04d}>") != self.first_location + LOCATIONS - 1:
            raise InputError("the tokenizer's location tokens are not consecutive: it is no PaliGemma tokenizer")
        self.clarify = self._condition()
        self.newline = self.plain("\n")
        self.assistant, self.user = (tuple(self._spell(f" {role}")) for role in ROLES)

    def _token(self, text: str) -> int:
        number = self.tokenizer.convert_tokens_to_ids(text)
        if number is None or number == self.tokenizer.unk_token_id:
            raise InputError(f"the tokenizer has no token {text}: it is no PaliGemma tokenizer")
        return number

    def _condition(self) -> int:
        """`<clarify>` where the vocabulary has it (models trained here), else the word after a blank, one token in Gemma's; without
        the blank it is two there."""
        if not self._condition_is_a_word:
            return self._token(CLARIFY)
        word = self._spell(f" {CONDITION}")
        if len(word) != 1:
            raise InputError(f"the tokenizer has neither a token {CLARIFY} nor the word {CONDITION}, after a blank, as one token: it is "
                             "no PaliGemma's")
        return word[0]

    @cached_property
    def _condition_is_a_word(self) -> bool:
        return CLARIFY not in self.tokenizer.get_vocab()

    @cached_property
    def _reserved(self) -> re.Pattern[str]:
        words = [CONDITION] if self._condition_is_a_word else []
        names = sorted((*self.tokenizer.get_added_vocab(), *ROLES, *words), key=len, reverse=True)
        return re.compile("|".join(re.escape(name) for name in names if name.strip()), re.IGNORECASE)

    @property
    def no_text(self) -> list[int]:
        """Every token that stands for no letters: of places, pictures, segments, controls; not the end."""
        added = {number for name, number in self.tokenizer.get_added_vocab().items() if name.strip()}
        return sorted({*added, *range(self.first_location, self.first_location + LOCATIONS), self.image, self.bos, self.pad,
                       self.clarify} - {self.eos})

    def _spell(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def plain(self, text: str) -> tuple[int, ...]:
        """Token ids of text as text: the name of a special token or of a role inside it, and the condition where it is a word, is
        cut in two, so that it is spelled out."""
        ids: list[int] = []
        start = 0
        for found in self._reserved.finditer(text):
            middle = found.start() + max(1, len(found.group()) // 2)
            ids += self._spell(text[start:middle])
            start = middle
        ids += self._spell(text[start:])
        return tuple(ids)

    def prefix(self, prompt: Prompt) -> Encoded:
        """`<image>`..., `<bos>`, "instruction assistant: question user: answer ...", newline. Texts must be clean."""
        parts = [((self.image,) * self.image_tokens + (self.bos,), False), (self.plain(prompt.instruction), True)]
        for turn in prompt.turns:
            parts += [(self.assistant, False), (self.plain(" " + turn.question), True),
                      (self.user, False), (self.plain(" " + turn.answer), True)]
        parts.append((self.newline, False))
        return Encoded(tuple(i for ids, _ in parts for i in ids), tuple(w for ids, w in parts for _ in ids))

    def location_ids(self, box: Box, size: tuple[int, int]) -> tuple[int, ...]:
        """Four token ids of a box in source pixels."""
        return tuple(self.first_location + n for n in box_to_locations(box, size))

    def boxes_suffix(self, boxes: list[Box], size: tuple[int, int], label: str) -> tuple[int, ...]:
        """`<loc> x 4 label ; <loc> x 4 label` and eos: what `detect label` answers; without a label, where nobody named it."""
        ids: tuple[int, ...] = ()
        for k, box in enumerate(boxes):
            ids += (self.plain(" ; ") if k else ()) + self.location_ids(box, size) + (self.plain(" " + label) if label else ())
        return ids + (self.eos,)

    def name_suffix(self, label: str) -> tuple[int, ...]:
        """What an object is called, without where it is, and eos."""
        return (*self.plain(" " + label), self.eos)

    def question_suffix(self, question: str) -> tuple[int, ...]:
        """The condition token, the question and eos. Where nobody worded a question the token alone, so that a model keeps the words
        it has; with eos where it has none, as with the vocabulary of a published base."""
        if not question:
            return (self.clarify, self.eos) if self._condition_is_a_word else (self.clarify,)
        return (self.clarify, *self.plain(question), self.eos)

    def text(self, ids: list[int]) -> str:
        """Plain text of generated tokens; special ones are left out."""
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()
