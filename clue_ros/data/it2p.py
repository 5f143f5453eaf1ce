"""IT2P (Ahn et al. 2018, arXiv 1805.10799): photographs of coloured blocks, clear and ambiguous commands. Evaluation only.

Layout: images/NNNN.jpg, commands/NNNN.txt with `x y command` lines (target centre in pixels), ambiguous/NNNN.txt with one
command a line. A command that stands in both files of an image is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2

from clue_ros.types import Frame, InputError


@dataclass(frozen=True)
class Command:
    """One command about one photograph. target: (x, y) pixels of the object meant, None when it is ambiguous."""

    image: str
    text: str
    target: tuple[float, float] | None

    @property
    def ambiguous(self) -> bool:
        """The photographers' own label."""
        return self.target is None


def read_commands(folder: str | Path) -> list[Command]:
    """Every command, by image. FileNotFoundError when the folder is no IT2P data set."""
    folder = Path(folder)
    if not (folder / "commands").is_dir() or not (folder / "images").is_dir():
        raise FileNotFoundError(f"{folder} is no IT2P data set: it needs images/, commands/ and ambiguous/")
    commands: list[Command] = []
    for file in sorted((folder / "commands").glob("*.txt")):
        clear = [line.split(maxsplit=2) for line in file.read_text().splitlines() if len(line.split(maxsplit=2)) == 3]
        doubtful_file = folder / "ambiguous" / file.name
        doubtful = {t.strip() for t in doubtful_file.read_text().splitlines() if t.strip()} if doubtful_file.is_file() else set()
        spoken = {text for _, _, text in clear}
        commands += [Command(file.stem, text, (float(x), float(y))) for x, y, text in clear if text not in doubtful]
        commands += [Command(file.stem, text, None) for text in sorted(doubtful - spoken)]
    return commands


def read_photo(folder: str | Path, image: str) -> Frame:
    """The photograph of a command, keyed by its name."""
    path = Path(folder) / "images" / f"{image}.jpg"
    bgr = cv2.imread(str(path))
    if bgr is None:
        raise InputError(f"{path} is no readable image")
    return Frame(bgr[..., ::-1].copy(), key=str(path))


def language_controlled(commands: list[Command]) -> list[Command]:
    """Commands whose very words occur both as clear and as ambiguous: the words alone decide nothing."""
    clear = {c.text for c in commands if not c.ambiguous}
    doubtful = {c.text for c in commands if c.ambiguous}
    return [c for c in commands if c.text in clear & doubtful]


def words_alone(commands: list[Command]) -> list[float]:
    """The share of ambiguous uses of each command's phrase: the best that words alone can do, scored on itself."""
    uses: dict[str, list[bool]] = {}
    for c in commands:
        uses.setdefault(c.text, []).append(c.ambiguous)
    return [sum(uses[c.text]) / len(uses[c.text]) for c in commands]
