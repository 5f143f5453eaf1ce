"""Instructions about a scene, and what they mean.

An expression selects objects by attribute (shape, colour, size), then by position in the image or relation to another
object. What it selects, its *referents*, is computed from the scene: it is ambiguous exactly when there is more than
one. Position words are graded as people use them: "the left mug" is the leftmost mug and every other mug nearly as far
left. Expressions that people would argue about (an object inside the `Grade` gap) are never produced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clue_ros.tabletop.scene import SceneObject

NOUNS = {"block": ("block", "cube", "box"), "ball": ("ball", "sphere"), "can": ("can", "tin"), "bottle": ("bottle",),
         "mug": ("mug", "cup"), "bowl": ("bowl",)}
ANY_NOUN = ("object", "thing", "one")
ANCHOR = ("one", "object")  # what to say instead of what where an object is named to find another by
COLOUR_WORDS = {"purple": ("purple", "purple", "violet")}
SIZE_WORDS = {"small": ("small", "little"), "large": ("big", "large")}
VERBS = ("pick up", "pick up", "grab", "take", "hand me", "give me", "bring me", "get", "pass me", "point at", "move",
         "lift", "fetch", "i want", "can you pick up", "could you hand me", "please pick up", "please give me")


@dataclass(frozen=True)
class Phrasing:
    """What is said around a noun phrase: words before it, words after it. made_up: share of instructions with invented
    words instead, so that the noun phrase is found among words that were never met, and among those that mean something
    only inside it ("next", "and")."""

    before: tuple[str, ...]
    after: tuple[str, ...] = ("",)
    made_up: float = 0.0


SEEN = Phrasing(VERBS)
TAUGHT = Phrasing(VERBS, made_up=0.5)
# They make relations ("next to", "between the can and the mug"), but nothing before a noun phrase: "go and get".
INSIDE = ("next", "and", "to", "of")
# Kept from training.
UNSEEN = Phrasing(("would you mind getting", "let me have", "go and get", "i would like", "hand over", "show me", "find",
                   "select", "i am looking for", "your next target is", "we need", "pick"),
                  ("", " please", " for me", " now", ", thank you"))


@dataclass(frozen=True)
class Grade:
    """`within` of the extreme counts as meant, beyond `beyond` does not; in between nobody is sure. Image fractions."""

    within: float
    beyond: float


@dataclass(frozen=True)
class Position:
    """A position word. score: how far an object at (x, y) is from the extreme; smaller is more so."""

    score: Callable[[float, float], float]
    grade: Grade
    adjectives: tuple[str, ...]  # "the left mug"
    phrases: tuple[str, ...]  # "the mug on the left"


SIDE, EXTREME, CORNER, MIDDLE = Grade(0.10, 0.15), Grade(0.025, 0.055), Grade(0.10, 0.17), Grade(0.05, 0.11)
POSITIONS = {
    "left": Position(lambda x, y: x, SIDE, ("left",), ("on the left", "on the left side", "to the left")),
    "right": Position(lambda x, y: 1 - x, SIDE, ("right",), ("on the right", "on the right side", "to the right")),
    "top": Position(lambda x, y: y, SIDE, ("upper", "far", "back"), ("in the back", "at the far side")),
    "bottom": Position(lambda x, y: 1 - y, SIDE, ("lower", "near", "front"), ("in the front", "at the near side")),
    "leftmost": Position(lambda x, y: x, EXTREME, ("leftmost",), ("farthest to the left",)),
    "rightmost": Position(lambda x, y: 1 - x, EXTREME, ("rightmost",), ("farthest to the right",)),
    "topmost": Position(lambda x, y: y, EXTREME, ("top", "topmost"), ("at the top", "on the top")),
    "bottommost": Position(lambda x, y: 1 - y, EXTREME, ("bottom", "bottommost"), ("at the bottom", "on the bottom")),
    "top left": Position(lambda x, y: x + y, CORNER, ("upper left", "top left"),
                         ("at the upper left", "at the top left", "in the upper left corner", "on the upper left")),
    "top right": Position(lambda x, y: 1 - x + y, CORNER, ("upper right", "top right"),
                          ("at the upper right", "at the top right", "in the upper right corner", "on the upper right")),
    "bottom left": Position(lambda x, y: x + 1 - y, CORNER, ("lower left", "bottom left"),
                            ("at the lower left", "at the bottom left", "in the lower left corner",
                             "on the lower left")),
    "bottom right": Position(lambda x, y: 2 - x - y, CORNER, ("lower right", "bottom right"),
                             ("at the lower right", "at the bottom right", "in the lower right corner",
                              "on the lower right")),
    "middle": Position(lambda x, y: float(np.hypot(x - 0.5, y - 0.5)), MIDDLE, ("middle", "center"),
                       ("in the middle", "near the center", "in the center")),
}


@dataclass(frozen=True)
class Expression:
    """Words and their meaning in one scene.

    matches: objects that fit the attributes; referents: those that also fit position or relation. kind: "attribute",
    "position" or "relation".
    """

    text: str
    label: str
    matches: tuple[int, ...]
    referents: tuple[int, ...]
    kind: str
    attributes: tuple[str | None, str | None, str | None] = (None, None, None)  # shape, colour, size
    position: str | None = None

    @property
    def ambiguous(self) -> bool:
        """More than one object is meant."""
        return len(self.referents) > 1


def by_position(objects: Sequence[SceneObject], among: Sequence[int], name: str) -> tuple[int, ...] | None:
    """The objects of `among` at that position; None when one of them is a borderline case."""
    position = POSITIONS[name]
    scores = {i: position.score(*objects[i].centre) for i in among}
    nearest = min(scores.values())
    if any(position.grade.within < s - nearest < position.grade.beyond for s in scores.values()):
        return None
    return tuple(i for i in among if scores[i] - nearest <= position.grade.within)


def next_to(objects: Sequence[SceneObject], among: Sequence[int], anchor: int) -> tuple[int, ...] | None:
    """The object of `among` nearest to the anchor, and those nearly as near; None at the border."""
    ax, ay = objects[anchor].centre
    gaps = {i: float(np.hypot(objects[i].centre[0] - ax, objects[i].centre[1] - ay)) for i in among}
    if any(0.05 < g - min(gaps.values()) < 0.11 for g in gaps.values()):
        return None
    return tuple(i for i in among if gaps[i] - min(gaps.values()) <= 0.05)


def beside(objects: Sequence[SceneObject], among: Sequence[int], anchor: int, side: str) -> tuple[int, ...] | None:
    """The objects of `among` on that side of the anchor; None when one is nearly level with it."""
    axis, sign = {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1)}[side]
    offsets = {i: sign * (objects[i].centre[axis] - objects[anchor].centre[axis]) for i in among}
    if any(-0.03 < d < 0.07 for d in offsets.values()):
        return None
    return tuple(i for i in among if offsets[i] > 0)


def between(objects: Sequence[SceneObject], among: Sequence[int], first: int, second: int) -> tuple[int, ...] | None:
    """The objects of `among` between two anchors; None when one is nearly so."""
    a, b = np.array(objects[first].centre), np.array(objects[second].centre)
    length = max(float(np.linalg.norm(b - a)), 1e-6)
    inside = []
    for i in among:
        p = np.array(objects[i].centre) - a
        along = float(p @ (b - a)) / length ** 2
        off = abs(float(p[0] * (b - a)[1] - p[1] * (b - a)[0])) / length
        if 0.15 <= along <= 0.85 and off < 0.09:
            inside.append(i)
        elif 0.0 < along < 1.0 and off < 0.16:
            return None
    return tuple(inside)


def pick(rng: np.random.Generator, options: Sequence) -> object:
    """One of the options, as it is (numpy's choice would convert it)."""
    return options[int(rng.integers(len(options)))]


def noun_phrase(shape: str | None, colour: str | None, size: str | None, rng: np.random.Generator,
                adjective: str = "") -> str:
    """"left small red mug", or "left mug that is red"."""
    noun = pick(rng, NOUNS[shape]) if shape else pick(rng, ANY_NOUN)
    word = pick(rng, COLOUR_WORDS.get(colour, (colour,))) if colour else ""
    extent = pick(rng, SIZE_WORDS[size]) if size else ""
    if colour and rng.random() < 0.15:
        after = pick(rng, ("that is", "which is", "whose color is", "which color is"))
        return " ".join(filter(None, (adjective, extent, noun, after, word)))
    return " ".join(filter(None, (adjective, extent, word, noun)))


def attributes_of(objects: Sequence[SceneObject], target: int, rng: np.random.Generator,
                  ) -> tuple[tuple[str | None, str | None, str | None], tuple[int, ...]]:
    """Some true attributes (shape, colour, size) of the target, and every object they fit."""
    item = objects[target]
    shape = item.shape if rng.random() < 0.85 else None
    colour = item.colour if rng.random() < 0.6 else None
    fits = [i for i, o in enumerate(objects) if shape in (None, o.shape) and colour in (None, o.colour)]
    contrast = shape and len({objects[i].size for i in fits}) > 1
    size = item.size if contrast and rng.random() < 0.5 else None
    return (shape, colour, size), tuple(i for i in fits if size in (None, objects[i].size))


def unique_name(objects: Sequence[SceneObject], target: int, rng: np.random.Generator) -> str | None:
    """"red mug" when shape and colour single the target out (then shape or colour alone may do), else None; never "red one", which
    after another noun would be one of those: "the can next to the red one"."""
    item = objects[target]
    for shape, colour in ((item.shape, None), (None, item.colour), (item.shape, item.colour)):
        fits = [o for o in objects if shape in (None, o.shape) and colour in (None, o.colour)]
        if len(fits) == 1 and (shape and colour or rng.random() < 0.4):
            return noun_phrase(shape, colour, None, rng).replace(*ANCHOR)
    return None


def describe(objects: Sequence[SceneObject], target: int, rng: np.random.Generator) -> Expression | None:
    """A random expression that is true of the target; None when this draw has no clear meaning."""
    (shape, colour, size), matches = attributes_of(objects, target, rng)
    label = " ".join(filter(None, (size, colour, shape or "object")))
    kind = pick(rng, ("attribute", "attribute", "position", "position", "position", "relation"))
    name = None
    if kind == "attribute":
        referents, text = matches, "the " + noun_phrase(shape, colour, size, rng)
    elif kind == "position":
        name = pick(rng, tuple(POSITIONS))
        referents = by_position(objects, matches, name) if len(matches) > 1 or rng.random() < 0.2 else None
        if rng.random() < 0.5:
            text = "the " + noun_phrase(shape, colour, size, rng, pick(rng, POSITIONS[name].adjectives))
        else:
            text = f"the {noun_phrase(shape, colour, size, rng)} {pick(rng, POSITIONS[name].phrases)}"
    else:
        referents, text = _relation(objects, matches, "the " + noun_phrase(shape, colour, size, rng), rng)
    if not referents or target not in referents:
        return None
    return Expression(text, label, matches, referents, kind, (shape, colour, size), name)


def _relation(objects: Sequence[SceneObject], matches: tuple[int, ...], head: str,
              rng: np.random.Generator) -> tuple[tuple[int, ...] | None, str]:
    """Referents and text of a random relation to one or two other, uniquely named objects."""
    anchors = [(i, unique_name(objects, i, rng)) for i in rng.permutation(len(objects))]
    anchors = [(int(i), name) for i, name in anchors if name]
    if not anchors:
        return None, head
    anchor, name = anchors[0]
    among = tuple(i for i in matches if i != anchor)
    if len(anchors) > 1 and rng.random() < 0.3:
        other, other_name = anchors[1]
        among = tuple(i for i in among if i != other)
        return (between(objects, among, anchor, other) if among else None,
                f"{head} between the {name} and the {other_name}")
    if not among:
        return None, head
    if rng.random() < 0.4:
        return next_to(objects, among, anchor), f"{head} {pick(rng, ('next to', 'near', 'beside'))} the {name}"
    side = pick(rng, ("left", "right", "above", "below"))
    words = {"left": ("to the left of", "left of"), "right": ("to the right of", "right of"),
             "above": ("above", "behind"), "below": ("below", "in front of")}[side]
    return beside(objects, among, anchor, side), f"{head} {pick(rng, words)} the {name}"


def elsewhere(expression: Expression, objects: Sequence[SceneObject]) -> Expression | None:
    """The same words with what they mean in another scene; None where that is a borderline case, or the words are a relation."""
    if expression.kind == "relation":
        return None
    shape, colour, size = expression.attributes
    fits = tuple(i for i, o in enumerate(objects)
                 if shape in (None, o.shape) and colour in (None, o.colour) and size in (None, o.size))
    placed = fits and expression.position is not None
    referents = by_position(objects, fits, expression.position) if placed else fits
    return None if referents is None else replace(expression, matches=fits, referents=referents)


def sample(objects: Sequence[SceneObject], rng: np.random.Generator, ambiguous: bool | None = None,
           tries: int = 40) -> Expression | None:
    """A random expression about the scene, clear or ambiguous on request; None when none was found."""
    for _ in range(tries):
        found = describe(objects, int(rng.integers(len(objects))), rng)
        if found and ambiguous in (None, found.ambiguous):
            return found
    return None


def command(text: str, rng: np.random.Generator, phrasing: Phrasing = SEEN) -> str:
    """An instruction around the noun phrase: "pick up the red mug"."""
    if rng.random() < 0.1:
        return text
    if phrasing.made_up and rng.random() < phrasing.made_up:
        *before, last = invented(rng, 1, 5)  # no "next to" right before the noun phrase: that would be a relation
        before = [str(pick(rng, INSIDE)) if rng.random() < 0.5 else word for word in before]
        return " ".join((*before, last, text, *invented(rng, 0, 3)))
    return f"{pick(rng, phrasing.before)} {text}{pick(rng, phrasing.after)}"


def invented(rng: np.random.Generator, least: int, most: int) -> list[str]:
    """Words of no language, "sove ilar": letters in turn from "aeiou" and the others, 1 to 7 of them."""
    def word() -> str:
        kinds = ("aeiouy", "bcdfghjklmnprstvwxz")[::pick(rng, (1, -1))]
        made = "".join(str(pick(rng, kinds[i % 2])) for i in range(int(rng.integers(1, 8))))
        return made if made not in INSIDE else word()
    return [word() for _ in range(int(rng.integers(least, most + 1)))]
