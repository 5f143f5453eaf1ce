"""Which model decides: the hash of every file it was read from, and what it runs on."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from importlib import metadata
from itertools import combinations
from pathlib import Path

from huggingface_hub import snapshot_download

from clue_ros.model_folder import base_of, find
from clue_ros.offline import network
from clue_ros.pipeline import Clue
from clue_ros.shipped import shipped
from clue_ros.types import InputError, ModelError

PARTS = ("base", "adapter", "detector")
UNKNOWN = "of unknown version"
PICTURES = (".jpg", ".jpeg", ".png")
LIBRARIES = ("torch", "transformers", "peft", "safetensors", "tokenizers", "numpy")


@dataclass(frozen=True)
class Provenance:
    """What there is to know about a model that is loaded.

    model: as it was asked for; folder: where it was found. files: a line of `sha256sum` for each file, by part. threshold:
    at which it asks. calibration: what it was calibrated on, "" if it does not say. commit: of the source this runs
    from, with "-dirty" behind it when it was changed since; "" when it is not known.
    """

    model: str
    folder: Path
    files: dict[str, tuple[str, ...]]
    threshold: float
    calibration: str
    device: str
    dtype: str
    versions: tuple[str, ...]
    commit: str

    def digest(self, part: str) -> str:
        """One SHA-256 for a part, see `digest`."""
        return digest(self.files[part])


def describe(model: str, clue: Clue) -> Provenance:
    """Of a model that was loaded by this name. Reads its files once more: about a second for each gigabyte. ModelError."""
    folder = find(model)
    return Provenance(model, folder.resolve(), hash_model(folder), clue.threshold,
                      clue.calibration.data if clue.calibration else "", str(clue.vlm.device), clue.vlm.dtype, versions(),
                      commit())


def hash_model(folder: Path) -> dict[str, tuple[str, ...]]:
    """`Provenance.files` of a model folder; a base that lies elsewhere, in a folder or the Hugging Face cache, is read
    there."""
    files = {part: hash_files(folder / part, part) for part in PARTS}
    base = base_of(folder)
    if isinstance(base, str):
        with network(False):
            try:
                where = base if Path(base).is_dir() else snapshot_download(base, local_files_only=True)
            except (OSError, ValueError) as error:
                raise ModelError(f"{folder / 'base/config.json'} names the base {base}, which is no folder and not in the Hugging Face "
                                 "cache: fetch it (`hf download`)") from error
        files["base"] += hash_files(Path(where), base)
    return files


def hash_files(folder: Path, name: str) -> tuple[str, ...]:
    """A line "SHA-256  name/path" for each file below the folder, by path, or for the file that it is; none for what is not
    there."""
    lines = {}
    try:
        for path in [folder] if folder.is_file() else folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    shown = f"{name}/{path.relative_to(folder).as_posix()}"
                    lines[shown] = f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {shown}"
    except OSError as error:
        raise ModelError(f"{error.filename} cannot be read: {error.strerror}") from error
    return tuple(lines[shown] for shown in sorted(lines))


def check_apart(hashes: dict[str, tuple[str, ...]]) -> None:
    """InputError where two data sets hold a picture in common, byte by byte: what was learned on one would be judged on it too. hashes:
    `hash_files` of each, by how it is called."""
    for (one, lines), (other, others) in combinations(hashes.items(), 2):
        first, second = ({line.split()[0] for line in found if line.lower().endswith(PICTURES)} for found in (lines, others))
        if first & second:
            raise InputError(f"{one} and {other} hold {len(first & second)} pictures in common, as data of one seed do: write each with a "
                             "seed of its own")


def digest(lines: tuple[str, ...]) -> str:
    """One SHA-256 of the lines of `hash_files`, as `sha256sum` has it of its own output; "" for no lines."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest() if lines else ""


def code_hash() -> str:
    """One SHA-256 of what decides and what measures: the package's own Python, without its ROS nodes, training and commands."""
    apart = ("/ros/", "/training/", "/cli/")
    return digest(tuple(line for line in hash_files(Path(__file__).parent, "clue_ros")
                        if line.endswith(".py") and not any(part in line for part in apart)))


def versions() -> tuple[str, ...]:
    """"clue_ros 0.1.0", "python 3.11.2", and the libraries that compute."""
    return (f"clue_ros {own_version()}", f"python {platform.python_version()}",
            *(f"{name} {_installed(name) or UNKNOWN}" for name in LIBRARIES))


def own_version() -> str:
    """As pip knows it, else as package.xml of the sources or of the ROS installation says."""
    file = shipped("package.xml")
    return _installed("clue_ros") or (
        re.search(r"<version>(.*?)</version>", file.read_text(encoding="utf-8"))[1] if file else UNKNOWN)


def _installed(name: str) -> str:
    """The version by the package's metadata; "" where it came without, such as built from source into a folder."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def commit() -> str:
    """The git commit of the sources this file belongs to, or was installed from; "" when it is not known."""
    root = Path(__file__).resolve().parents[1]
    if not (root / "package.xml").is_file():  # installed, maybe into somebody else's repository
        noted = shipped("source-commit.txt")
        return noted.read_text(encoding="utf-8").strip() if noted else ""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    quiet = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # looking must not get in the way of somebody's commit
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5.0, check=False, env=quiet)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
