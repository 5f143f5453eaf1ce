"""IT2P (Ahn et al. 2018, arXiv 1805.10799): photographs of coloured blocks, clear and ambiguous commands. Evaluation only.

Layout: images/NNNN.jpg, commands/NNNN.txt with `x y command` lines (target centre in pixels), ambiguous/NNNN.txt with one
command a line. A command that stands in both files of an image is left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clue_ros.data.fields import read_bytes
from clue_ros.data.records import Picture, Reading, Record
from clue_ros.types import InputError, Prompt
from clue_ros.vlm.tokens import clean_text


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


def read_it2p(folder: str | Path) -> Reading:
    """Every command as a record: the target is a point when it is clear, not known when it is ambiguous.

    Left out and counted: commands that stand as clear and as ambiguous. FileNotFoundError when the folder is no IT2P data
    set, InputError for a line that is no command.
    """
    return Reading(f"IT2P {folder}", partial(_records, Path(folder)))


def _records(folder: Path, skipped: Counter[str]) -> Iterator[Record]:
    for number, c in enumerate(_commands(folder, skipped)):
        yield Record(photo(folder, c.image), Prompt(c.text), f"{c.image}/{number}", "IT2P", c.ambiguous, target=c.target)


def read_commands(folder: str | Path) -> list[Command]:
    """Every command, by image; errors as `read_it2p`."""
    return list(_commands(Path(folder), Counter()))


def _commands(folder: Path, skipped: Counter[str]) -> Iterator[Command]:
    if not all((folder / name).is_dir() for name in ("images", "commands", "ambiguous")):
        raise FileNotFoundError(f"{folder} is no IT2P data set: it needs images/, commands/ and ambiguous/; docs/data-sets.md "
                                "has the line that makes them of the published ones")
    for file in sorted((folder / "commands").glob("*.txt")):
        clear = [_clear(line, file, number) for number, line in _lines(file)]
        doubtful_file = folder / "ambiguous" / file.name
        doubtful = {text for _, text in _lines(doubtful_file)} if doubtful_file.is_file() else set()
        spoken = {c.text for c in clear}
        skipped["line of a command that is both clear and ambiguous"] += (
            sum(c.text in doubtful for c in clear) + len(doubtful & spoken))
        yield from (c for c in clear if c.text not in doubtful)
        yield from (Command(file.stem, text, None) for text in sorted(doubtful - spoken))


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not blank, as a prompt takes it. InputError for one that is far too long."""
    for number, line in enumerate(read_bytes(file).decode(errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield number, clean_text(line)
        except InputError as error:
            raise InputError(f"{file}, line {number}: {error}") from error


def _clear(line: str, file: Path, number: int) -> Command:
    try:
        x, y, text = line.split(maxsplit=2)
        target = float(x), float(y)
    except ValueError as error:
        raise InputError(f'{file}, line {number} must be "x y command", is "{line[:60]}"') from error
    if not all(map(math.isfinite, target)):
        raise InputError(f"{file}, line {number}: the target {x} {y} is no point of the image")
    return Command(file.stem, text, target)


def photo(folder: str | Path, image: str) -> Picture:
    """The photograph of a command, by its name."""
    return Picture.of_file(Path(folder) / "images" / f"{image}.jpg")


def language_controlled(commands: list[Command]) -> list[Command]:
    """Commands whose very words occur both as clear and as ambiguous: the words alone
    never decide, though they may tell what is likelier."""
    clear = {c.text for c in commands if not c.ambiguous}
    doubtful = {c.text for c in commands if c.ambiguous}
    return [c for c in commands if c.text in clear & doubtful]


def words_alone(commands: list[Command]) -> dict[str, float]:
    """The share of ambiguous uses of each phrase: the most that words alone can tell, for it is scored on itself."""
    uses: dict[str, list[bool]] = {}
    for c in commands:
        uses.setdefault(c.text, []).append(c.ambiguous)
    return {text: sum(found) / len(found) for text, found in uses.items()}
