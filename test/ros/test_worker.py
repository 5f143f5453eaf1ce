"""The inference thread with engines that fail or wait: outcomes, never a dead thread."""

import threading
import time

import numpy as np
import pytest

from clue_ros.ros.session import Finished, Limits, Outcome, Session, Snapshot
from clue_ros.ros.worker import Worker
from clue_ros.types import Ambiguity, Box, Decision, Frame, Grounding, InputError, ModelError

DECISION = Decision(Ambiguity(0.1, 0.5, np.zeros((2, 2), np.float32)), Grounding(Box(0, 0, 1, 1), 0.9))
PIXELS = np.zeros((4, 4, 3), np.uint8)


class Log:
    """Keeps what was logged."""

    def __init__(self):
        self.lines = {"debug": [], "error": []}

    def debug(self, text):
        self.lines["debug"].append(text)

    def error(self, text):
        self.lines["error"].append(text)


class Engine:
    """Answers at once, or does what `trick` does. Remembers the frames it saw."""

    threshold = 0.5

    def __init__(self, trick=lambda: None):
        self.trick, self.frames = trick, []

    def look(self, frame, dialog):
        self.frames.append(frame)
        self.trick()
        return DECISION


@pytest.fixture
def work():
    """A function that starts a worker with a picture before it; gives it with the list of events and the log."""
    workers = []

    def start(load, to_frame=lambda image: Frame(PIXELS)):
        events, log = [], Log()
        worker = Worker(Session(Limits(max_frame_age=0)), load=load, to_frame=to_frame, publish=events.extend,
                        present=lambda *_: None, before_look=lambda _: None, log=log)
        worker.handle(lambda now: worker.session.see(Snapshot("picture", now)))
        worker.start()
        workers.append(worker)
        return worker, events, log
    yield start
    for worker in workers:
        worker.stop("over", 5)


def outcome(worker, events, text="the mug"):
    """The outcome of an instruction."""
    worker.handle(lambda now: worker.session.instruct(text, now))
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for event in events:
            if isinstance(event, Finished) and event.outcome is not Outcome.SUPERSEDED:
                events.clear()
                return event
        time.sleep(0.005)
    raise AssertionError(f"no outcome: {events}")


def raising(error):
    """A function that raises it."""
    def raise_it(*_):
        raise error
    return raise_it


def test_the_same_picture_is_the_same_frame(work):
    engine = Engine()
    worker, events, _ = work(lambda: engine)
    assert outcome(worker, events).outcome is outcome(worker, events).outcome is Outcome.GROUNDED
    assert engine.frames[0] is engine.frames[1]


@pytest.mark.parametrize("error, words", [
    (InputError("the box is closed: open it"), "the box is closed: open it"),
    (MemoryError("4 GB"), "out of memory: use a smaller model"),
    (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), "out of memory: use a smaller model"),
    (RuntimeError("shape\nlong story"), "looking failed: RuntimeError: shape; the log"),
])
def test_a_failing_look_is_an_error_and_the_next_one_works(work, error, words):
    engine = Engine(raising(error))
    worker, events, log = work(lambda: engine)
    end = outcome(worker, events)
    assert end.outcome is Outcome.ERROR and end.error.startswith(words) and "\n" not in end.error
    engine.trick = lambda: None
    assert outcome(worker, events).outcome is Outcome.GROUNDED
    assert not log.lines["error"]  # the outcome is logged by who publishes it; a traceback is for debugging only


@pytest.mark.parametrize("error, words", [(ModelError("m/config.json is missing"), "m/config.json is missing"),
                                          (OSError("disk\nmore"), "the model cannot be loaded: OSError: disk")])
def test_a_model_that_cannot_be_loaded(work, error, words):
    worker, events, log = work(raising(error))
    worker.ready.wait(5)
    for _ in range(2):
        assert outcome(worker, events).error == words
    assert log.lines["error"] == [words]


def test_an_unusable_picture_is_an_error(work):
    worker, events, _ = work(Engine, to_frame=raising(InputError("encoding '32FC1' is not supported")))
    assert outcome(worker, events).error == "encoding '32FC1' is not supported"


def test_instructions_wait_for_the_model_and_events_do_not_wait_for_a_look(work):
    loaded, may_look = threading.Event(), threading.Event()

    def load():
        loaded.wait(5)
        return Engine(lambda: may_look.wait(5))
    worker, events, _ = work(load)
    worker.handle(lambda now: worker.session.instruct("the mug", now))
    assert not events
    loaded.set()
    time.sleep(0.1)
    start = time.monotonic()
    worker.handle(lambda now: worker.session.instruct("the can", now))  # while the look at the mug is under way
    assert time.monotonic() - start < 0.1
    assert [e.outcome for e in events if isinstance(e, Finished)] == [Outcome.SUPERSEDED]
    events.clear()
    may_look.set()
    assert outcome(worker, events, "the bowl").request.instruction in ("the can", "the bowl")


def test_stop_ends_the_running_request(work):
    worker, events, _ = work(lambda: Engine(lambda: time.sleep(0.3)))
    worker.ready.wait(5)
    worker.handle(lambda now: worker.session.instruct("the mug", now))
    time.sleep(0.1)
    assert not worker.stop("the node was shut down", 0.01)  # the look goes on for a while
    assert [e.error for e in events if isinstance(e, Finished)] == ["the node was shut down"]
    assert worker.stop("over", 5)
