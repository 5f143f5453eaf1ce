"""Questions that tell candidates apart, what an answer selects, and the rule-based oracle that answers.

A question offers options that differ in one attribute or in position. It is *true* of a scene when its options split
the candidates: at least two options fit some candidate, and no candidate fits two. "The red bowl" fits no mug.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from clue_ros.tabletop.language import NOUNS, SIZE_WORDS, pick
from clue_ros.tabletop.scene import COLOURS, SHAPES, SIZES, SceneObject

SIDES = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom",
         "middle": "in the middle"}
GAP = 0.06  # candidates nearer than this along an axis (image fraction) are not told apart by it
VALUES = {"colour": COLOURS, "shape": SHAPES, "size": SIZES}

ANY = "one"  # what an object of any shape is called


@dataclass(frozen=True)
class Offer:
    """What a question offers: values of one attribute, for all objects of a noun. nouns: a shape or `ANY` for each value; two questions
    that differ in them alone ask the same."""

    attribute: str
    values: tuple[str, ...]
    nouns: tuple[str, ...] = field(compare=False)


@dataclass(frozen=True)
class Split:
    """One way to tell candidates apart: values and the candidates each fits, in the order they are offered."""

    attribute: str  # "colour", "shape", "size" or "position"
    options: tuple[tuple[str, tuple[int, ...]], ...]
    gap: float = 0.0  # how far apart a position split's sides are, image fraction

    @property
    def worst(self) -> int:
        """Candidates left after the least helpful answer."""
        return max(len(members) for _, members in self.options)


def splits(objects: Sequence[SceneObject], candidates: Sequence[int]) -> list[Split]:
    """Every split of the candidates into two or three groups, best first: fewest left, then colour, shape, size, place.
    One candidate cannot be split."""
    if len(candidates) < 2:
        return []
    found = []
    for attribute, values in VALUES.items():
        groups = [(v, tuple(i for i in candidates if getattr(objects[i], attribute) == v)) for v in values]
        groups = tuple(g for g in groups if g[1])
        if 2 <= len(groups) <= 3:
            found.append(Split(attribute, groups))
    for axis, names in ((0, ("left", "middle", "right")), (1, ("top", "middle", "bottom"))):
        order = sorted(candidates, key=lambda i: objects[i].centre[axis])
        at = [objects[i].centre[axis] for i in order]
        gaps = np.diff(at)
        if len(order) == 3 and gaps.min() > GAP:
            found.append(Split("position", tuple((n, (i,)) for n, i in zip(names, order)), float(gaps.min())))
        elif gaps.max() > GAP:
            cut = int(gaps.argmax()) + 1
            found.append(Split("position", ((names[0], tuple(order[:cut])), (names[2], tuple(order[cut:]))),
                               float(gaps.max())))
    rank = {"colour": 0, "shape": 1, "size": 2, "position": 3}
    return sorted(found, key=lambda s: (s.worst, rank[s.attribute], -s.gap))


def option_text(attribute: str, value: str, noun: str) -> str:
    """"the red mug", "the big mug", "the one on the left"."""
    if attribute == "position":
        return f"the one {SIDES[value]}"
    if attribute == "shape":
        return f"the {value}"
    return f"the {SIZE_WORDS['large'][0] if value == 'large' else value} {noun}"


def ask(objects: Sequence[SceneObject], candidates: Sequence[int],
        asked: Sequence[Offer] = ()) -> tuple[str, Split] | None:
    """The best question about the candidates, and its split; None when nothing tells them apart.

    asked: what the questions before offered; of places, another choice of them may be asked about again.
    """
    before = {offer.attribute for offer in asked if offer.attribute != "position"}
    possible = [s for s in splits(objects, candidates) if s.attribute not in before
                and Offer(s.attribute, tuple(value for value, _ in s.options), ()) not in asked]
    if not possible:
        return None
    split = possible[0]
    shapes = {objects[i].shape for i in candidates}
    noun = shapes.pop() if len(shapes) == 1 else ANY
    options = [option_text(split.attribute, value, noun) for value, _ in split.options]
    return f"do you mean {', '.join(options[:-1])} or {options[-1]}?", split


def parse(question: str) -> Offer | None:
    """What a question offers; None when it is no question of this grammar."""
    words = question.lower().strip().rstrip("?").strip()
    if not words.startswith("do you mean "):
        return None
    options = [o.strip() for part in words[len("do you mean "):].split(" or ") for o in part.split(",")]
    readings = [_read_option(o) for o in options]
    if len(readings) < 2 or None in readings or len({attribute for attribute, *_ in readings}) != 1:
        return None
    attributes, values, nouns = zip(*readings)
    return Offer(attributes[0], values, nouns)


def _read_option(text: str) -> tuple[str, str, str] | None:
    """Attribute, value and noun."""
    for value, phrase in SIDES.items():
        if text == f"the one {phrase}":
            return "position", value, ANY
    words = text.split()
    if len(words) == 2 and words[1] in SHAPES:
        return "shape", words[1], words[1]
    if len(words) == 3 and words[2] in (*SHAPES, ANY):
        if words[1] in COLOURS:
            return "colour", words[1], words[2]
        for size, names in SIZE_WORDS.items():
            if words[1] in names:
                return "size", size, words[2]
    return None


def selected(objects: Sequence[SceneObject], candidates: Sequence[int], offer: Offer) -> dict[str, tuple[int, ...]]:
    """The candidates each offered value fits."""
    if offer.attribute != "position":
        return {value: tuple(i for i in candidates if getattr(objects[i], offer.attribute) == value and noun in (ANY, objects[i].shape))
                for value, noun in zip(offer.values, offer.nouns)}
    for split in splits(objects, candidates):
        if split.attribute == "position" and tuple(v for v, _ in split.options) == offer.values:
            return dict(split.options)
    return {value: () for value in offer.values}


def is_true_difference(objects: Sequence[SceneObject], candidates: Sequence[int], question: str) -> bool:
    """Whether the question's options split the candidates."""
    offer = parse(question)
    if offer is None or len(set(offer.values)) != len(offer.values):
        return False
    groups = selected(objects, candidates, offer)
    return sum(bool(members) for members in groups.values()) >= 2


def splits_best(objects: Sequence[SceneObject], candidates: Sequence[int], question: str) -> bool:
    """Whether the question is true and no other would leave fewer candidates after its least helpful answer."""
    if not is_true_difference(objects, candidates, question):
        return False
    members = [set(m) for m in selected(objects, candidates, parse(question)).values() if m]
    unnamed = set(candidates) - set().union(*members)
    worst = max(map(len, [*members, unnamed]))
    return worst <= splits(objects, candidates)[0].worst


def answer_text(attribute: str, value: str, rng: np.random.Generator) -> str:
    """One way a person picks an option."""
    if attribute == "position":
        short = {"left": "the left one", "right": "the right one", "top": "the top one", "bottom": "the bottom one",
                 "middle": "the middle one"}[value]
        return pick(rng, (f"the one {SIDES[value]}", SIDES[value], short, value))
    if attribute == "shape":
        return pick(rng, (f"the {pick(rng, NOUNS[value])}", value))
    word = pick(rng, SIZE_WORDS[value]) if attribute == "size" else value
    return pick(rng, (f"the {word} one", f"the {word} one please", word))


def described(item: SceneObject) -> str:
    """All that can be said of an object but where it is."""
    return f"the {item.size if item.size == 'small' else 'big'} {item.colour} {item.shape}"


class Oracle:
    """A person who has one object in mind and answers by rule; with probability `noise` the answer is another option."""

    def __init__(self, objects: Sequence[SceneObject], target: int, rng: np.random.Generator, noise: float = 0.0):
        self.objects, self.target, self.rng, self.noise = objects, target, rng, noise

    def answer(self, question: str, candidates: Sequence[int]) -> str:
        """The option that fits the target among the candidates; a full description when none does."""
        return self.reply(question, candidates)[0]

    def reply(self, question: str, candidates: Sequence[int]) -> tuple[str, tuple[int, ...]]:
        """The answer, and the candidates that it leaves to whoever takes it at its word."""
        if (offer := parse(question)) is not None:
            groups = selected(self.objects, candidates, offer)
            fitting = [v for v in offer.values if self.target in groups[v]]
            others = [v for v in offer.values if v not in fitting]
            if fitting and others and self.rng.random() < self.noise:
                fitting = [pick(self.rng, others)]
            if fitting:
                return answer_text(offer.attribute, fitting[0], self.rng), groups[fitting[0]]
        all_of_it = described(self.objects[self.target])
        return all_of_it, tuple(i for i in candidates if described(self.objects[i]) == all_of_it)
