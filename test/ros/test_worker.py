"""The inference thread with engines that fail or wait: outcomes, never a dead thread."""

import threading
import time
import weakref

import numpy as np
import pytest
import torch

from clue_ros.ros.session import Finished, Limits, Outcome, Session, Snapshot
from clue_ros.ros.worker import Worker
from clue_ros.types import Ambiguity, Box, Decision, Frame, Grounding, InputError, ModelError

DECISION = Decision(Ambiguity(0.1, 0.5, np.zeros((2, 2), np.float32)), Grounding(Box(0, 0, 1, 1), 0.9))
PIXELS = np.zeros((4, 4, 3), np.uint8)


class Log:
    """Keeps what was logged."""

    def __init__(self):
        self.debugged = []

    def debug(self, text):
        self.debugged.append(text)


class Engine:
    """Answers at once, or does what `trick` does. Remembers the frames it saw."""

    threshold, calibration = 0.5, None

    def __init__(self, trick=lambda: None):
        self.trick, self.frames = trick, []

    def look(self, frame, dialog):
        self.frames.append(frame)
        self.trick()
        return DECISION


@pytest.fixture
def work():
    """A function that makes a worker with a picture before it and, if there is one to make, loads its engine; gives it
    with the list of events and the log."""
    workers = []

    def start(engine=None, to_frame=lambda image: Frame(PIXELS)):
        events, log = [], Log()
        worker = Worker(Session(Limits(max_frame_age=0)), to_frame=to_frame, publish=events.extend,
                        present=lambda *_: None, before_look=lambda _: None, log=log)
        worker.handle(lambda now: worker.session.see(Snapshot("picture", now)))
        workers.append(worker)
        assert engine is None or worker.load(lambda: engine) == ""
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
    worker, events, _ = work(engine)
    assert outcome(worker, events).outcome is outcome(worker, events).outcome is Outcome.GROUNDED
    assert engine.frames[0] is engine.frames[1]


@pytest.mark.parametrize("error, words", [
    (InputError("the box is closed: open it"), "the box is closed: open it"),
    (MemoryError("4 GB"), "out of memory while looking: use a smaller model"),
    (torch.OutOfMemoryError("CUDA"), "out of memory while looking: use a smaller model"),
    (RuntimeError("shape\nlong story"), "looking failed: RuntimeError: shape; the log"),
])
def test_a_failing_look_is_an_error_and_the_next_one_works(work, error, words):
    engine = Engine(raising(error))
    worker, events, log = work(engine)
    end = outcome(worker, events)
    assert end.outcome is Outcome.ERROR and end.error.startswith(words) and "\n" not in end.error
    engine.trick = lambda: None
    assert outcome(worker, events).outcome is Outcome.GROUNDED
    assert len(log.debugged) == (not isinstance(error, InputError))  # a traceback is for debugging only


def huge():
    """More than any machine has: the error is torch's own."""
    return torch.empty(2 ** 60)


@pytest.mark.parametrize("make, words", [
    (raising(ModelError("m/config.json is missing")), "m/config.json is missing"),
    (raising(OSError("disk\nmore")), "loading the model failed: OSError: disk; the log"),
    (raising(torch.OutOfMemoryError("CUDA")), "out of memory while loading the model: use a smaller model"),
    (huge, "out of memory while loading the model: use a smaller model"),
])
def test_a_model_that_cannot_be_loaded_and_then_one_that_can(work, make, words):
    worker, events, _ = work()
    sentence = worker.load(make)
    assert sentence.startswith(words) and "\n" not in sentence
    assert worker.engine is None and worker.load(Engine) == ""
    assert outcome(worker, events).outcome is Outcome.GROUNDED


def test_what_a_failed_load_had_read_is_given_back(work):
    read = []

    def make():
        weights = Engine()
        read.append(weakref.ref(weights))
        raise torch.OutOfMemoryError("CUDA")
    worker, _, _ = work()
    assert worker.load(make) and read[0]() is None


def test_unload_gives_the_engine_back_after_the_look(work):
    looking, may_look = threading.Event(), threading.Event()
    engine = Engine(lambda: looking.set() or may_look.wait(5))
    alive = weakref.ref(engine)
    worker, events, _ = work(engine)
    worker.handle(lambda now: worker.session.instruct("the mug", now))
    del engine
    assert looking.wait(5)
    unloading = threading.Thread(target=worker.unload)
    unloading.start()
    time.sleep(0.1)
    assert alive() is not None and unloading.is_alive()
    may_look.set()
    unloading.join(5)
    assert alive() is None and worker.engine is None
    assert [e.outcome for e in events if isinstance(e, Finished)] == [Outcome.GROUNDED]


def test_an_unusable_picture_is_an_error(work):
    worker, events, _ = work(Engine(), to_frame=raising(InputError("encoding '32FC1' is not supported")))
    assert outcome(worker, events).error == "encoding '32FC1' is not supported"


def test_instructions_wait_for_the_model_and_events_do_not_wait_for_a_look(work):
    may_look = threading.Event()
    worker, events, _ = work()
    worker.handle(lambda now: worker.session.instruct("the mug", now))
    time.sleep(0.1)
    assert not events
    worker.load(lambda: Engine(lambda: may_look.wait(5)))
    time.sleep(0.1)
    start = time.monotonic()
    worker.handle(lambda now: worker.session.instruct("the can", now))  # while the look at the mug is under way
    assert time.monotonic() - start < 0.1
    assert [e.outcome for e in events if isinstance(e, Finished)] == [Outcome.SUPERSEDED]
    events.clear()
    may_look.set()
    assert outcome(worker, events, "the bowl").request.instruction in ("the can", "the bowl")


def test_stop_ends_the_running_request(work):
    worker, events, _ = work(Engine(lambda: time.sleep(0.3)))
    worker.handle(lambda now: worker.session.instruct("the mug", now))
    time.sleep(0.1)
    assert not worker.stop("the node was shut down", 0.01)  # the look goes on for a while
    assert [e.error for e in events if isinstance(e, Finished)] == ["the node was shut down"]
    assert worker.stop("over", 5)


def test_stop_does_not_wait_for_a_load(work):
    loaded, sentences = threading.Event(), []
    worker, _, _ = work()
    loading = threading.Thread(target=lambda: sentences.append(worker.load(lambda: loaded.wait(5) and Engine())))
    loading.start()
    time.sleep(0.1)
    assert not worker.stop("the node was shut down", 0.01)
    loading.join(1)
    assert sentences == ["the node was shut down"]
    loaded.set()
    assert worker.stop("over", 5)
