"""The one inference thread: it loads the model, then takes the session's looks one after the other.

Callbacks of the ROS executor only hand over, through `handle`; nothing they call waits for the model.
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
from typing import Protocol

from clue_ros.detector.calibration import Calibration
from clue_ros.dialog import Dialog
from clue_ros.ros.session import Event, Look, Session, Snapshot
from clue_ros.types import Decision, Frame, InputError, ModelError


class Engine(Protocol):
    """What the worker needs of `clue_ros.pipeline.Clue`."""

    threshold: float
    calibration: Calibration | None

    def look(self, frame: Frame, dialog: Dialog) -> Decision:
        """One decision: a question or a grounding."""


class Worker:
    """Owns the session, the lock around it, and the engine.

    to_frame: one camera message to a frame, InputError for an unusable one. publish: tells the world about events, in
    order, called with the lock held. present: called after a look's events are out, without the lock, for slow outputs
    (the look, its frame, its decision). before_look: called with the engine before each look. log: a logger with debug.
    """

    def __init__(self, session: Session, *, to_frame: Callable[[object], Frame],
                 publish: Callable[[list[Event]], None], present: Callable[[Look, Frame, Decision], None],
                 before_look: Callable[[Engine], None], log):
        self.session, self.to_frame, self.publish = session, to_frame, publish
        self.present, self.before_look, self.log = present, before_look, log
        self.engine: Engine | None = None
        self._changed = threading.Condition()
        self.stopping = False
        self._jobs: deque[tuple[Callable[[], object], Future]] = deque()  # loads and unloads; they go before looks
        self._seen: tuple[Snapshot, Frame] | None = None
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def handle(self, event: Callable[[float], list[Event]]) -> list[Event]:
        """Give the session an event (a function of the time now) and publish what follows; wakes the thread."""
        with self._changed:
            events = event(time.monotonic())
            self.publish(events)
            self._changed.notify()
        return events

    def load(self, make: Callable[[], Engine]) -> str:
        """Make the engine on the inference thread, and wait for it. "", or the sentence why there is none."""
        return self._wait_for(lambda: self._load(make))

    def unload(self) -> str:
        """Give the engine's memory back, after the look that is under way; "", or the sentence why not."""
        return self._wait_for(self._unload)

    def stop(self, sentence: str, timeout: float) -> bool:
        """End the running request with this sentence and the thread within `timeout` seconds; whether it ended."""
        with self._changed:
            self.stopping = True
            self.publish(self.session.close(sentence))
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

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
        return self.session.closed

    # -- on the inference thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._next_job()) is not None:
            job()

    def _next_job(self) -> Callable[[], None] | None:
        """What to do next, None to end; waits for it."""
        with self._changed:
            while not self.stopping:
                if self._jobs:
                    job, done = self._jobs.popleft()
                    return lambda: done.set_result(job())
                if self.engine is not None and (look := self.session.next_look(time.monotonic())):
                    return lambda: self._take(look)
                self._changed.wait()
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

    def _take(self, look: Look) -> None:
        """One look: picture to frame, decision, events."""
        start = time.perf_counter()
        try:
            self.before_look(self.engine)
            frame = self._frame(look.snapshot)
            decision = self.engine.look(frame, look.dialog)
        except Exception as error:  # a look that fails ends its request, never the node
            sentence, starved = self._why(error, "looking"), is_out_of_memory(error)
        else:
            spent = (time.perf_counter() - start) * 1000
            if self.handle(lambda now: self.session.looked(look, decision, frame.size, spent, now)):
                self.present(look, frame, decision)
            return
        if starved:
            free_memory()
        self.handle(lambda now: self.session.failed(look, sentence, now))

    def _frame(self, snapshot: Snapshot) -> Frame:
        """The same picture is the same frame, so that its features are computed once."""
        if self._seen is None or self._seen[0] is not snapshot:
            self._seen = (snapshot, self.to_frame(snapshot.image))
        return self._seen[1]

    def _why(self, error: Exception, doing: str) -> str:
        """One sentence about an error; what only a programmer can read goes to the log at level debug."""
        if isinstance(error, (ModelError, InputError)):
            return str(error)
        self.log.debug(traceback.format_exc())
        if is_out_of_memory(error):
            return f"out of memory while {doing}: use a smaller model, another dtype or another device ({_one_line(error)})"
        return f"{doing} failed: {_one_line(error)}; the log at level debug has the details"


def is_out_of_memory(error: BaseException) -> bool:
    """Python's own, a GPU's (torch.OutOfMemoryError), or the host's as torch tells it: a RuntimeError with these words."""
    return isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "can't allocate memory" in str(error)


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
