"""What each model does as a whole, for the table: it points, asks, hears the answer and points again (the paper's IVG rows)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from clue_ros.data.scenes import SceneImages
from clue_ros.evaluation import suites
from clue_ros.evaluation.episodes import episodes
from clue_ros.evaluation.looks import Table
from clue_ros.evaluation.metrics import bootstrap
from clue_ros.evaluation.report import grid, plain, unplain
from clue_ros.files import replacing
from clue_ros.pipeline import Clue
from clue_ros.types import InputError

NOISE = 0.1  # share of the noisy oracle's answers that name another option
NOISY = f"success, {NOISE:.0%} of the answers wrong"


def measure(clue: Clue, folder: Path, seed: int, limit: int | None, file: Path) -> Table:
    """All that one model does on one tabletop folder, from the file if an earlier run left it. limit: at most so many clear
    instructions, and so many pairs."""
    return _kept(file, lambda: _measure(clue, folder, seed, limit))


def measure_on_photographs(clue: Clue, folder: Path, seed: int, limit: int | None, file: Path) -> Table:
    """Where it points in IT2P's photographs, on `limit` clear commands; from the file if an earlier run left it."""
    return _kept(file, lambda: suites.pointing(clue, folder, seed, limit))


def _measure(clue: Clue, folder: Path, seed: int, limit: int | None) -> Table:
    played = episodes(clue, folder, seed, limit)
    found = suites.look_at_pairs(clue, SceneImages(folder), seed, limit, questions=False).candidates_found
    return suites.grounding(clue, folder, seed, limit) | {
        "candidate recall": bootstrap(lambda share: float(share.mean()), found),
        "success": played["success"],
        NOISY: episodes(clue, folder, seed, limit, NOISE)["success"],
        "questions per ambiguous episode": played["questions per ambiguous episode"],
        "unneeded": played["unneeded: clear episodes with a question"],
        "missed": played["missed: ambiguous episodes without one"],
        "acts wrongly": played["acts wrongly: guesses, or points at another object"]}


def _kept(file: Path, measured: Callable[[], Table]) -> Table:
    """What was measured, from the file if an earlier run left it."""
    if file.is_file():
        try:
            return {name: unplain(score) for name, score in json.loads(file.read_text(encoding="utf-8")).items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{file} cannot be read: remove it, and it is measured again ({type(error).__name__})") from error
    table = measured()
    with replacing(file) as part:
        part.write_text(json.dumps({name: plain(score) for name, score in table.items()}, indent=1) + "\n",
                        encoding="utf-8")
    return table


def markdown(measured: dict[str, Table]) -> str:
    """A row a model."""
    columns = list(next(iter(measured.values())))
    return grid(["model", *columns], ([name, *(str(table[c]) for c in columns)] for name, table in measured.items()))
