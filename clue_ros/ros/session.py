"""One request at a time, from the instruction to its one outcome. Pure: no ROS, no model, no clock, no threads.

                 instruct                    look                  looked: ask
    (no request) -------> WAITING_FOR_IMAGE -----> LOOKING ------------------> QUESTION_OPEN
                            |       ^                |                          |        |
                  no image  |       |                | looked: point            | answer | nobody answers
                  in time   v       +----------------|--------------------------+        v
                          error                      v                            question timeout
                              grounded or turn limit, or error when looking failed

A new instruction ends the running request, whatever it is doing, with the outcome *superseded*; who began it may
cancel it. When no more question is allowed, or comes to mind, the core points at the likeliest object: *turn limit* tells
that it was still in doubt. A closed session ends the running request, and every later one at once, with an error; one that
is held lets them wait.

Every event is a method that takes the time `now` (seconds of one monotonic clock) and returns what has to be told to
the world, in order: `Looked`, `Asked`, `Answered`, `Finished` or `Note`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from clue_ros.dialog import Dialog
from clue_ros.ros.request import Answered, Asked, Event, Finished, Look, Looked, Note, Outcome, Phase, Request, Seen, Snapshot, Spoilt
from clue_ros.ros.words import shown
from clue_ros.types import TURN_LIMIT, Decision, Grounding, InputError

SHORT = 40  # characters of somebody's words in a log
SECOND_CHANCE = 1.0  # seconds in which another picture may come after one that could not be used; 0: none is waited for


@dataclass(frozen=True)
class Gate:
    """What a session lets in. looks: whether looks are taken; else instructions wait, or are refused in that sentence."""

    looks: bool = False
    refusal: str = ""


OPEN, HELD = Gate(looks=True), Gate()


@dataclass(frozen=True)
class Limits:
    """Turns in questions, everything else in seconds; max_frame_age 0 accepts any age."""

    turn_limit: int = TURN_LIMIT
    question_timeout: float = 60.0
    instruction_timeout: float = 30.0
    max_frame_age: float = 5.0


class Session:
    """Holds the running request (None between requests) and the newest picture.

    why_no_image: called when no usable picture came in time and none was ever seen; says why in one sentence.
    """

    def __init__(self, limits: Limits, why_no_image: Callable[[], str] = lambda: "no image yet"):
        self.limits, self.why_no_image = limits, why_no_image
        self.request: Request | None = None
        self.newest: Snapshot | None = None
        self.gate = OPEN

    def hold(self) -> list[Event]:
        """Instructions are welcome from now on, but wait, such as for a model that loads."""
        self.gate = HELD
        return []

    def open(self) -> list[Event]:
        """Instructions are welcome from now on, and looks are taken."""
        self.gate = OPEN
        return []

    def close(self, sentence: str, running: str = "") -> list[Event]:
        """No look is taken from now on, and every new request ends with this sentence; the running one with its own
        sentence `running`, where there is one."""
        self.gate, self.newest = Gate(refusal=sentence), None
        return self._finish(Outcome.ERROR, running or sentence) if self.request is not None else []

    def instruct(self, text: str, now: float, identity: str = "") -> list[Event]:
        """A new instruction. One that cannot be used gets its error and leaves the running request alone.

        identity: the request's, unique; made up where none is given.
        """
        request = Request(identity or uuid.uuid4().hex[:12], text, now)
        if self.gate.refusal:
            return [Finished(request, Outcome.ERROR, self.gate.refusal)]
        try:
            request.dialog = Dialog.start(text, self.limits.turn_limit)
        except InputError as error:
            return [Finished(request, Outcome.ERROR, str(error))]
        events: list[Event] = []
        if self.request is not None:
            events = [Note(f"request {self.request.identity} is superseded by {request.identity}"),
                      *self._finish(Outcome.SUPERSEDED)]
        self.request = request
        return events + [Note("the model is still loading: the instruction waits")] * (not self.gate.looks)

    def hear(self, text: str, now: float) -> list[Event]:
        """What somebody said, where it may be either: the answer while a question is open, an instruction else."""
        is_open = self.request is not None and self.request.phase is Phase.QUESTION_OPEN
        return self.answer(text, now) if is_open else self.instruct(text, now)

    def cancel(self, identity: str) -> list[Event]:
        """End the request of that identity; nothing when it is not running."""
        return self._finish(Outcome.CANCELLED) if self.request is not None and self.request.identity == identity else []

    def answer(self, text: str, now: float, to: tuple[str, int] | None = None) -> list[Event]:
        """The person's reply. Without an open question nothing changes but the log; to one that cannot be used, the question is asked
        again, unless it is blank: a recogniser may publish silence.

        to: the identity of the request and the number, from 0, of the question it answers; None: the open one.
        """
        request = self.request
        if request is None or request.phase is not Phase.QUESTION_OPEN:
            cure = "start with an instruction" if request is None else f"request {request.identity} is {request.phase.value}"
            return [Note(f"the answer '{shown(text, SHORT)}' is ignored: no question is open; {cure}", True)]
        question = request.questions - 1
        if to is not None and to != (request.identity, question):
            return [Note(f"the answer '{shown(text, SHORT)}' is ignored: it is for question {to[1]} of request "
                         f"'{shown(to[0], SHORT)}', and question {question} of request '{request.identity}' is open", True)]
        try:
            request.dialog = request.dialog.answer(text)
        except InputError as error:
            if again := bool(text.strip()):
                request.since = now
            return self._stays_open(str(error), again=again)
        request.spoken.append(text)
        request.phase, request.since = Phase.WAITING_FOR_IMAGE, now
        return [Answered(request)]

    def see(self, snapshot: Snapshot) -> list[Event]:
        """A picture arrived; the one before is forgotten. A closed session keeps none."""
        self.newest = None if self.gate.refusal else snapshot
        return []

    def next_look(self, now: float) -> Look | None:
        """The look to take now, if there is one; it must be followed by `looked`, `unusable` or `failed`."""
        request = self.request
        waiting = request is not None and request.phase is Phase.WAITING_FOR_IMAGE
        if not waiting or not self.gate.looks or not self._fresh(now) or self._is_spoilt(self.newest):
            return None
        request.phase, request.looking_at = Phase.LOOKING, self.newest
        return Look(request, self.newest, request.dialog)

    def looked(self, look: Look, decision: Decision, size: tuple[int, int], milliseconds: float,
               now: float) -> list[Event]:
        """What the look gave, on an image of size (width, height); nothing if the request was superseded meanwhile."""
        request = look.request
        if request is not self.request:
            return []
        request.seen, request.looking_at, request.spoilt = Seen(look.snapshot, size, decision), None, None
        request.milliseconds += milliseconds
        events: list[Event] = [Looked(request, decision, milliseconds)]
        if isinstance(decision.outcome, Grounding):
            return events + self._finish(Outcome.TURN_LIMIT if decision.in_doubt else Outcome.GROUNDED,
                                         grounding=decision.outcome)
        question = decision.outcome.text
        if not question.strip():
            return events + self._finish(Outcome.ERROR, "the model found the instruction ambiguous but asked nothing: "
                                                        "say it in other words, or train the model further")
        request.dialog = request.dialog.ask(question)
        request.spoken.append(question)
        request.phase, request.since = Phase.QUESTION_OPEN, now
        return [*events, Asked(request, question)]

    def unusable(self, look: Look, sentence: str, now: float) -> list[Event]:
        """The picture could not be used, such as a file that was cut on its way: the next one is looked at. Where that is no better,
        or none comes for SECOND_CHANCE seconds, the request ends. Nothing if it was superseded meanwhile."""
        if (request := look.request) is not self.request:
            return []
        if request.spoilt is not None or not SECOND_CHANCE:
            return self._finish(Outcome.ERROR, sentence)
        request.phase, request.spoilt = Phase.WAITING_FOR_IMAGE, Spoilt(look.snapshot, sentence, now)
        return [Note(f"the picture could not be used, so the next one is looked at: {sentence}", True)]

    def failed(self, look: Look, sentence: str, now: float, *, too_long: bool = False) -> list[Event]:
        """The look could not be taken; nothing if the request was superseded meanwhile. too_long: since the model cannot read as
        much as was said; then the last answer is taken back, and its question asked again."""
        if (request := look.request) is not self.request:
            return []
        if not (too_long and request.dialog.turns):
            return self._finish(Outcome.ERROR, sentence)
        request.dialog = request.dialog.take_back()
        request.spoken.pop()
        request.phase, request.since = Phase.QUESTION_OPEN, now
        request.looking_at = request.spoilt = None
        return self._stays_open(sentence, again=True)

    def _stays_open(self, sentence: str, *, again: bool) -> list[Event]:
        """The answer could not be used, as the sentence says. again: the question is asked once more."""
        note, asked = Note(f"the question stays open: {sentence}", True), Asked(self.request, self.request.dialog.open_question)
        return [note, asked] if again else [note]

    def trouble(self, now: float) -> str:
        """Why there is no picture to look at, in one sentence; "" when there is one."""
        return "" if self._fresh(now) else self._why_blind(now)

    def tick(self, now: float) -> list[Event]:
        """Ends a request that waited too long for a picture or an answer. Call it a few times a second."""
        request, limits = self.request, self.limits
        if request is None:
            return []
        waited = now - request.since
        if request.phase is Phase.QUESTION_OPEN and waited >= limits.question_timeout:
            return self._finish(Outcome.QUESTION_TIMEOUT)
        if self._is_spoilt(self.newest) and now - request.spoilt.since >= SECOND_CHANCE:
            return self._finish(Outcome.ERROR, request.spoilt.sentence)
        blind = request.phase is Phase.WAITING_FOR_IMAGE and not self._fresh(now)
        if blind and waited >= limits.instruction_timeout:
            return self._finish(Outcome.ERROR, self._why_blind(now))
        return []

    def _is_spoilt(self, snapshot: Snapshot | None) -> bool:
        """Whether the running request found that picture to be of no use."""
        spoilt = self.request and self.request.spoilt
        return spoilt is not None and spoilt.snapshot is snapshot

    def _fresh(self, now: float) -> bool:
        limit = self.limits.max_frame_age
        return self.newest is not None and (limit == 0 or self.newest.age(now) <= limit)

    def _why_blind(self, now: float) -> str:
        if self.newest is None:
            return self.why_no_image()
        silent, delay, limit = now - self.newest.received, self.newest.delay, self.limits.max_frame_age
        if silent > limit or delay <= limit:
            late = f" with a stamp {delay:.1f} s old" if delay >= 0.1 else ""
            return f"the camera has stopped: its last image came {silent:.1f} s ago{late}, max_frame_age is {limit:g} s"
        return (f"the camera's images carry stamps {self.newest.age(now):.1f} s in the past, max_frame_age is "
                f"{limit:g} s: set the camera's clock (for a recording: use_sim_time and `ros2 bag play --clock`), "
                "or max_frame_age: 0.0")

    def _finish(self, outcome: Outcome, error: str = "", grounding: Grounding | None = None) -> list[Event]:
        finished = Finished(self.request, outcome, error, grounding)
        self.request = None
        return [finished]
