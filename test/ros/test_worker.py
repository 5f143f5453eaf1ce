"""The inference thread with engines that fail or wait: outcomes, never a dead thread."""

import threading
import time
import weakref

import numpy as np
import pytest
import torch

from clue_ros.ros.request import Finished, Outcome, Snapshot
from clue_ros.ros.session import Limits, Session
from clue_ros.ros.worker import Worker
from clue_ros.types import Ambiguity, Box, Decision, Frame, Grounding, InputError, ModelError, TooLongError

DECISION = Decision(Ambiguity(0.1, 0.5, np.zeros((2, 2), np.float32)), Grounding(Box(0, 0, 1, 1), 0.9))
PIXELS = np.zeros((4, 4, 3), np.uint8)


class Log:
    """Keeps what was logged."""

    def __init__(self):
        self.debugged, self.errors = [], []
        self.debug, self.error = self.debugged.append, self.errors.append


class Worked(Worker):
    """A worker with one session before it."""

    def __init__(self, session, publish, **options):
        super().__init__(before_look=lambda _: None, **options)
        self.session, self.desk = session, self.desk_for(session, publish=publish, present=lambda *_: None)
        self.handle = self.desk.handle


class Engine:
    """Answers at once, after what `trick` does, or what it decides. Remembers the frames it saw."""

    threshold, calibration = 0.5, None

    def __init__(self, trick=lambda: None):
        self.trick, self.frames = trick, []

    def look(self, frame, dialog):
        self.frames.append(frame)
        decided = self.trick()
        return decided if isinstance(decided, Decision) else DECISION


@pytest.fixture
def work():
    """A function that makes a worker with a picture before it and, if there is one to make, loads its engine; gives it
    with the list of events and the log."""
    workers = []

    def start(engine=None, to_frame=lambda image: Frame(PIXELS)):
        events, log = [], Log()
        worker = Worked(Session(Limits(max_frame_age=0)), events.extend, to_frame=to_frame, log=log)
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
        worker.handle(worker.session.tick)
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


def test_what_fails_after_a_failure_keeps_nobody_waiting(work, monkeypatch):
    """As on a GPU that is lost: every call to it raises."""
    engine = Engine(raising(torch.OutOfMemoryError("CUDA")))
    worker, events, _ = work(engine)
    monkeypatch.setattr("clue_ros.ros.worker.free_memory", raising(RuntimeError("CUDA error: illegal address")))
    assert outcome(worker, events).error.startswith("out of memory while looking")
    assert worker.unload().startswith("changing the model failed: RuntimeError: CUDA error: illegal address; the log")
    assert worker.load(raising(OSError("disk"))).startswith("changing the model failed: RuntimeError: CUDA error")


def test_how_long_a_look_goes_on_is_known_and_what_is_too_long_to_read_is_taken_back(work):
    busy, seen = threading.Event(), []
    engine = Engine(lambda: (busy.wait(0.05), seen.append(worker.looking_for)))
    worker, events, _ = work(engine)
    assert worker.looking_for == 0 and outcome(worker, events).outcome is Outcome.GROUNDED
    assert 0.05 <= seen[0] < 5
    end = time.monotonic() + 5
    while worker.looking_for and time.monotonic() < end:
        time.sleep(0.005)
    assert worker.looking_for == 0
    engine.trick = raising(TooLongError("say it in fewer words"))
    assert outcome(worker, events).error == "say it in fewer words"  # an instruction; for answers see test_session


def huge():
    """More than any machine has: the error is torch's own."""
    return torch.empty(2 ** 60)


def huge_and_told_as_a_files():
    """As the loaders do, who cannot tell it from a file that is damaged."""
    try:
        huge()
    except RuntimeError as error:
        raise ModelError("m/base/model.safetensors cannot be read") from error


@pytest.mark.parametrize("make, words", [
    (raising(ModelError("m/config.json is missing")), "m/config.json is missing"),
    (raising(OSError("disk\nmore")), "loading the model failed: OSError: disk; the log"),
    (raising(torch.OutOfMemoryError("CUDA")), "out of memory while loading the model: use a smaller model"),
    (huge, "out of memory while loading the model: use a smaller model"),
    (huge_and_told_as_a_files, "out of memory while loading the model: use a smaller model"),
    (raising(RuntimeError("CUDA error: out of memory\nCUDA kernel errors ...")), "out of memory while loading the model"),
    (raising(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")),
     "out of memory while loading the model"),
    (raising(OSError(12, "Cannot allocate memory")), "out of memory while loading the model"),
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


def test_an_output_that_fails_is_told_and_the_thread_lives_on(work):
    worker, events, log = work(Engine())
    worker.desk.present = raising(RuntimeError("no paper"))
    for _ in range(2):
        assert outcome(worker, events).outcome is Outcome.GROUNDED
    worker.desk.present = lambda *_: None
    assert outcome(worker, events).outcome is Outcome.GROUNDED
    assert log.errors == ["telling of a look failed: RuntimeError: no paper; the log at level debug has the details"] * 2


def test_a_decision_that_is_none_ends_its_request(work):
    worker, events, log = work(Engine(lambda: Decision(DECISION.ambiguity, None)))
    assert outcome(worker, events).error.startswith("telling of a look failed: AttributeError") and len(log.errors) == 1


def test_an_unusable_picture_is_an_error(work, monkeypatch):
    monkeypatch.setattr("clue_ros.ros.session.SECOND_CHANCE", 0.1)
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


def test_sessions_take_turns():
    """A flood of instructions in one session keeps no look of another waiting for more than one look."""
    served, may_look = [], threading.Semaphore(0)
    engine = Engine(lambda: may_look.acquire(timeout=5))
    worker = Worker(to_frame=lambda image: Frame(PIXELS), before_look=lambda _: None, log=Log())

    def begin(name):
        def publish(events):
            served.extend(name for e in events if isinstance(e, Finished) and e.outcome is Outcome.GROUNDED)
        desk = worker.desk_for(Session(Limits(max_frame_age=0)), publish=publish, present=lambda *_: None)
        desk.handle(lambda now: desk.session.see(Snapshot("picture", now)))
        return desk
    front, wrist, rear = map(begin, ("front", "wrist", "rear"))
    assert worker.load(lambda: engine) == ""
    front.handle(lambda now: front.session.instruct("the mug", now))
    wrist.handle(lambda now: wrist.session.instruct("the can", now))
    rear.handle(lambda now: rear.session.instruct("the bowl", now))
    for count in range(1, 5):
        may_look.release()
        end = time.monotonic() + 5
        while len(served) < count and time.monotonic() < end:
            time.sleep(0.005)
        if count < 3:
            front.handle(lambda now: front.session.instruct("the mug", now))
    assert served == ["front", "wrist", "rear", "front"]
    assert worker.stop("over", 5)


def test_sessions_do_not_hear_each_other_and_stop_ends_them_all():
    worker, heard = Worker(to_frame=None, before_look=None, log=Log()), {}

    def begin(name):
        heard[name] = []
        return worker.desk_for(Session(Limits()), publish=heard[name].extend, present=lambda *_: None)
    front, wrist = begin("front"), begin("wrist")
    front.handle(lambda now: front.session.instruct("the mug", now))
    wrist.handle(lambda now: wrist.session.instruct("the can", now))
    wrist.handle(lambda now: wrist.session.instruct("the bowl", now))
    assert not heard["front"] and [e.outcome for e in heard["wrist"] if isinstance(e, Finished)] == [Outcome.SUPERSEDED]
    assert worker.stop("the node was shut down", 5)
    ends = [(e.request.instruction, e.error) for name in heard for e in heard[name]
            if isinstance(e, Finished) and e.outcome is Outcome.ERROR]
    assert ends == [("the mug", "the node was shut down"), ("the bowl", "the node was shut down")]
