"""A model on disk: base/, adapter/, detector/, card.md. Only safetensors and JSON are read; nothing is executed.

Every problem is a ModelError whose sentence names the file and what to do. Weights that are missing, too many, of another
shape or no numbers are such problems: the libraries would make up for them with random ones, and say so only in a warning.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import torch
from peft import PeftConfig, PeftModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor
from transformers import AutoTokenizer, PaliGemmaForConditionalGeneration, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from clue_ros.detector import calibration
from clue_ros.detector.network import Detector, DetectorSettings, channel_count
from clue_ros.detector.weighing import Weighing
from clue_ros.devices import pick_device, pick_dtype
from clue_ros.files import recovered
from clue_ros.offline import network
from clue_ros.pipeline import Clue
from clue_ros.shipped import shipped
from clue_ros.types import InputError, ModelError
from clue_ros.vlm.build import quiet_peft
from clue_ros.vlm.paligemma import Vlm

EMBEDDED = "tabletop"
MODELS = Path("resource") / "models"
DETECTOR = "detector/model.safetensors"
REQUIRED = ("base/config.json", "detector/config.json", DETECTOR)
ADAPTER = ("adapter/adapter_config.json", "adapter/adapter_model.safetensors")


def embedded(name: str = EMBEDDED) -> Path:
    """Folder of a model shipped with the package: in the source tree, in a wheel or in a ROS install."""
    if (folder := shipped(MODELS / name)) is None:
        raise ModelError(f"the embedded model {name} was not installed: no folder {MODELS / name} above "
                         f"{Path(__file__).parent}")
    return folder


def find(model: str | Path) -> Path:
    """The folder of a model given by path or by the name of an embedded one."""
    try:
        folder, name = Path(model).expanduser(), str(model)
        whole = (folder / REQUIRED[0]).is_file()
        if name not in ("", ".", "..") and os.sep not in name and not whole and (own := shipped(MODELS / name)):
            return own  # whatever else is called so where the program was started
        if folder.is_dir():
            return folder
    except (OSError, RuntimeError):  # a name too long for a file, or the home of nobody
        pass
    name = str(model)[:200]
    raise ModelError(f"there is no model folder {name if name.isprintable() else repr(name)}: give a folder with base/, "
                     f"adapter/ and detector/, or the embedded model \"{EMBEDDED}\"")


def load(model: str | Path, device: str = "auto", dtype: str = "auto", *, allow_download: bool = False,
         calibrated: bool = True) -> Clue:
    """The whole system from a model folder. calibrated: with its calibration, where there is one."""
    folder = find(model)
    recovered((folder / "detector").resolve())  # it may be a link, whose target was calibrated
    _require(folder, REQUIRED)
    vlm = load_vlm(folder, device, dtype, allow_download=allow_download)
    return Clue(vlm, load_detector(folder / "detector", vlm), _calibration(folder) if calibrated else None)


def _calibration(folder: Path) -> calibration.Calibration | None:
    """The model's, if it was calibrated. ModelError where it was made with other weights: its threshold would keep no risk."""
    if not (folder / "detector" / calibration.FILE).is_file():
        return None
    made = calibration.Calibration.read(folder / "detector")
    if made.weights and made.weights != calibrated_weights(folder):
        raise ModelError(f"{folder / 'detector' / calibration.FILE} was made with another adapter, detector or base than those beside "
                         "it: calibrate the model again (clue-train calibrate)")
    return made


def calibrated_weights(folder: Path) -> str:
    """One SHA-256 of what a calibration is of: the weights of adapter and detector, and what base they are for. Of the base's own
    weights its configuration has to do: those of a published model take minutes to read."""
    base, known = base_of(folder), hashlib.sha256()
    for file, instead in ((Path(base) / "config.json", str(base)), (folder / ADAPTER[1], "no adapter"), (folder / DETECTOR, "no detector")):
        known.update(file.read_bytes() if file.is_file() else instead.encode())
    return known.hexdigest()


def load_vlm(folder: Path, device: str = "auto", dtype: str = "auto", *, adapter: bool = True,
             allow_download: bool = False) -> Vlm:
    """base/ with the LoRA of adapter/ merged into it: faster than keeping it apart, exact in float32 and rounded to
    the weights in bfloat16."""
    transformers_logging.disable_progress_bar()  # a node's log is no place for it
    where, base = pick_device(device), base_of(folder)
    with network(allow_download):
        model, tokenizer = open_base(base, pick_dtype(dtype, where), folder / "base", allow_download=allow_download)
    if adapter and (folder / "adapter").is_dir():
        _require(folder, ADAPTER)
        _check_files(folder / "adapter")
        with network(False):
            model = open_adapter(model, folder / "adapter").merge_and_unload()
    try:
        return Vlm(model.to(where), tokenizer)
    except InputError as error:
        raise ModelError(f"{Path(base) / 'tokenizer.json'} cannot be used: {error}") from error


def base_of(folder: Path) -> str | Path:
    """base/ itself, or the folder or Hugging Face id that its config names as `clue_base` (weights too large to copy)."""
    base = read_json(folder / "base" / "config.json").get("clue_base", folder / "base")
    if not base or not isinstance(base, str | Path):
        raise ModelError(f"{folder / 'base/config.json'}: clue_base is {base!r}, it must be a folder or a Hugging Face id, "
                         "such as google/paligemma2-3b-mix-448")
    beside = folder / "base" / base  # a relative one is taken from the file that names it
    return str(beside) if isinstance(base, str) and beside.is_dir() else base


def load_detector(folder: Path, vlm: Vlm) -> Detector:
    """detector/, checked against the model it reads from."""
    config, weights = folder / "config.json", folder / "model.safetensors"
    values = read_json(config)
    try:
        settings, weighing = _detector_parts(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{config} describes no detector: {_reason(error)}") from error
    text = vlm.model.config.get_text_config()
    wanted = (channel_count(settings.layers, text.num_attention_heads, closing=settings.closing), vlm.grid)
    if (settings.channels, settings.grid) != wanted or max(settings.layers) >= text.num_hidden_layers:
        raise ModelError(f"{config} was made for another model: it says layers, channels, grid = {settings.layers}, "
                         f"{settings.channels}, {settings.grid}; this base has {text.num_hidden_layers} layers and gives "
                         f"{wanted[0]} channels and grid {wanted[1]}")
    check_weights(weights)
    detector = Detector(settings, weighing)
    try:
        detector.load_state_dict(load_file(weights))
    except RuntimeError as error:
        raise ModelError(f"{weights} holds other weights than {config} describes, or those of an earlier version's detector, which "
                         f"must be trained again (clue-train ambiguity): {_reason(error)}") from error
    _check_finite(detector.state_dict(), weights)
    return detector.to(vlm.device).eval()


def save_detector(detector: Detector, folder: Path) -> None:
    """Write detector/."""
    folder.mkdir(parents=True, exist_ok=True)
    save_detector_config(detector.settings, detector.weighing, folder)
    save_weights(detector.state_dict(), folder / "model.safetensors")


def save_detector_config(settings: DetectorSettings, weighing: Weighing, folder: Path) -> None:
    """Write what detector/ says beside its weights."""
    parts = dataclasses.asdict(settings) | dataclasses.asdict(weighing)
    (folder / "config.json").write_text(json.dumps(parts, indent=1) + "\n")


def forget_calibration(folder: Path) -> None:
    """Of a detector/ that was calibrated for another model: its views stay, P and threshold are of nothing any more."""
    (folder / calibration.FILE).unlink(missing_ok=True)
    settings, weighing = _detector_parts(read_json(folder / "config.json"))
    save_detector_config(settings, Weighing(zoom=weighing.zoom), folder)


def _detector_parts(values: dict) -> tuple[DetectorSettings, Weighing]:
    """Inverse of what `save_detector_config` writes. TypeError for a name too many or too few, ValueError for a value."""
    names = {field.name for field in dataclasses.fields(Weighing)}
    return (DetectorSettings(**{name: value for name, value in values.items() if name not in names}),
            Weighing(**{name: value for name, value in values.items() if name in names}))


def save_weights(weights: dict[str, torch.Tensor], file: Path) -> None:
    """Write a safetensors file, with the rights of any new file (safetensors' `save_file` writes for its user alone)."""
    file.write_bytes(save({name: weight.contiguous() for name, weight in weights.items()}, metadata={"format": "pt"}))


def open_base(base: str | Path, dtype: torch.dtype, where: Path, *,
              allow_download: bool) -> tuple[PaliGemmaForConditionalGeneration, PreTrainedTokenizerBase]:
    """Model and tokenizer of a base: a folder, or a Hugging Face id. where: the folder that is read or, with its config.json,
    names it."""
    transformers_logging.set_verbosity_error()  # what it would warn of is refused below, in a sentence
    for files in {where, Path(base)}:  # once where they are the same
        if files.is_dir():
            _check_files(files)
    local = Path(base).is_dir()
    at = Path(base) if local else where  # where the files are, if anywhere on this machine
    sharded = (at / "model.safetensors.index.json").is_file()
    name = at / "model.safetensors" if local and not sharded else at
    options = {"local_files_only": not allow_download, "trust_remote_code": False}
    try:
        model, info = PaliGemmaForConditionalGeneration.from_pretrained(
            base, dtype=dtype, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError, SafetensorError) as error:
        if isinstance(base, str) and not Path(base).is_dir() and not allow_download:
            named = f"{where / 'config.json'} names the base {base}, which" if where.is_dir() else f"the base {base}"
            raise ModelError(f"{named} is no folder and not in the Hugging Face cache, or not whole: fetch it (`hf download`), or "
                             "set allow_download") from error
        raise ModelError(f"{name} or its config.json cannot be read: {_reason(error)}") from error
    deeper = (key for key in info["unexpected_keys"] if ".layers." in key)  # others may be of no use, such as of a head that is tied
    if misfits := {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"]), *deeper}:
        raise ModelError(f"{name} holds the weights of another model than its config.json describes: missing, of "
                         f"another shape or of a layer too many: {_first_of(misfits)}")
    _check_finite(model.state_dict(), name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, **options)
    except Exception as error:  # the tokenizers library raises nothing more special
        raise ModelError(f"{at / 'tokenizer.json'} cannot be used: {_reason(error)}") from error
    words = model.get_input_embeddings().num_embeddings
    image = tokenizer.convert_tokens_to_ids("<image>")
    if tokenizer.vocab_size > words or image != model.config.image_token_id:
        raise ModelError(f"{at / 'tokenizer.json'} was made for another model: {tokenizer.vocab_size} tokens, "
                         f"<image> is number {image}; config.json says {words} and {model.config.image_token_id}")
    return model, tokenizer


def open_adapter(model: PaliGemmaForConditionalGeneration, folder: Path, *, trainable: bool = False) -> PeftModel:
    """The model with the LoRA in `folder` beside its weights. ModelError when that is none, or one for another base."""
    config, weights = (folder / Path(name).name for name in ADAPTER)
    if (kind := read_json(config).get("peft_type")) != "LORA":  # other kinds may fetch what they name from the network
        raise ModelError(f"{config} describes no LoRA: its peft_type is {str(kind)[:40]!r}")
    try:
        with quiet_peft():
            settings = PeftConfig.from_pretrained(folder)
            settings.inference_mode = not trainable
            adapted = PeftModel(model, settings)
    except Exception as error:  # PEFT checks little: whatever a damaged configuration leads to
        raise ModelError(f"{config} describes no adapter for this base: {_reason(error)}") from error
    try:
        # By itself PEFT takes a GPU, whatever was asked for.
        found = adapted.load_adapter(folder, "default", torch_device="cpu", is_trainable=trainable)
    except RuntimeError as error:
        raise ModelError(f"{weights} was made for another base: {_reason(error)}") from error
    if misfits := {*found.missing_keys, *found.unexpected_keys}:
        raise ModelError(f"{weights} was made for another base, or is not what {config} describes: missing or too many: "
                         f"{_first_of(misfits)}")
    _check_finite(load_file(weights), weights)
    return adapted


def _require(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise ModelError(f"{folder / name} is missing: the model folder is not complete")


def _check_files(folder: Path) -> None:
    """Every JSON and safetensors file there can be opened; the libraries do not say which one could not."""
    for path in sorted(folder.glob("*.json")):
        read_json(path)
    for path in sorted(folder.glob("*.safetensors")):
        check_weights(path)


def check_weights(path: Path) -> None:
    """A whole safetensors file, by its header: nothing is unpickled, and a file cut short is noticed."""
    try:
        with safe_open(path, "pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is no whole safetensors file: copy it again ({_reason(error)})") from error


def _check_finite(weights: dict[str, Tensor], path: Path) -> None:
    for name, values in weights.items():
        if values.is_floating_point() and not torch.isfinite(values).all():
            raise ModelError(f"{path} is damaged, or dtype {values.dtype} too narrow for it: {name} holds values that "
                             "are no numbers")


def read_json(path: Path) -> dict:
    """The JSON object in a file of a model. ModelError names the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {_reason(error)}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} cannot be read: it holds a {type(value).__name__}, not a JSON object")
    return value


def _first_of(names: set[str]) -> str:
    return min(names) + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _reason(error: Exception) -> str:
    """One line of an error's text; torch's list of weights that do not fit has its first one on the second."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    line = lines[1] if len(lines) > 1 and lines[0].startswith("Error(s) in loading") else lines[0]
    return line if len(line) <= 200 else line[:200] + " ..."
