"""The one inference thread: it loads the model, then takes the session's looks one after the other.

Callbacks of the ROS executor only hand over, through `handle`; nothing they call waits for the model.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from typing import Protocol

from clue_ros.dialog import Dialog
from clue_ros.ros.session import Event, Look, Session, Snapshot
from clue_ros.types import Decision, Frame, InputError, ModelError


class Engine(Protocol):
    """What the worker needs of `clue_ros.pipeline.Clue`."""

    threshold: float

    def look(self, frame: Frame, dialog: Dialog) -> Decision:
        """One decision: a question or a grounding."""


class Worker:
    """Owns the session and the lock around it.

    load: makes the engine, called once on the inference thread. to_frame: one camera message to a frame, InputError for
    an unusable one. publish: tells the world about events, in order, called with the lock held. present: called after a
    look's events are out, without the lock, for slow outputs (the look, its frame, its decision). before_look: called
    with the engine before each look. log: a logger with debug, info, warning and error.
    """

    def __init__(self, session: Session, *, load: Callable[[], Engine], to_frame: Callable[[object], Frame],
                 publish: Callable[[list[Event]], None], present: Callable[[Look, Frame, Decision], None],
                 before_look: Callable[[Engine], None], log):
        self.session, self.load, self.to_frame, self.publish = session, load, to_frame, publish
        self.present, self.before_look, self.log = present, before_look, log
        self.ready = threading.Event()  # the model is loaded, or it is known that it cannot be
        self._changed = threading.Condition()
        self._stopping = False
        self._seen: tuple[Snapshot, Frame] | None = None
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)

    def start(self) -> None:
        """Begin to load the model."""
        self._thread.start()

    def handle(self, event: Callable[[float], list[Event]]) -> None:
        """Give the session an event (a function of the time now) and publish what follows; wakes the thread."""
        with self._changed:
            self.publish(event(time.monotonic()))
            self._changed.notify()

    def stop(self, sentence: str, timeout: float) -> bool:
        """End the running request with this sentence and the thread within `timeout` seconds; whether it ended."""
        with self._changed:
            self._stopping = True
            self.publish(self.session.stop(sentence))
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    # -- on the inference thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        engine = self._load()
        self.ready.set()
        while engine is not None:
            with self._changed:
                while not self._stopping and (look := self.session.next_look(time.monotonic())) is None:
                    self._changed.wait()
                if self._stopping:
                    return
            self._take(engine, look)

    def _load(self) -> Engine | None:
        """The engine, or None after the session was told why there is none."""
        try:
            return self.load()
        except (ModelError, InputError) as error:
            sentence = str(error)
        except Exception as error:  # whatever torch, transformers or the disk raise: the node goes on and says so
            self.log.debug(traceback.format_exc())
            sentence = f"the model cannot be loaded: {_one_line(error)}"
        self.log.error(sentence)
        self.handle(lambda now: self.session.stop(sentence))
        return None

    def _take(self, engine: Engine, look: Look) -> None:
        """One look: picture to frame, decision, events."""
        start = time.perf_counter()
        try:
            self.before_look(engine)
            frame = self._frame(look.snapshot)
            decision = engine.look(frame, look.dialog)
        except (ModelError, InputError) as error:
            sentence = str(error)
        except MemoryError as error:
            sentence = f"out of memory: use a smaller model, or another device ({_one_line(error)})"
        except Exception as error:  # a look that fails ends its request, never the node
            self.log.debug(traceback.format_exc())
            memory = "OutOfMemory" in type(error).__name__
            sentence = ("out of memory: use a smaller model, or device: cpu ({})" if memory else
                        "looking failed: {}; the log at level debug has the details").format(_one_line(error))
        else:
            spent = (time.perf_counter() - start) * 1000
            self.handle(lambda now: self.session.looked(look, decision, frame.size, spent, now))
            self.present(look, frame, decision)
            return
        self.handle(lambda now: self.session.failed(look, sentence, now))

    def _frame(self, snapshot: Snapshot) -> Frame:
        """The same picture is the same frame, so that its features are computed once."""
        if self._seen is None or self._seen[0] is not snapshot:
            self._seen = (snapshot, self.to_frame(snapshot.image))
        return self._seen[1]


def _one_line(error: BaseException) -> str:
    """"KeyError: 'x'": the kind of error and the first line of its text."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
