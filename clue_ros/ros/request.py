"""An instruction on its way through the session: what it is doing, the look it takes, and what the world is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from clue_ros.dialog import Dialog
from clue_ros.types import Decision, Grounding


class Phase(Enum):
    """What a request is doing."""

    WAITING_FOR_IMAGE = "waiting for an image"
    LOOKING = "looking"
    QUESTION_OPEN = "waiting for an answer"


class Outcome(Enum):
    """How a request ended; the values are those of GroundedObject.OUTCOME_*. 0 is of a message that nobody filled in."""

    GROUNDED = 1
    QUESTION_TIMEOUT = 2
    SUPERSEDED = 3
    TURN_LIMIT = 4
    ERROR = 5
    CANCELLED = 6


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One camera message. received: when it came, seconds; delay: its age then by its stamp, 0 without a stamp."""

    image: object
    received: float
    delay: float = 0.0

    def age(self, now: float) -> float:
        """Seconds since the picture was taken, as far as can be told."""
        return now - self.received + max(0.0, self.delay)


@dataclass(frozen=True, eq=False)
class Seen:
    """What a request has of its last look. snapshot: the picture; None before the first look. size (width, height) and decision:
    what the look gave; (0, 0) and None as long as it is under way."""

    snapshot: Snapshot | None = None
    size: tuple[int, int] = (0, 0)
    decision: Decision | None = None


@dataclass(frozen=True, eq=False)
class Spoilt:
    """A picture that could not be used, why, and when that was found out, seconds."""

    snapshot: Snapshot
    sentence: str
    since: float


@dataclass(eq=False)
class Request:
    """An instruction on its way to its outcome.

    instruction: as it was heard. since: when the present phase began to wait, seconds. seen: its last look. spoilt: the picture of
    that look, where it could not be used and another one is waited for. milliseconds: computing time of all looks. spoken: the
    texts exchanged, in order and as they came (`dialog` has them without what the model must not see).
    """

    identity: str
    instruction: str
    since: float
    dialog: Dialog | None = None
    phase: Phase = Phase.WAITING_FOR_IMAGE
    seen: Seen = Seen()
    spoilt: Spoilt | None = None
    milliseconds: float = 0.0
    spoken: list[str] = field(default_factory=list)

    @property
    def questions(self) -> int:
        """How many were asked."""
        return 0 if self.dialog is None else self.dialog.turns + (self.dialog.open_question is not None)


@dataclass(frozen=True, eq=False)
class Look:
    """A look to take: the newest picture and the dialog so far. before: what the request had of the look before it."""

    request: Request
    snapshot: Snapshot
    dialog: Dialog
    before: Seen


@dataclass(frozen=True, eq=False)
class Looked:
    """The verdict of a look is there, after so many milliseconds from picture to decision."""

    request: Request
    decision: Decision
    milliseconds: float


@dataclass(frozen=True, eq=False)
class Asked:
    """The robot asks."""

    request: Request
    question: str


@dataclass(frozen=True, eq=False)
class Finished:
    """The request's one outcome. error: a sentence, for ERROR only; grounding: for GROUNDED and TURN_LIMIT only."""

    request: Request
    outcome: Outcome
    error: str = ""
    grounding: Grounding | None = None


@dataclass(frozen=True)
class Note:
    """A sentence for the log."""

    text: str
    warning: bool = False


Event = Looked | Asked | Finished | Note
