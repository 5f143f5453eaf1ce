"""One typed object for every stage of the flow in `pipeline.py`.

Pixel coordinates are continuous, of the *source* image: x right, y down, (0, 0) the top-left corner of the top-left
pixel, (width, height) the bottom-right corner of the bottom-right one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


RISK = 0.05  # share of instructions in which the robot may act wrongly, where nobody says another
TURN_LIMIT = 3  # questions about one instruction, where nobody says another


class InputError(ValueError):
    """The caller's image, text or settings cannot be used; the message names the cause and the cure."""


class TooLongError(InputError):
    """More was said than the model can read; the message names both lengths."""


class ModelError(RuntimeError):
    """A model folder or one of its files cannot be used; the message names the file."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera image.

    rgb: uint8[H, W, 3], RGB, 0..255. key: equal keys mean equal pixels, so that image features are computed once;
    without a key the frame object itself is the key.
    """

    rgb: np.ndarray
    key: object = None

    def __post_init__(self) -> None:
        a = self.rgb
        if not isinstance(a, np.ndarray) or a.dtype != np.uint8 or a.ndim != 3 or a.shape[2] != 3 or 0 in a.shape:
            got = f"{a.dtype}{list(a.shape)}" if isinstance(a, np.ndarray) else type(a).__name__
            raise InputError(f"a frame needs RGB pixels uint8[H, W, 3], received {got}")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]


@dataclass(frozen=True)
class Turn:
    """One question of the robot and the person's answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Prompt:
    """What was said so far: the instruction and the turns that followed it."""

    instruction: str
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Box:
    """Axis-aligned box in source pixels, x1 <= x2 and y1 <= y2."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) in pixels."""
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2

    @property
    def area(self) -> float:
        """Square pixels; 0 for an empty box."""
        return max(0.0, self.x2 - self.x1) * max(0.0, self.y2 - self.y1)

    def iou(self, other: Box) -> float:
        """Intersection over union, 0..1; 0 when both are empty."""
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        shared = max(0.0, width) * max(0.0, height)
        union = self.area + other.area - shared
        return shared / union if union > 0 else 0.0

    def contains(self, x: float, y: float) -> bool:
        """Whether the point lies in the box, borders included."""
        return self.x1 <= x <= self.x2 and self.y1 <= y <= self.y2


@dataclass(frozen=True)
class Candidate:
    """An object that the instruction may mean, with the detector's score 0..1."""

    box: Box
    score: float


@dataclass(frozen=True, eq=False)
class Ambiguity:
    """The detector's verdict.

    probability: calibrated P(ambiguous), 0..1. heatmap: float32[rows, cols], 0..1, the probability that a cell belongs
    to a candidate; row 0 is the top of the image. The instruction is ambiguous when probability >= threshold. cnn, asks: what
    was weighed for it: the CNN's logit, and the log odds that the decoder by itself would ask, each bounded and averaged over views.
    """

    probability: float
    threshold: float
    heatmap: np.ndarray
    candidates: tuple[Candidate, ...] = ()
    cnn: float = 0.0
    asks: float = 0.0

    @property
    def is_ambiguous(self) -> bool:
        """Whether to ask, by the detector's word alone."""
        return self.probability >= self.threshold

    def leaves_doubt(self, settled: bool) -> bool:
        """Whether to ask, while the turn limit allows it. settled: the dialog left but one object."""
        return self.is_ambiguous and not settled


@dataclass(frozen=True)
class Question:
    """What the robot asks, ready to be spoken. probability: that the decoder, once it asks, says just this; 1.0 of a question that
    was not decoded."""

    text: str
    probability: float = field(default=1.0, compare=False)


@dataclass(frozen=True)
class Grounding:
    """The one object that is meant. score: of the four location tokens, the mean probability, among locations, of those
    within 2 % of the image from the one chosen, 0..1."""

    box: Box
    score: float
    label: str = ""


@dataclass(frozen=True, eq=False)
class Decision:
    """Everything one look gave: the verdict, and either a question or a grounding.

    milliseconds: wall time of each stage, by name; a GPU's encoding is mostly waited for by the stage after it. settled: the dialog
    left but one object, whatever the detector makes of it.
    """

    ambiguity: Ambiguity
    outcome: Question | Grounding
    milliseconds: dict[str, float] = field(default_factory=dict)
    settled: bool = False

    @property
    def in_doubt(self) -> bool:
        """Whether it asks, or would ask if it were allowed another question."""
        return self.ambiguity.leaves_doubt(self.settled)
