"""The same model on a GPU decides as on the CPU; skipped where there is no GPU."""

from pathlib import Path

import pytest
import torch

from clue_ros.data.records import read_photo
from clue_ros.dialog import Dialog
from clue_ros.model_folder import embedded, load
from clue_ros.training.recipes import read_base
from clue_ros.types import Frame, Grounding, Question

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
DEMO = Path(__file__).parents[2] / "resource" / "demo"
PICTURES = sorted(DEMO.glob("*.jpg"))
WORDS = ("pick up the yellow mug", "the red mug", "the left one", "the large block", "pick up the bowl")


@pytest.mark.parametrize("dtype, close", (("float32", 1e-3), ("bfloat16", 0.03)))
def test_it_decides_as_on_the_cpu(dtype, close):
    cpu, gpu = load(embedded(), "cpu"), load(embedded(), "cuda:0", dtype)
    assert gpu.vlm.device.type == "cuda" and gpu.vlm.model.dtype == getattr(torch, dtype)
    apart = []
    for picture in PICTURES:
        for words in WORDS:
            there, here = (clue.look(Frame(read_photo(picture)), Dialog.start(words)) for clue in (cpu, gpu))
            apart.append(abs(there.ambiguity.probability - here.ambiguity.probability))
            if dtype == "float32" and apart[-1] < close and abs(there.ambiguity.probability - cpu.threshold) > close:
                assert type(there.outcome) is type(here.outcome)
                if isinstance(there.outcome, Question):
                    assert there.outcome.text == here.outcome.text
                elif isinstance(there.outcome, Grounding):
                    assert there.outcome.box.iou(here.outcome.box) > 0.95
    assert len(apart) >= 10 and max(apart) < close


def test_a_small_base_is_trained_in_float32():
    model, _ = read_base(embedded() / "base")
    assert model.dtype == torch.float32  # as it is used on a CPU
