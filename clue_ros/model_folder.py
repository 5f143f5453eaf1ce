"""A model on disk: base/, adapter/, detector/, card.md. Only safetensors and JSON are read; nothing is executed.

Every problem is a ModelError whose sentence names the file and what to do.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, PaliGemmaForConditionalGeneration
from transformers.utils import logging as transformers_logging

from clue_ros.detector import calibration
from clue_ros.detector.network import Detector, DetectorSettings
from clue_ros.pipeline import Clue
from clue_ros.types import ModelError
from clue_ros.vlm.paligemma import Vlm

EMBEDDED = "tabletop"
REQUIRED = ("base/config.json", "detector/config.json", "detector/model.safetensors")


def embedded(name: str = EMBEDDED) -> Path:
    """Folder of a model shipped with the package: in the source tree, in a wheel or in a ROS install."""
    relative = Path("resource") / "models" / name
    for parent in Path(__file__).resolve().parents:
        for folder in (parent / relative, parent / "share" / "clue_ros" / relative):
            if folder.is_dir():
                return folder
    raise ModelError(f"the embedded model {name} was not installed: no folder {relative} above {Path(__file__).parent}")


def find(model: str | Path) -> Path:
    """The folder of a model given by path or by the name of an embedded one."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if str(model) and os.sep not in str(model):
        try:
            return embedded(str(model))
        except ModelError:
            pass
    raise ModelError(f"there is no model folder {model}: give a folder with base/, adapter/ and detector/, "
                     f"or the embedded model \"{EMBEDDED}\"")


def pick_device(device: str) -> torch.device:
    """"auto" is the first CUDA GPU, else the CPU."""
    try:
        chosen = torch.device("cuda:0" if torch.cuda.is_available() else "cpu") if device == "auto" else torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"device \"{device}\" is none of auto, cpu, cuda, cuda:0 ...") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device \"{device}\" was asked for, but torch sees no CUDA GPU: install a CUDA build of torch "
                         "and its driver, or set device to cpu")
    return chosen


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """"auto" is bfloat16 on a GPU and float32 on the CPU."""
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in names:
        raise ModelError(f"dtype \"{dtype}\" is none of auto, {', '.join(names)}")
    return names[dtype]


def load(model: str | Path, device: str = "auto", dtype: str = "auto", *, allow_download: bool = False) -> Clue:
    """The whole system from a model folder."""
    folder = find(model)
    for name in REQUIRED:
        if not (folder / name).is_file():
            raise ModelError(f"{folder / name} is missing: the model folder is not complete")
    vlm = load_vlm(folder, device, dtype, allow_download=allow_download)
    calibrated = (folder / "detector" / calibration.FILE).is_file()
    return Clue(vlm, load_detector(folder / "detector", vlm),
                calibration.Calibration.read(folder / "detector") if calibrated else None)


def load_vlm(folder: Path, device: str = "auto", dtype: str = "auto", *, adapter: bool = True,
             allow_download: bool = False) -> Vlm:
    """base/ with the LoRA of adapter/ merged into it (exact, and faster than keeping it apart)."""
    transformers_logging.disable_progress_bar()  # a node's log is no place for it
    where = pick_device(device)
    base = base_of(folder)
    try:
        model = PaliGemmaForConditionalGeneration.from_pretrained(
            base, dtype=pick_dtype(dtype, where), local_files_only=not allow_download, use_safetensors=True,
            trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=not allow_download, trust_remote_code=False)
        if adapter and (folder / "adapter").is_dir():
            model = PeftModel.from_pretrained(model, folder / "adapter").merge_and_unload()
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(f"{folder / 'base'} or {folder / 'adapter'} cannot be read: {_first_line(error)}") from error
    return Vlm(model.to(where), tokenizer)


def base_of(folder: Path) -> str | Path:
    """base/ itself, or the Hugging Face id its config names as `clue_base` (weights too large to ship)."""
    config = _json(folder / "base" / "config.json")
    return config.get("clue_base", folder / "base")


def load_detector(folder: Path, vlm: Vlm) -> Detector:
    """detector/, checked against the model it reads from."""
    settings = _json(folder / "config.json")
    try:
        detector = Detector(DetectorSettings(**settings))
        detector.load_state_dict(load_file(folder / "model.safetensors"))
    except (TypeError, ValueError, RuntimeError, SafetensorError, OSError) as error:
        raise ModelError(f"{folder}: config.json and model.safetensors do not make a detector: {_first_line(error)}") from error
    text = vlm.model.config.get_text_config()
    wanted = (len(detector.settings.layers) * text.num_attention_heads, vlm.grid)
    if (detector.settings.channels, detector.settings.grid) != wanted or max(detector.settings.layers) >= text.num_hidden_layers:
        raise ModelError(f"{folder / 'config.json'} was made for another model: it says channels, grid = "
                         f"{detector.settings.channels}, {detector.settings.grid}; this base gives {wanted[0]}, {wanted[1]}")
    return detector.to(vlm.device).eval()


def save_detector(detector: Detector, folder: Path) -> None:
    """Write detector/."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(detector.settings), indent=1) + "\n")
    save_file({k: v.contiguous() for k, v in detector.state_dict().items()}, folder / "model.safetensors")


def _json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
