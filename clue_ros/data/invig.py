"""InViG (Zhang et al. 2023, `jxu124/invig` on the Hugging Face hub): photographs, and dialogs that find one object in each.

A row is one image: `ref_list[{bbox, category, dialog, dialog_cn, id}]`, `image_info{file_name, height, id, width}`,
`image{bytes, path}`. bbox: x1 y1 x2 y2, in pixels or as fractions of the image. dialog: pairs; pair 0 is ["", request], later
ones [question, answer].
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from clue_ros.data.fields import clip, expect, field, image_size, numbers, parse_json, read_bytes, read_json_lines, words
from clue_ros.data.records import Picture, Reading, Record, in_pixels
from clue_ros.types import Box, InputError, Prompt, Turn

FORMATS = (".parquet", ".jsonl", ".json")
SPLITS = ("train", "validation", "test")
CLOSING = "closing remark, no question"


def read_invig(path: str | Path, split: str | None = None, *, images: str | Path | None = None, dialog: str = "dialog",
               allow_download: bool = False) -> Reading:
    """Every dialog, turn by turn: a record before each question, and one with the whole dialog and the box.

    path: a Parquet, JSON (list of rows) or JSON Lines file, a folder of them (files of the kind that comes first in that
    order), or a hub id, which needs the `datasets` library and `allow_download`. split: train, validation or test: of a folder,
    the files whose names, or whose folders' names below it, begin so; it must be given where those of several lie, and cannot
    be of a file. images: folder of the pictures where the rows do not hold their bytes (in JSON: as base64), by default that of
    the file. dialog: the field to read; `dialog_cn` is the Chinese one.

    While the robot still asks, the prompt counts as ambiguous; which other objects it may mean is not annotated. Left out
    and counted: dialogs whose box lies outside the image or of which a text is empty or too long; as questions, closing
    remarks ("ok, I see"), which stay a turn of the dialog when they got a reply. InputError names a row it cannot read.
    """
    return Reading(f"InViG {path}", partial(_records, path, split, images, dialog, allow_download))


def _records(path: str | Path, split: str | None, images: str | Path | None, dialog: str, allow_download: bool,
             skipped: Counter[str]) -> Iterator[Record]:
    rows = _local_rows(Path(path), split) if Path(path).exists() else _hub_rows(str(path), split, allow_download)
    for where, row, home in rows:
        info = field(row, "image_info", dict, where)
        picture = _picture(row, info, Path(images or home), where)
        for k, ref in enumerate(field(row, "ref_list", list, where)):
            at = f"{where}, ref_list[{k}]"
            x1, y1, x2, y2 = numbers(field(expect(ref, dict, at), "bbox", list, at), f'{at}: field "bbox"')
            name = f"{field(info, 'id', str, where)}/{field(ref, 'id', str, at)}"
            scale = picture.size if max(x2, y2) <= 1 else (1, 1)  # some write fractions; no object is a pixel small
            box = clip(in_pixels(Box(x1, y1, x2, y2), scale), picture.size)
            if box is None:
                skipped["dialog whose box has no area inside the image"] += 1
            elif said := _dialog(ref, dialog, at, skipped):
                label = words(field(ref, "category", str, at).lower()) or ""
                yield from _turns(picture, box, *said, name, label, skipped)


def _turns(picture: Picture, box: Box, request: str, turns: tuple[Turn, ...], name: str, label: str,
           skipped: Counter[str]) -> Iterator[Record]:
    """The record before every question, then the one that is clear."""
    for k, turn in enumerate(turns):
        if k == len(turns) - 1 and not _asks(turn.question):
            skipped[CLOSING] += 1
        else:
            yield Record(picture, Prompt(request, turns[:k]), f"{name}/{k}", "InViG", True, (), box, turn.question, label)
    yield Record(picture, Prompt(request, turns), f"{name}/{len(turns)}", "InViG", False, (box,), box, label=label)


def _asks(text: str) -> bool:
    return "?" in text or "？" in text


def _dialog(ref: dict, name: str, at: str, skipped: Counter[str]) -> tuple[str, tuple[Turn, ...]] | None:
    """The request and the turns; None when a text cannot be used."""
    pairs = []
    for k, pair in enumerate(field(ref, name, list, at)):
        where = f'{at}: field "{name}"[{k}]'
        if len(expect(pair, list, where)) != 2:
            raise InputError(f"{where} must be a pair, is {str(pair)[:60]}")
        pairs.append(tuple(expect(text, str, where) for text in pair))
    if not pairs or pairs[0][0].strip():
        raise InputError(f'{at}: field "{name}"[0] must be ["", request]')
    if len(pairs) > 1 and not _asks(pairs[-1][0]) and not pairs[-1][1].strip():
        skipped[CLOSING] += 1
        pairs.pop()
    texts = [(words(question), words(answer)) for question, answer in pairs]
    if texts[0][1] is None or any(None in turn for turn in texts[1:]):
        skipped["dialog with a text that is empty or too long"] += 1
        return None
    return texts[0][1], tuple(Turn(question, answer) for question, answer in texts[1:])


def _picture(row: dict, info: dict, folder: Path, where: str) -> Picture:
    """The row's image: its bytes, else its path, else `image_info.file_name`, below the folder or its images/."""
    size, image = image_size(info, f"{where}, image_info"), row.get("image") or {}
    data = expect(image, dict, f'{where}: field "image"').get("bytes")
    if data and not isinstance(data, bytes):
        text = field(image, "bytes", str, f"{where}, image")
        try:
            data = base64.b64decode(text, validate=True)
        except ValueError as error:
            raise InputError(f'{where}, image: field "bytes" is no base64: {error}') from error
    if data:
        return Picture.of_bytes(where, data, size)
    held, key = (image, "path") if image.get("path") else (info, "file_name")
    name = field(held, key, str, f"{where}, {'image' if held is image else 'image_info'}")
    places = [folder / n for n in (name, Path("images") / name, Path(name).name, Path("images") / Path(name).name)]
    return Picture.of_file(next((p for p in places if p.is_file()), places[0]), size)


def _local_rows(path: Path, split: str | None) -> Iterator[tuple[str, dict, Path]]:
    """(where, row, folder of the file) of a file or of a folder's files."""
    read = {".parquet": _parquet, ".jsonl": read_json_lines, ".json": _json}
    for file in _files(path, split):
        for where, row in read[file.suffix](file):
            yield where, row, file.parent


def _files(path: Path, split: str | None) -> list[Path]:
    """That file, or the folder's files of that split which are of the first kind of FORMATS."""
    if split and not path.is_dir():
        raise InputError(f"{path} is a file, which is read whole: leave the split {split} out, or give its folder")
    known = [f for f in (sorted(path.rglob("*")) if path.is_dir() else [path]) if f.suffix in FORMATS]
    def is_of(file: Path, name: str) -> bool:  # train-0.parquet, train/0.parquet, default/train/0000.parquet
        return any(part.startswith(name) for part in file.relative_to(path).parts)
    wanted = [f for f in known if split is None or is_of(f, split)]
    if not wanted:
        raise InputError(f"{path} holds no {' or '.join(FORMATS)} file{f' of the split {split}' if split else ''}")
    mixed = [name for name in SPLITS if any(is_of(f, name) for f in wanted)] if path.is_dir() else []
    if len(mixed) > 1:
        raise InputError(f"{path} holds files of {' and '.join(mixed)}: say which split is meant, such as --split {mixed[-1]}")
    kind = min((f.suffix for f in wanted), key=FORMATS.index)
    return [f for f in wanted if f.suffix == kind]


def _json(file: Path) -> Iterator[tuple[str, dict]]:
    for k, row in enumerate(expect(parse_json(read_bytes(file), str(file)), list, str(file))):
        yield f"{file}[{k}]", expect(row, dict, f"{file}[{k}]")


def _parquet(file: Path) -> Iterator[tuple[str, dict]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(f"reading {file} needs pyarrow: pip install pyarrow") from error
    number = 0
    try:
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=16):  # few rows: each holds a photograph
            for row in batch.to_pylist():
                yield f"{file}, row {number}", row
                number += 1
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file} is no readable Parquet file: {error}") from error


def _hub_rows(name: str, split: str | None, allow_download: bool) -> Iterator[tuple[str, dict, Path]]:
    """Rows of a data set on the Hugging Face hub, one at a time, their images still encoded."""
    if not allow_download:
        raise InputError(f"{name} is no file or folder here, and downloads are not allowed: give the folder of its files, "
                         "or allow the download from the Hugging Face hub (--allow-download)")
    if split is None:
        raise InputError(f"say which split of {name} to read: train, validation or test")
    try:
        import datasets
    except ImportError as error:
        raise InputError(f"reading {name} from the Hugging Face hub needs: pip install datasets") from error
    try:
        rows = datasets.load_dataset(name, split=split, streaming=True).cast_column("image", datasets.Image(decode=False))
        for number, row in enumerate(rows):
            yield f"{name}, {split} row {number}", row, Path()
    except (OSError, ValueError) as error:
        raise InputError(f"{name} cannot be read from the Hugging Face hub: {error}") from error
