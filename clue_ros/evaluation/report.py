"""Tables for people and for programs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from clue_ros.evaluation.metrics import Score


def markdown(table: dict[str, Score]) -> str:
    """A Markdown table: metric, value, 95 % interval, count."""
    return grid(["metric", "value", "95 % interval", "n"],
                ([name, f"{s.value:.3f}", f"{s.low:.3f} – {s.high:.3f}", str(s.count)] for name, s in table.items()))


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of these cells."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def write(table: dict[str, Score], settings: dict, file: Path) -> None:
    """JSON with the settings that made the table (data, seed, model) and every score; null for what is no number."""
    file.parent.mkdir(parents=True, exist_ok=True)
    record = {"settings": settings, "scores": {k: plain(v) for k, v in table.items()}}
    file.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def plain(score: Score) -> dict[str, float | None]:
    """Of a score, as JSON has it."""
    return {name: None if math.isnan(value) else value for name, value in dataclasses.asdict(score).items()}


def unplain(kept: dict[str, float | None]) -> Score:
    """Inverse of `plain`."""
    return Score(**{name: math.nan if value is None else value for name, value in kept.items()})
