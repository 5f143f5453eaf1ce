"""The one inference thread: it loads the model, then takes the sessions' looks one after the other.

Callbacks of the ROS executor only hand over, each at its session's `Desk`; nothing they call waits for the model.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from clue_ros.dialog import Dialog
from clue_ros.ros.request import Event, Look, Snapshot
from clue_ros.ros.session import Session
from clue_ros.types import Decision, Frame, InputError, ModelError, TooLongError

if TYPE_CHECKING:  # torch, which it needs, comes into memory with the model
    from clue_ros.detector.calibration import Calibration

T = TypeVar("T")


class Engine(Protocol):
    """What the worker needs of `clue_ros.pipeline.Clue`."""

    threshold: float
    calibration: Calibration | None

    def look(self, frame: Frame, dialog: Dialog) -> Decision:
        """One decision: a question or a grounding."""


class Desk:
    """A session of a worker, for the threads that use it.

    changed: the lock around it; notified of every event. publish: tells the world about events, in order, called with the
    lock held. present: called after a look's events are out, without the lock, for slow outputs (the look, its frame, its
    decision).
    """

    def __init__(self, session: Session, changed: threading.Condition, publish: Callable[[list[Event]], None],
                 present: Callable[[Look, Frame, Decision], None]):
        self.session, self.publish, self.present, self._changed = session, publish, present, changed

    def handle(self, event: Callable[[float], list[Event]]) -> list[Event]:
        """Give the session an event (a function of the time now) and publish what follows; wakes the worker."""
        with self._changed:
            events = event(time.monotonic())
            self.publish(events)
            self._changed.notify()
        return events

    def read(self, what: Callable[[float], T]) -> T:
        """What a function of the time now finds out about the session, while nobody changes it."""
        with self._changed:
            return what(time.monotonic())


class Worker:
    """Owns the engine, and the lock around all sessions it looks for.

    to_frame: one camera message to a frame, InputError for an unusable one. before_look: called with the engine before each
    look. log: a logger with debug and error.
    """

    def __init__(self, *, to_frame: Callable[[object], Frame], before_look: Callable[[Engine], None], log):
        self.to_frame, self.before_look, self.log = to_frame, before_look, log
        self.engine: Engine | None = None
        self._changed = threading.Condition()
        self._desks: list[Desk] = []  # the one whose look was taken last is the last
        self.stopping = False
        self._farewell = ""
        self._jobs: deque[tuple[Callable[[], object], Future]] = deque()  # loads and unloads; they go before looks
        self._seen: tuple[Snapshot, Frame] | None = None
        self._looking_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def desk_for(self, session: Session, *, publish: Callable[[list[Event]], None],
                 present: Callable[[Look, Frame, Decision], None]) -> Desk:
        """Look for this session, too, from now on; `publish` and `present` as in `Desk`."""
        with self._changed:
            self._desks.append(Desk(session, self._changed, publish, present))
            return self._desks[-1]

    def load(self, make: Callable[[], Engine]) -> str:
        """Make the engine on the inference thread, and wait for it. "", or the sentence why there is none."""
        return self._wait_for(lambda: self._load(make))

    def unload(self) -> str:
        """Give the engine's memory back, after the look that is under way; "", or the sentence why not."""
        return self._wait_for(self._unload)

    def stop(self, sentence: str, timeout: float) -> bool:
        """End the running requests with this sentence and the thread within `timeout` seconds; whether it ended."""
        with self._changed:
            self.stopping, self._farewell = True, sentence
            for desk in self._desks:
                desk.publish(desk.session.close(sentence))
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def looking_for(self) -> float:
        """Seconds since the look that is under way began; 0 while there is none."""
        since = self._looking_since
        return 0.0 if since is None else time.monotonic() - since

    def _wait_for(self, job: Callable[[], str]) -> str:
        """The job's result, from the inference thread; a load may go on after `stop`, but is not waited for."""
        done: Future[str] = Future()
        with self._changed:
            self._jobs.append((job, done))
            self._changed.notify()
        while not self.stopping:
            try:
                return done.result(timeout=0.1)
            except TimeoutError:
                pass
        return self._farewell

    # -- on the inference thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._next_job()) is not None:
            try:
                job()
            except Exception as error:  # of an output: what was decided is decided, and the next look wants this thread
                self.log.error(self._why(error, "telling of a look"))

    def _next_job(self) -> Callable[[], None] | None:
        """What to do next, None to end; waits for it."""
        with self._changed:
            while not self.stopping:
                if self._jobs:
                    job, done = self._jobs.popleft()
                    return lambda: done.set_result(self._sentence(job))
                if self.engine is not None and (next_look := self._next_look()):
                    return lambda: self._take(*next_look)
                self._changed.wait()
        return None

    def _next_look(self) -> tuple[Desk, Look] | None:
        """In turn: a look waits for one of each other session at most, however many instructions those get."""
        for desk in self._desks:
            if look := desk.session.next_look(time.monotonic()):
                self._desks.remove(desk)
                self._desks.append(desk)
                return desk, look
        return None

    def _load(self, make: Callable[[], Engine]) -> str:
        sentence = ""
        try:
            self.engine = make()
        except Exception as error:  # whatever torch, transformers or the disk raise: the node goes on and says so
            sentence = self._why(error, "loading the model")
        if sentence:
            free_memory()  # not above: as long as it is handled, the error holds what had been loaded
        return sentence

    def _unload(self) -> str:
        self.engine = self._seen = None
        free_memory()
        return ""

    def _sentence(self, job: Callable[[], str]) -> str:
        """The job's own result, or what went wrong: somebody waits for it."""
        try:
            return job()
        except Exception as error:  # such as of a GPU that is lost
            return self._why(error, "changing the model")

    def _take(self, desk: Desk, look: Look) -> None:
        """One look: picture to frame, decision, events."""
        self._looking_since = time.monotonic()
        try:
            self.before_look(self.engine)
            frame = self._frame(look.snapshot)
            start = time.perf_counter()  # the rest is the model's own time
            decision = self.engine.look(frame, look.dialog)
        except Exception as error:  # a look that fails ends its request, never the node
            sentence, starved = self._why(error, "looking"), is_out_of_memory(error)
            fail = (desk.session.unusable if isinstance(error, _UnusablePictureError) else
                    partial(desk.session.failed, too_long=isinstance(error, TooLongError)))
        else:
            spent = (time.perf_counter() - start) * 1000
            self._tell(desk, look, frame, decision, spent)
            return
        finally:
            self._looking_since = None
        desk.handle(lambda now: fail(look, sentence, now))
        if starved:
            free_memory()

    def _tell(self, desk: Desk, look: Look, frame: Frame, decision: Decision, spent: float) -> None:
        """What the look gave, after `spent` milliseconds; a decision that is none ends the request, too."""
        try:
            told = desk.handle(lambda now: desk.session.looked(look, decision, frame.size, spent, now))
        except Exception as error:
            sentence = self._why(error, "telling of a look")
            desk.handle(lambda now: desk.session.failed(look, sentence, now))
            raise
        if told:
            desk.present(look, frame, decision)

    def _frame(self, snapshot: Snapshot) -> Frame:
        """The same picture is the same frame, so that its features are computed once."""
        if self._seen is None or self._seen[0] is not snapshot:
            try:
                self._seen = (snapshot, self.to_frame(snapshot.image))
            except InputError as error:
                raise _UnusablePictureError(str(error)) from error
        return self._seen[1]

    def _why(self, error: Exception, doing: str) -> str:
        """One sentence about an error; what only a programmer can read goes to the log at level debug."""
        if is_out_of_memory(error):
            self.log.debug(traceback.format_exc())
            return f"out of memory while {doing}: use a smaller model, another dtype or another device ({_one_line(error)})"
        if isinstance(error, (ModelError, InputError)):
            return str(error)
        self.log.debug(traceback.format_exc())
        return f"{doing} failed: {_one_line(error)}; the log at level debug has the details"


class _UnusablePictureError(InputError):
    """No frame can be made of a camera message."""


NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "out of memory", "_alloc_failed", "insufficient memory")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Python's own, a GPU's (torch.OutOfMemoryError), or one that only its words tell: the host's in torch and in the system,
    the CUDA driver's, those of cuBLAS and cuDNN. Also when the error is told as another's, such as a file's that cannot be
    read for want of memory."""
    if error is None:
        return False
    text = str(error).lower()
    return (isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or any(words in text for words in NO_MEMORY)
            or is_out_of_memory(error.__cause__))


def free_memory() -> None:
    """Give what nobody refers to any more back to the GPU and to the system, which both would else keep it for later."""
    gc.collect()
    torch = sys.modules.get("torch")  # not imported for this
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _one_line(error: BaseException) -> str:
    """"KeyError: 'x'": the kind of error and the first line of its text."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
