"""What the tabletop's scenes teach: a prompt, what it means, and what is right to answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clue_ros.tabletop import language, questions
from clue_ros.tabletop.language import SEEN, Phrasing
from clue_ros.tabletop.scene import Scene, SceneObject
from clue_ros.types import Box, Prompt, Turn


@dataclass(frozen=True)
class Example:
    """What was said about an image, and what is right to answer.

    boxes: the objects meant, as fractions of the image (a clear prompt has one). question: what to ask when the prompt
    is ambiguous, else None. matches, referents: scene objects that fit the attributes, and the whole prompt.
    """

    prompt: Prompt
    boxes: tuple[Box, ...]
    label: str
    question: str | None = None
    matches: tuple[int, ...] = ()
    referents: tuple[int, ...] = ()

    @property
    def ambiguous(self) -> bool:
        """More than one object is meant."""
        return len(self.boxes) > 1


def _boxes(objects: Sequence[SceneObject], indices: Sequence[int]) -> tuple[Box, ...]:
    return tuple(Box(*objects[i].box) for i in indices)


def clear(scene: Scene, rng: np.random.Generator, phrasing: Phrasing = SEEN) -> Example | None:
    """An instruction that means exactly one object."""
    found = language.sample(scene.objects, rng, ambiguous=False)
    return found and _instruction(scene, found, rng, phrasing=phrasing)


def ambiguous(scene: Scene, rng: np.random.Generator, phrasing: Phrasing = SEEN) -> Example | None:
    """An instruction that means several objects, with the best question about them."""
    found = language.sample(scene.objects, rng, ambiguous=True)
    asked = found and questions.ask(scene.objects, found.referents)
    return asked and _instruction(scene, found, rng, asked[0], phrasing)


def counterfactual(one: Scene, other: Scene, rng: np.random.Generator, phrasing: Phrasing = SEEN,
                   tries: int = 30, *, position: bool = False) -> tuple[Example, Example] | None:
    """The same words in two scenes: ambiguous in `one`, clear in `other`, its twin with one object fewer. position: only words
    that say where in the picture."""
    for _ in range(tries):
        found = language.sample(one.objects, rng, ambiguous=True)
        if position and found and found.kind != "position":
            continue
        left = found and language.elsewhere(found, other.objects)
        asked = found and questions.ask(one.objects, found.referents)
        if not left or len(left.referents) != 1 or not asked:
            continue
        doubtful = _instruction(one, found, rng, asked[0], phrasing)
        return doubtful, _example(doubtful.prompt, other, left)
    return None


def _instruction(scene: Scene, found: language.Expression, rng: np.random.Generator, question: str | None = None,
                 phrasing: Phrasing = SEEN) -> Example:
    return _example(Prompt(language.command(found.text, rng, phrasing)), scene, found, question)


def _example(prompt: Prompt, scene: Scene, found: language.Expression, question: str | None = None) -> Example:
    return Example(prompt, _boxes(scene.objects, found.referents), found.label, question, found.matches, found.referents)


def answered(scene: Scene, rng: np.random.Generator, phrasing: Phrasing = SEEN, turns: int = 2) -> Example | None:
    """A dialog: an ambiguous instruction, one or two questions with the oracle's answers about a random target."""
    example = ambiguous(scene, rng, phrasing)
    if example is None:
        return None
    target = language.pick(rng, example.referents)
    oracle = questions.Oracle(scene.objects, target, rng)
    asked: list[questions.Offer] = []
    for _ in range(turns):
        if example.question is None:
            break
        example, question = follow(scene, example, oracle.answer(example.question, example.referents), target, asked)
        asked.append(question)
        if rng.random() < 0.6:
            break
    return example


def settled(scene: Scene, rng: np.random.Generator, phrasing: Phrasing = SEEN, tries: int = 6) -> Example | None:
    """An ambiguous instruction, and a dialog about it that leaves one object."""
    for _ in range(tries):
        if (example := answered(scene, rng, phrasing, turns=3)) is not None and not example.ambiguous:
            return example
    return None


def follow(scene: Scene, example: Example, answer: str, target: int, asked: Sequence[questions.Offer] = (),
           ) -> tuple[Example, questions.Offer]:
    """The example after the true answer to its question, and what was asked. asked: before."""
    offer = questions.parse(example.question)
    groups = questions.selected(scene.objects, example.referents, offer)
    left = next(members for members in groups.values() if target in members)
    again = questions.ask(scene.objects, left, (*asked, offer)) if len(left) > 1 else None
    prompt = Prompt(example.prompt.instruction, (*example.prompt.turns, Turn(example.question, answer)))
    return Example(prompt, _boxes(scene.objects, left), example.label, again and again[0], example.matches, left), offer


def detect(scene: Scene, rng: np.random.Generator, phrasing: Phrasing = SEEN, most: int = 3) -> Example | None:
    """PaliGemma's detection prompt, "detect red mug", however instructions are put: every object that fits, from left to
    right."""
    (shape, colour, size), matches = language.attributes_of(scene.objects, int(rng.integers(len(scene.objects))), rng)
    if len(matches) > most:
        return None
    matches = tuple(sorted(matches, key=lambda i: scene.objects[i].centre[0]))
    label = " ".join(filter(None, (size, colour, shape or "object")))
    return Example(Prompt(f"detect {label}"), _boxes(scene.objects, matches), label, None, matches, matches)
