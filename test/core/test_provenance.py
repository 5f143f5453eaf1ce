"""The hashes of a model: those that `sha256sum` gives, other ones for other bytes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest

from clue_ros import provenance
from clue_ros.model_folder import embedded, load
from clue_ros.provenance import PARTS, describe, digest, hash_model


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(embedded(), tmp_path / "model")


def digests(folder):
    """{part: one hash}."""
    return {part: digest(lines) for part, lines in hash_model(folder).items()}


@pytest.mark.parametrize("file, part", [("base/model.safetensors", "base"), ("base/tokenizer.json", "base"),
                                        ("adapter/adapter_model.safetensors", "adapter"),
                                        ("detector/model.safetensors", "detector"), ("detector/config.json", "detector"),
                                        ("detector/calibration.json", "detector")])
def test_a_changed_byte_changes_the_hash_of_its_part_alone(copy, file, part):
    before = digests(copy)
    with (copy / file).open("r+b") as opened:
        opened.seek(-20, 2)
        byte = opened.read(1)[0]
        opened.seek(-20, 2)
        opened.write(bytes([byte ^ 1]))
    after = digests(copy)
    assert {name for name in PARTS if after[name] != before[name]} == {part}


def test_a_renamed_and_a_new_file_change_the_hash(copy):
    before = digests(copy)
    (copy / "detector/config.json").rename(copy / "detector/config2.json")
    renamed = digests(copy)
    (copy / "adapter/new.json").write_text("")
    assert before["detector"] != renamed["detector"] and renamed["adapter"] != digests(copy)["adapter"]
    assert before == digests(embedded())  # where the folder lies does not matter


def test_a_model_without_an_adapter(copy):
    shutil.rmtree(copy / "adapter")
    assert digests(copy)["adapter"] == "" and digests(copy)["base"] == digests(embedded())["base"]


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="there is no sha256sum")
def test_sha256sum_agrees(copy, tmp_path):
    files = hash_model(copy)
    (tmp_path / "sums").write_text("".join(f"{line}\n" for part in PARTS for line in files[part]))
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", tmp_path / "sums"], check=True, cwd=copy)
    whole = subprocess.run("find base -type f | LC_ALL=C sort | xargs sha256sum | sha256sum", shell=True, cwd=copy,
                           check=True, capture_output=True, text=True).stdout.split()[0]
    assert digest(files["base"]) == whole


def test_a_base_of_the_hugging_face_cache_is_hashed_there(copy, tmp_path, monkeypatch):
    snapshot = tmp_path / "hub/models--some--base/snapshots/abc"
    snapshot.mkdir(parents=True)
    (tmp_path / "hub/models--some--base/refs").mkdir()
    (tmp_path / "hub/models--some--base/refs/main").write_text("abc")
    (snapshot / "model.safetensors").write_bytes(b"weights")
    (copy / "base/config.json").write_text(json.dumps({"clue_base": "some/base"}))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    before = hash_model(copy)["base"]
    assert before[-1].endswith("  some/base/model.safetensors")
    (snapshot / "model.safetensors").write_bytes(b"weightz")
    assert digest(hash_model(copy)["base"]) != digest(before)


def test_a_base_in_another_folder_is_read_and_hashed_there(copy, tmp_path):
    elsewhere = tmp_path / "paligemma2"
    shutil.move(copy / "base", elsewhere)
    (copy / "base").mkdir()
    (copy / "base/config.json").write_text(json.dumps({"clue_base": str(elsewhere)}))
    known = describe(str(copy), load(copy, "cpu"))
    assert {line.split("  ")[1] for line in known.files["base"]} >= {"base/config.json", f"{elsewhere}/model.safetensors"}


def test_a_loaded_model_is_described(copy):
    clue = load(copy, "cpu")
    known = describe(str(copy), clue)
    assert (known.device, known.dtype, known.threshold) == ("cpu", "float32", clue.calibration.threshold())
    assert known.digest("detector") == digests(copy)["detector"] and known.folder == copy.resolve()
    named = dict(text.split(" ", 1) for text in known.versions)
    assert {"clue_ros", "torch", "transformers"} <= set(named) and named["clue_ros"][0].isdigit()


def test_the_commit_is_that_of_these_sources_or_unknown(tmp_path, monkeypatch):
    root = provenance.Path(provenance.__file__).parents[1]
    asked = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert provenance.commit().removesuffix("-dirty") == (asked.stdout.strip() if asked.returncode == 0 else "")
    subprocess.run(["git", "init", "-q", tmp_path], check=False)  # somebody else's repository, with a copy of us in it
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "lib/clue_ros/provenance.py"))
    assert provenance.commit() == ""


def test_an_installed_copy_knows_the_commit_that_was_noted_when_it_was_installed(tmp_path):
    sources = provenance.Path(provenance.__file__).parent
    library, share = tmp_path / "lib/python3/site-packages", tmp_path / "share/clue_ros"
    shutil.copytree(sources, library / "clue_ros", ignore=shutil.ignore_patterns("__pycache__", "ros", "tabletop"))
    share.mkdir(parents=True)
    (share / "source-commit.txt").write_text("0123abc-dirty\n")
    asked = subprocess.run([sys.executable, "-c", "from clue_ros import provenance; print(provenance.__file__, provenance.commit())"],
                           cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(library)}, capture_output=True, text=True, check=True)
    assert asked.stdout.split() == [str(library / "clue_ros/provenance.py"), "0123abc-dirty"]


def test_what_decides_and_measures_has_another_hash_when_it_changes_and_nothing_else_has(tmp_path, monkeypatch):
    package = shutil.copytree(Path(provenance.__file__).parent, tmp_path / "clue_ros", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    before = provenance.code_hash()
    for file in ("ros/node.py", "training/base.py", "cli/train.py"):
        (package / file).write_text("other")
    (package / "notes.txt").write_text("other")
    assert provenance.code_hash() == before
    (package / "evaluation" / "looks.py").write_text("other")
    assert provenance.code_hash() != before
