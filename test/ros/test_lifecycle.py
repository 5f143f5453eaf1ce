"""The managed node by its lifecycle services, on real DDS with the real embedded model."""

import threading
import time

import torch
from lifecycle_msgs.msg import Transition
from std_msgs.msg import String

from clue_ros.msg import AmbiguityHeatmap, GroundedObject
from clue_ros.pipeline import Clue
from clue_ros.ros.node import load_engine
from company import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, Manager, end_of, found

NOT_ACTIVE = "the node is not active: bring it up with `ros2 lifecycle set"


class Engine:
    """The engine, with a trick before each look."""

    def __init__(self, engine, trick):
        self.engine, self.trick = engine, trick
        self.threshold, self.calibration = engine.threshold, engine.calibration

    def look(self, frame, dialog):
        self.trick()
        return self.engine.look(frame, dialog)


def test_it_starts_by_itself_and_answers_while_it_loads(stage, embedded_engine, clear):
    may_tell, may_load = threading.Event(), threading.Event()

    def load(settings, tell):
        may_tell.wait(60)
        tell("half of it is read")
        may_load.wait(60)
        return embedded_engine(settings, tell)
    play = stage(load)
    manage = Manager(play)
    start = time.monotonic()
    assert manage.state == "configuring"
    assert manage.done(manage.parameters.get_parameters(["turn_limit"])).values[0].integer_value == 3
    assert not manage.do(CONFIGURE)  # one transition at a time
    assert not manage.done(manage.ask_by_label("transition_success")).success and manage.state == "configuring"
    assert time.monotonic() - start < 5.0
    assert "cannot change while a model is loaded" in manage.set("model", "another")
    play.show(clear.picture)
    play.person.say(clear.say)
    play.logged("the model is still loading: the instruction waits")
    assert not play.rest(0.3)
    may_tell.set()
    play.logged("half of it is read")
    play.logged("still loading the model, for ", 12.0)
    may_load.set()
    assert play.hear(GroundedObject).outcome == GroundedObject.OUTCOME_GROUNDED
    assert manage.state == "active"


def test_the_log_tells_how_far_the_model_is_and_it_is_warm_before_it_is_ready(stage, monkeypatch):
    log_when_warm, warm_up = [], Clue.warm_up
    monkeypatch.setattr(Clue, "warm_up", lambda clue: (warm_up(clue), log_when_warm.append(list(play.log))))
    play = stage(load_engine, autostart=False, device="cpu")
    assert Manager(play).do(CONFIGURE)
    play.logged("model 'tabletop' is ready on cpu (float32) after")
    stages = [next(k for k, line in enumerate(play.log) if words in line) for words in (
        "loading the model 'tabletop' (device cpu, dtype auto)", "the weights are read; warming up", "is ready on")]
    assert stages == sorted(stages) and len(log_when_warm) == 1
    assert not any("is ready on" in line for line in log_when_warm[0])


def test_another_dtype_reaches_the_model_and_finds_the_object(stage, clear):
    play = stage(load_engine, device="cpu", dtype="bfloat16")
    play.until(lambda: play.node.state == "active", 60.0)
    assert play.node.model.known.dtype == "bfloat16" and play.node.worker.engine.vlm.model.dtype == torch.bfloat16
    assert found(play, clear)


def test_every_state_by_service(stage, embedded_engine, clear):
    play = stage(embedded_engine, autostart=False)
    manage = Manager(play)
    assert manage.state == "unconfigured" and play.node.worker.engine is None
    assert end_of(play).error.startswith(NOT_ACTIVE)
    assert not manage.do(ACTIVATE)  # there is no model
    assert manage.do(CONFIGURE) and manage.state == "inactive"
    play.camera.show(clear.picture.rgb)
    assert end_of(play, clear.say).error.startswith(NOT_ACTIVE)
    assert play.view.session.newest is None
    assert manage.do(ACTIVATE) and manage.state == "active"
    assert found(play, clear)
    assert manage.do(DEACTIVATE) and manage.state == "inactive"
    assert end_of(play, clear.say).error.startswith(NOT_ACTIVE)
    assert manage.do(ACTIVATE) and found(play, clear)
    assert manage.do(DEACTIVATE, CLEANUP) and manage.state == "unconfigured"
    assert play.node.worker.engine is None
    assert manage.do(CONFIGURE, ACTIVATE) and found(play, clear)
    assert manage.do(Transition.TRANSITION_ACTIVE_SHUTDOWN) and manage.state == "finalized"
    assert play.node.worker.engine is None
    assert end_of(play).error == "the node was shut down: start it again"


def test_deactivation_in_a_dialog(stage, embedded_engine, ambiguous, clear):
    play = stage(embedded_engine)
    manage = Manager(play)
    play.show(ambiguous.picture)
    play.person.say(ambiguous.say)
    question = play.hear(String).data
    assert manage.do(DEACTIVATE)
    end = play.hear(GroundedObject)
    assert end.outcome == GroundedObject.OUTCOME_ERROR and list(end.dialog) == [question]
    assert end.error == "the node was deactivated before the instruction was finished"
    play.person.reply("the left one")
    play.logged("the answer 'the left one' is ignored: no question is open")
    assert not [m for m in play.rest() if not isinstance(m, AmbiguityHeatmap)]
    assert manage.do(ACTIVATE) and found(play, clear)


def test_deactivation_during_a_look(stage, embedded_engine, clear):
    looking, may_look = threading.Event(), threading.Event()
    engine = Engine(embedded_engine(None, None), lambda: looking.set() or may_look.wait(60))
    play = stage(lambda *_: engine)
    manage = Manager(play)
    play.show(clear.picture)
    play.person.say(clear.say)
    assert looking.wait(20)
    play.until(lambda: manage.state == "active")  # a look may begin while the transition to it ends
    assert manage.do(DEACTIVATE)  # does not wait for the look
    assert "the node was deactivated" in play.hear(GroundedObject).error
    cleaned = manage.ask(CLEANUP)  # this does
    time.sleep(0.3)
    assert not cleaned.done()
    may_look.set()
    assert manage.done(cleaned).success
    assert not play.rest() and not play.person.pictures  # it was for nobody
    assert manage.do(CONFIGURE, ACTIVATE) and found(play, clear)


def test_a_bad_model_then_a_good_one(stage, tmp_path, clear, monkeypatch):
    play = stage(load_engine, model=str(tmp_path / "nowhere"))
    manage = Manager(play)
    play.until(lambda: manage.state == "unconfigured")
    sentence = end_of(play).error
    assert "nowhere" in sentence and "\n" not in sentence
    heard = []
    monkeypatch.setattr(play.node, "_load_engine", lambda *_: heard.append(end_of(play).error) or load_engine(*_))
    assert not manage.do(CONFIGURE)
    assert heard == ["the model is still loading: say it again when the node is active"]  # not why the last one failed
    assert not manage.do(CONFIGURE) and manage.state == "unconfigured"  # still the same model
    assert manage.set("model", "tabletop") == "" == manage.set("dtype", "float32")
    assert manage.do(CONFIGURE)
    assert end_of(play).error.startswith(NOT_ACTIVE)  # no longer the old sentence
    for name, value in (("model", "mine"), ("device", "cuda"), ("dtype", "float16"), ("threads", 1)):
        assert f"parameter {name} cannot change while a model is loaded" in manage.set(name, value)
    assert manage.do(ACTIVATE) and found(play, clear)
    assert "deactivate and clean up the node first" in manage.set("model", "mine")
    assert manage.do(DEACTIVATE, CLEANUP) and manage.set("model", "mine") == ""
    assert not manage.do(CONFIGURE)
    assert "there is no model folder mine" in end_of(play).error


def test_no_memory_for_the_model_then_on_another_device(stage, embedded_engine, clear):
    def load(settings, tell):
        if settings.device != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 5.00 GiB.\nGPU 0 has ...")
        return embedded_engine(settings, tell)
    play = stage(load)
    manage = Manager(play)
    error = end_of(play).error
    assert error.startswith("out of memory while loading the model: use a smaller model, another dtype or another device")
    assert "5.00 GiB" in error and "\n" not in error
    assert manage.set("device", "cpu") == "" and manage.do(CONFIGURE, ACTIVATE) and found(play, clear)


def test_no_memory_for_a_look_then_with_another_dtype(stage, embedded_engine, clear):
    def load(settings, tell):
        def trick():
            if settings.dtype != "float16":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return Engine(embedded_engine(settings, tell), trick)
    play = stage(load)
    manage = Manager(play)
    play.show(clear.picture)
    assert end_of(play).error.startswith("out of memory while looking: use a smaller model")
    assert manage.do(DEACTIVATE, CLEANUP) and manage.set("dtype", "float16") == ""
    assert manage.do(CONFIGURE, ACTIVATE) and found(play, clear)


def test_a_transition_that_breaks_can_be_tried_again(stage, embedded_engine, clear):
    engines = iter([object(), embedded_engine(None, None)])  # the first one is none
    play = stage(lambda *_: next(engines), autostart=False)
    manage = Manager(play)
    assert not manage.do(CONFIGURE) and manage.state == "unconfigured"
    play.logged("on_configure failed: AttributeError: 'object' object has no attribute")
    play.logged("a transition from unconfigured failed")
    assert manage.do(CONFIGURE, ACTIVATE) and found(play, clear)


def test_closing_while_it_loads_does_not_wait_for_the_model(stage):
    loading, may_load = threading.Event(), threading.Event()
    play = stage(lambda *_: loading.set() or may_load.wait(60))
    assert loading.wait(20)
    start = time.monotonic()
    assert not play.node.close(0.3)  # the load goes on
    assert time.monotonic() - start < 2.0 and play.node.join_transitions(1.0)
    assert play.node.state == "unconfigured"
    may_load.set()
