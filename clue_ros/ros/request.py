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
    """What a look gave. snapshot: the picture; None of no look. size (width, height), decision: (0, 0) and None of a look that gave
    nothing."""

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

    instruction: as it was heard. since: when the present phase began to wait, seconds. seen: its last
    look that came to its end. looking_at: the picture of a later one, which is under way or gave nothing. spoilt: that picture, where
    it could not be used and another one is waited for. milliseconds: computing time of all looks. spoken: the
    texts exchanged, in order and as they came (`dialog` has them without what the model must not see).
    """

    identity: str
    instruction: str
    since: float
    dialog: Dialog | None = None
    phase: Phase = Phase.WAITING_FOR_IMAGE
    seen: Seen = Seen()
    looking_at: Snapshot | None = None
    spoilt: Spoilt | None = None
    milliseconds: float = 0.0
    spoken: list[str] = field(default_factory=list)

    @property
    def last(self) -> Seen:
        """The last look, also one that gave nothing: an outcome tells of one picture alone."""
        return self.seen if self.looking_at is None else Seen(self.looking_at)

    @property
    def questions(self) -> int:
        """How many were asked."""
        return 0 if self.dialog is None else self.dialog.turns + (self.dialog.open_question is not None)


@dataclass(frozen=True, eq=False)
class Look:
    """A look to take: the newest picture and the dialog so far."""

    request: Request
    snapshot: Snapshot
    dialog: Dialog


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
class Answered:
    """The question that was open is no more: there is an answer to look with."""

    request: Request


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


Event = Looked | Asked | Answered | Finished | Note
