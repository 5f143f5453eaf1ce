"""The node on a real GPU, also on a full one; skipped where there is none."""

import contextlib
import gc

import pytest
import torch
from clue_ros.msg import GroundedObject
from clue_ros.ros.node import load_engine
from company import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, Manager, end_of, found

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
OUT_OF_MEMORY = "out of memory while {}: use a smaller model, another dtype or another device ("


@contextlib.contextmanager
def full_gpu():
    """All the memory of the GPU is taken, also the gaps between what the model holds: no picture has room."""
    gc.collect()
    torch.cuda.empty_cache()
    ballast = []
    try:
        for share in (1 << 30, 64 << 20, 2 << 20, 128 << 10, 4 << 10):
            with contextlib.suppress(torch.OutOfMemoryError):
                while True:
                    ballast.append(torch.empty(share, dtype=torch.uint8, device="cuda:0"))
        yield
    finally:
        ballast.clear()
        torch.cuda.empty_cache()


def test_a_full_gpu_while_the_model_loads_then_one_with_room(stage, clear):
    with full_gpu():
        play = stage(load_engine, device="cuda:0")
        assert end_of(play, clear.say).error.startswith(OUT_OF_MEMORY.format("loading the model"))
        assert Manager(play).state == "unconfigured"
    assert Manager(play).do(CONFIGURE, ACTIVATE) and found(play, clear)


def test_a_gpu_that_is_full_while_it_looks_then_one_with_room_then_the_cpu(stage, clear):
    play = stage(load_engine, device="cuda:0")
    play.until(lambda: play.node.state == "active", 60.0)
    assert found(play, clear)
    with full_gpu():
        end = end_of(play, clear.say)
        assert end.outcome == GroundedObject.OUTCOME_ERROR and end.error.startswith(OUT_OF_MEMORY.format("looking"))
    assert end_of(play, clear.say).outcome == GroundedObject.OUTCOME_GROUNDED
    manage = Manager(play)
    assert manage.do(DEACTIVATE, CLEANUP)
    manage.set("device", "cpu")
    with full_gpu():
        assert manage.do(CONFIGURE, ACTIVATE) and found(play, clear)


def test_cleanup_gives_the_gpu_back(stage):
    play = stage(load_engine, device="cuda:0")
    play.until(lambda: play.node.state == "active", 60.0)
    loaded = torch.cuda.memory_allocated()
    assert Manager(play).do(DEACTIVATE, CLEANUP)
    gc.collect()
    assert torch.cuda.memory_allocated() < loaded - (5 << 20)
