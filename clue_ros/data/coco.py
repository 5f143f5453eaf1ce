"""COCO-style detection files: instances per class become instructions, clear with one instance, ambiguous with several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import combinations
from pathlib import Path

from clue_ros.data.fields import clip, expect, field, image_size, numbers, parse_json, read_bytes, words
from clue_ros.data.records import Picture, Reading, Record
from clue_ros.types import Box, InputError, Prompt

MIN_SHARE = 0.0025  # of the image's area: 32 x 32 pixels of a VGA image
CROWD, EMPTY, TINY = "crowd region", "box without area inside the image", "tiny instance"
TWICE = "second box of one instance"
SAME = 0.85  # IoU of two boxes of one instance: exports that were merged have many in two copies


def read_coco(file: str | Path, images: str | Path | None = None, *, min_share: float = MIN_SHARE,
              instruction: str = "pick up the {}") -> Reading:
    """One record for every class in every image of an instances file: {images, annotations, categories}.

    file: boxes are COCO's x, y, width, height in pixels, clipped to the image. images: folder that `file_name` is
    relative to, by default the file's own. instruction: {} stands for the class's name.

    A class is left out of an image, and counted, when one of its instances there is a crowd region, has no area inside the
    image, covers less than `min_share` of it, or has a box like that of another one (IoU above 0.85): people would not agree on
    how many there are. InputError names the entry that cannot be read.
    """
    file = Path(file)
    if "{}" not in instruction:
        raise InputError(f'the instruction "{instruction}" needs {{}} where the name of the class goes')
    return Reading(f"COCO {file}", partial(_records, file, Path(images or file.parent), min_share, instruction))


def _records(file: Path, folder: Path, min_share: float, instruction: str, skipped: Counter[str]) -> Iterator[Record]:
    data = expect(parse_json(read_bytes(file), str(file)), dict, str(file))
    images, names = _by_id(data, "images", file), _names(data, file)
    present = _instances(data, file, images, names)
    for number, (where, entry) in images.items():
        size = image_size(entry, where)
        picture = Picture.of_file(folder / field(entry, "file_name", str, where), size)
        if number not in present:
            skipped["image without an annotated object"] += 1
        for name, found in present.get(number, {}).items():
            reason = _doubt(found, size, min_share)
            if reason:
                skipped[f"class with a {reason}"] += 1
                continue
            boxes = tuple(clip(box, size) for box, _ in found)
            several = len(boxes) > 1
            yield Record(picture, Prompt(instruction.replace("{}", name)), f"{number}/{name}", "COCO", several, boxes,
                         None if several else boxes[0], label=name)


def _by_id(data: dict, part: str, file: Path) -> dict[int, tuple[str, dict]]:
    """(where, entry) of a part by its id."""
    found: dict[int, tuple[str, dict]] = {}
    for k, entry in enumerate(field(data, part, list, str(file))):
        where = f"{file}, {part}[{k}]"
        number = field(expect(entry, dict, where), "id", int, where)
        if number in found:
            raise InputError(f"{where}: id {number} is already that of {found[number][0]}")
        found[number] = where, entry
    return found


def _names(data: dict, file: Path) -> dict[int, str]:
    """How people call each category: its name, with blanks for underscores."""
    names = {}
    for number, (where, entry) in _by_id(data, "categories", file).items():
        name = words(field(entry, "name", str, where).replace("_", " "))
        if name is None:
            raise InputError(f'{where}: field "name" is empty or too long')
        names[number] = name
    return names


def _instances(data: dict, file: Path, images: dict, names: dict[int, str]) -> dict[int, dict[str, list[tuple[Box, bool]]]]:
    """(box, whether it is a crowd region) of every instance, by image and by name."""
    present: dict[int, dict[str, list[tuple[Box, bool]]]] = {}
    for k, entry in enumerate(field(data, "annotations", list, str(file))):
        where = f"{file}, annotations[{k}]"
        image, category = (field(expect(entry, dict, where), f"{part}_id", int, where) for part in ("image", "category"))
        if image not in images or category not in names:
            raise InputError(f"{where}: there is no {'category' if image in images else 'image'} with the id "
                             f"{category if image in images else image}")
        x, y, width, height = numbers(field(entry, "bbox", list, where), f'{where}: field "bbox"')
        crowd = entry.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise InputError(f'{where}: field "iscrowd" must be 0 or 1, is {crowd!r}')
        present.setdefault(image, {}).setdefault(names[category], []).append((Box(x, y, x + width, y + height), bool(crowd)))
    return present


def _doubt(found: list[tuple[Box, bool]], size: tuple[int, int], min_share: float) -> str | None:
    """Why the number of instances is open to argument; None when it is not."""
    boxes = [clip(box, size) for box, _ in found]
    if any(crowd for _, crowd in found):
        return CROWD
    if None in boxes:
        return EMPTY
    if any(one.iou(other) > SAME for one, other in combinations(boxes, 2)):
        return TWICE
    return TINY if min(box.area for box in boxes) < min_share * size[0] * size[1] else None
