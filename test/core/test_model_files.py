"""Model folders that somebody damaged, mixed up or poisoned: refused in one sentence that names the file, before a look."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from peft import PeftConfig, PeftModel
from safetensors.torch import load, save_file
from transformers import AutoTokenizer

from clue_ros.detector.network import View
from clue_ros.dialog import Dialog
from clue_ros.model_folder import embedded, load_detector, load_vlm
from clue_ros.model_folder import load as load_model
from clue_ros.types import Frame, ModelError
from clue_ros.vlm.build import Size, new_model
from damage import damaged

BASE, ADAPTER, DETECTOR = "base/model.safetensors", "adapter/adapter_model.safetensors", "detector/model.safetensors"
WEIGHTS = (BASE, ADAPTER, DETECTOR)
JSON = tuple(sorted(str(path.relative_to(embedded())) for path in embedded().glob("*/*.json")))
CONFIG = json.loads((embedded() / "detector/config.json").read_text())


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(embedded(), tmp_path / "model")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """base/ and adapter/ of a narrower model with the same words and as many layers; random weights."""
    folder = shutil.copytree(embedded(), tmp_path_factory.mktemp("other") / "model",
                             ignore=shutil.ignore_patterns("*.safetensors"))
    model = new_model(Size(width=96), AutoTokenizer.from_pretrained(folder / "base"))
    model.save_pretrained(folder / "base")
    adapted = PeftModel(model, PeftConfig.from_pretrained(embedded() / "adapter"))
    adapted.save_pretrained(folder / "adapter", save_embedding_layers=False)
    return folder


def weights(file):
    """The tensors of a safetensors file, read to the end, so that the file may be written again."""
    return load(file.read_bytes())


def refusal(where, *names, folder=None):
    """The sentence in which the folder (default: `where`) is refused; it must hold the full name of one of these files."""
    with pytest.raises(ModelError) as error:
        load_model(folder or where, "cpu")
    sentence = str(error.value)
    assert any(str(where / name) in sentence for name in names) and "\n" not in sentence, sentence
    return sentence


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_cut_short(copy, name, share):
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[:int(len(whole) * share)])
    assert "no whole safetensors file: copy it again" in refusal(copy, name)


@pytest.mark.parametrize("name", JSON)
def test_settings_cut_short_or_of_another_kind(copy, name):
    text = (copy / name).read_text()
    for content in (text[:len(text) // 2], "", "[]", "null", '"words"', "\x00\x01", "[" * 100_000):
        (copy / name).write_text(content)
        assert "cannot be read" in refusal(copy, name)


class Bomb:
    """What runs when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("write", [lambda file: file.write_bytes(pickle.dumps(Bomb())),
                                   lambda file: torch.save(Bomb(), file)])
def test_a_pickle_in_place_of_weights(copy, name, write, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write(copy / name)
    assert "no whole safetensors file" in refusal(copy, name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name, pickled", [(BASE, "base/pytorch_model.bin"), (ADAPTER, "adapter/adapter_model.bin"),
                                           (DETECTOR, "detector/model.bin"), (DETECTOR, "detector/pytorch_model.bin")])
def test_a_pickle_beside_missing_weights_is_not_read(copy, name, pickled):
    torch.save(weights(copy / name), copy / pickled)
    (copy / name).unlink()
    refusal(copy, name)


@pytest.mark.parametrize("here, there", [(BASE, ADAPTER), (BASE, DETECTOR), (ADAPTER, DETECTOR), (DETECTOR, ADAPTER),
                                         (ADAPTER, BASE), (DETECTOR, BASE)])
def test_weights_that_lie_in_the_wrong_place(copy, here, there):
    """The libraries would go on with random weights."""
    shutil.copy(embedded() / there, copy / here)
    refusal(copy, here)


def test_weights_of_a_model_of_another_width(copy, other):
    shutil.copy(other / BASE, copy / BASE)
    assert "the weights of another model than its config.json describes" in refusal(copy, BASE)
    shutil.copy(embedded() / BASE, copy / BASE)
    shutil.copy(other / ADAPTER, copy / ADAPTER)
    assert "was made for another base: size mismatch" in refusal(copy, ADAPTER)


def test_a_base_under_another_models_adapter(copy, other):
    shutil.rmtree(copy / "base")
    shutil.copytree(other / "base", copy / "base")
    assert "was made for another base" in refusal(copy, ADAPTER)


@pytest.mark.parametrize("change, words", [
    ({"layers": [3, 4], "channels": 24}, "other weights than"), ({"layers": [6]}, "was made for another model"),
    ({"layers": [4, 5, 6]}, "was made for another model"),
    ({"grid": 20}, "was made for another model"), ({"width": 64}, "other weights than"),
    ({"head_mean": True}, "other weights than"),
])
def test_a_detector_of_another_model(copy, change, words):
    (copy / "detector/config.json").write_text(json.dumps(CONFIG | change))
    assert words in refusal(copy, DETECTOR, "detector/config.json")


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_weight_that_is_missing_renamed_or_no_number(copy, name):
    tensors = weights(copy / name)
    first = next(key for key, value in tensors.items() if value.ndim == 2)
    rest = {key: value for key, value in tensors.items() if key != first}
    for changed in (rest, rest | {"x" + first: tensors[first]}, rest | {first: tensors[first][:-1].clone()},
                    rest | {first: tensors[first] * float("nan")}, rest | {first: tensors[first] * float("inf")}):
        save_file(changed, copy / name, metadata={"format": "pt"})
        refusal(copy, name)


def test_words_of_another_model(copy):
    tokenizer = json.loads((copy / "base/tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    words = list(vocabulary)[-50:]
    vocabulary |= {f"{word}{k}": len(vocabulary) + k for k, word in enumerate(words)}
    (copy / "base/tokenizer.json").write_text(json.dumps(tokenizer))
    assert "was made for another model" in refusal(copy, "base/tokenizer.json")
    (copy / "base/tokenizer.json").write_text(json.dumps(tokenizer | {"model": {"type": "none"}}))
    assert "cannot be used" in refusal(copy, "base/tokenizer.json")


@pytest.mark.parametrize("change", [{"peft_type": "NONE"}, {"peft_type": None}, {"r": 8}, {"r": "16"}, {"r": -1},
                                    {"target_modules": ["q_proj"]}, {"target_modules": "nothing"}])
def test_an_adapter_described_wrongly(copy, change):
    config = json.loads((copy / "adapter/adapter_config.json").read_text())
    (copy / "adapter/adapter_config.json").write_text(json.dumps(config | change))
    refusal(copy, "adapter/adapter_config.json", ADAPTER)


@pytest.mark.parametrize("config", [
    {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 8, "prompt_tuning_init": "TEXT",
     "prompt_tuning_init_text": "x", "tokenizer_name_or_path": "nobody/knows-this-model"},
    {"peft_type": "XLORA", "hidden_size": 192, "adapters": {"0": "nobody/knows-this-model"}}])
def test_an_adapter_that_would_fetch_something_is_no_lora(copy, config, monkeypatch):
    def no_network(*_):
        raise AssertionError("the network was asked")
    monkeypatch.setattr("socket.socket.connect", no_network)
    (copy / "adapter/adapter_config.json").write_text(json.dumps(config))
    assert "describes no LoRA" in refusal(copy, "adapter/adapter_config.json")


def test_a_file_of_a_base_elsewhere_is_named_where_it_is(copy, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (copy / "base").rename(elsewhere)
    (copy / "base").mkdir()
    (copy / "base/config.json").write_text(json.dumps({"clue_base": str(elsewhere)}))
    load_model(copy, "cpu")
    whole = (elsewhere / "model.safetensors").read_bytes()
    (elsewhere / "model.safetensors").write_bytes(whole[:len(whole) // 2])
    assert "no whole safetensors file" in refusal(elsewhere.parent, "elsewhere/model.safetensors", folder=copy)
    (elsewhere / "model.safetensors").unlink()
    refusal(elsewhere.parent, "elsewhere/model.safetensors", folder=copy)
    (elsewhere / "model.safetensors").write_bytes(whole)
    (elsewhere / "tokenizer.json").write_text("{")
    refusal(elsewhere.parent, "elsewhere/tokenizer.json", folder=copy)


@pytest.mark.parametrize("clue_base", [5, "", None, ["google/paligemma2-3b-mix-448"]])
def test_a_base_elsewhere_that_is_no_name(copy, clue_base):
    (copy / "base/config.json").write_text(json.dumps({"clue_base": clue_base}))
    assert "clue_base is" in refusal(copy, "base/config.json")


def test_a_base_elsewhere_that_is_not_on_disk(copy):
    (copy / "base/config.json").write_text(json.dumps({"clue_base": "nobody/knows-this-model"}))
    refusal(copy, "base")


@pytest.mark.parametrize("name", ["~nobody-of-that-name/model", "x" * 5000, "a\nb", "\x00"])
def test_a_name_that_cannot_be_one(name):
    with pytest.raises(ModelError, match="there is no model folder") as error:
        load_model(name, "cpu")
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.fixture(scope="module")
def vlm():
    return load_vlm(embedded(), "cpu")


@given(damaged(CONFIG))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_detector_judges_or_is_refused_in_a_sentence(tmp_path, vlm, config):
    shutil.copy(embedded() / DETECTOR, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    try:
        detector = load_detector(tmp_path, vlm)
    except ModelError as error:
        assert str(tmp_path) in str(error) and "\n" not in str(error)
        return
    s = detector.settings
    try:
        verdict = detector.judge([View(np.full((s.channels, s.grid, s.grid), 0.01, np.float32))], (640, 480))
    except ModelError as error:  # of a scale that overflows
        assert "no number" in str(error)
        return
    assert 0.0 <= verdict.probability <= 1.0 and 0.0 <= verdict.threshold <= 1.0


def test_a_verdict_that_is_no_number_is_an_error_not_a_go(vlm):
    detector = load_detector(embedded() / "detector", vlm)
    maps = np.full((detector.settings.channels, vlm.grid, vlm.grid), np.nan, np.float32)
    with pytest.raises(ModelError, match="the detector's verdict is no number"):
        detector.judge([View(maps)], (640, 480))


def test_the_undamaged_copy_looks(copy):
    clue = load_model(copy, "cpu")
    assert clue.look(Frame(np.full((48, 64, 3), 128, np.uint8)), Dialog.start("the red mug")).outcome is not None
