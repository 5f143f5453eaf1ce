"""The embedded model loads; a folder that cannot be used is refused in one sentence that names the file."""

import contextlib
import json
import os
import shutil
import socket
from pathlib import Path

import pytest
import torch

from clue_ros.devices import pick_device, pick_dtype, pick_threads, usable_cores
from clue_ros.model_folder import embedded, find, load
from clue_ros.types import ModelError


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(embedded(), tmp_path / "model")


def test_the_embedded_model_is_small_and_complete():
    folder = embedded()
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) <= 24_000_000
    assert (folder / "card.md").is_file()
    load("tabletop", "cpu")


def test_an_unknown_model_is_named():
    with pytest.raises(ModelError, match="no model folder /nowhere"):
        find("/nowhere")


@pytest.mark.parametrize("file", ["base/config.json", "detector/config.json", "detector/model.safetensors"])
def test_a_missing_file_is_named(copy, file):
    (copy / file).unlink()
    with pytest.raises(ModelError, match=file.replace(".", r"\.")):
        load(copy, "cpu")


@pytest.mark.parametrize("file", ["base/model.safetensors", "adapter/adapter_model.safetensors", "detector/model.safetensors"])
def test_a_truncated_file_is_refused(copy, file):
    whole = (copy / file).read_bytes()
    (copy / file).write_bytes(whole[:len(whole) // 2])
    with pytest.raises(ModelError, match=file.split("/")[0]):
        load(copy, "cpu")


def test_weights_missing_from_base_are_refused_not_guessed(copy):
    (copy / "base/model.safetensors").unlink()
    with pytest.raises(ModelError, match="base"):
        load(copy, "cpu")


def test_layers_too_many_are_refused_not_dropped(copy):
    config = json.loads((copy / "base/config.json").read_text())
    config["vision_config"]["num_hidden_layers"] -= 1
    (copy / "base/config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="model.safetensors holds the weights of another model .*layers.6"):
        load(copy, "cpu")


def test_a_detector_of_another_width_is_refused(copy):
    settings = json.loads((copy / "detector/config.json").read_text())
    (copy / "detector/config.json").write_text(json.dumps(settings | {"channels": settings["channels"] + 1}))
    with pytest.raises(ModelError, match="detector"):
        load(copy, "cpu")


def test_a_setting_nobody_knows_is_refused(copy):
    settings = json.loads((copy / "detector/config.json").read_text())
    (copy / "detector/config.json").write_text(json.dumps(settings | {"treshold": 0.5}))
    with pytest.raises(ModelError, match="treshold"):
        load(copy, "cpu")


def test_devices_and_dtypes_are_checked_in_words():
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(ModelError, match="gpu0"):
        pick_device("gpu0")
    with pytest.raises(ModelError, match="float8"):
        pick_dtype("float8", pick_device("cpu"))


@pytest.mark.parametrize("quota, share", [("max 100000\n", None), ("150000 100000\n", 1), ("50000 100000\n", 1), ("no quota", None)])
def test_a_containers_quota_bounds_the_threads(tmp_path, quota, share):
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_cores(tmp_path / "cpu.max") == (share or len(os.sched_getaffinity(0))) == (share or usable_cores(tmp_path / "none"))


@pytest.mark.parametrize("asked, weights, device, threads", [
    (3, 5_000_000, "cpu", 3), (0, 5_000_000, "cpu", 1), (0, 3_000_000_000, "cpu", usable_cores()), (0, 3_000_000_000, "cuda:0", 1)])
def test_a_small_model_computes_with_one_thread_which_nothing_else_can_hold_up(asked, weights, device, threads):
    assert pick_threads(asked, weights, torch.device(device)) == threads


def test_a_model_for_the_cpu_touches_no_gpu(monkeypatch):
    """PEFT by itself puts an adapter's weights on a GPU, whatever the model is for: which may be full."""
    asked = []
    monkeypatch.setattr("peft.peft_model.infer_device", lambda: asked.append("cuda") or "cpu")
    load(embedded(), "cpu")
    assert not asked


def test_a_model_on_disk_is_read_without_any_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load(embedded(), "cpu").warm_up()


def test_a_folder_called_like_the_embedded_model_does_not_hide_it(tmp_path, monkeypatch):
    (tmp_path / "tabletop").mkdir()  # such as a data set
    monkeypatch.chdir(tmp_path)
    assert find("tabletop") == embedded()
    shutil.copytree(embedded(), tmp_path / "tabletop", dirs_exist_ok=True)
    assert find("tabletop") == Path("tabletop")


def test_code_in_a_model_folder_is_not_run(copy, tmp_path):
    """Where config.json and tokenizer_config.json name Python files, as models of the Hugging Face hub may."""
    ran = tmp_path / "ran"
    code = f"import pathlib\npathlib.Path({str(ran)!r}).touch()\nclass Mine:\n    pass\n"
    (copy / "base/mine.py").write_text(code)
    for name, kinds in (("config.json", ("AutoConfig", "AutoModel", "AutoModelForImageTextToText")),
                        ("tokenizer_config.json", ("AutoTokenizer",))):
        file = copy / "base" / name
        named = {kind: ["mine.Mine", "mine.Mine"] if kind == "AutoTokenizer" else "mine.Mine" for kind in kinds}
        file.write_text(json.dumps(json.loads(file.read_text()) | {"auto_map": named}))
    with contextlib.suppress(ModelError):  # to refuse such a folder is as good
        load(copy, "cpu")
    assert not ran.exists()
