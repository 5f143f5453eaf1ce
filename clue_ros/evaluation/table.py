"""One table of everything: `clue-evaluate table`. It resumes where it was stopped: what was computed lies in its folder.

    features/*.npz   what one look at every prompt gave, by model and data set
    table.json       every score with its interval
    table.md         the same to read
    *.png            risk against coverage, reliability, layers
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from clue_ros.evaluation import features, plots, variants
from clue_ros.evaluation.features import Features
from clue_ros.evaluation.metrics import Score, auroc, bootstrap, detection_scores
from clue_ros.model_folder import find, load, load_vlm
from clue_ros.pipeline import Clue
from clue_ros.provenance import hash_model
from clue_ros.types import InputError


@dataclass(frozen=True)
class Data:
    """Where prompts come from. Folders of `clue-tabletop write --pairs`, and IT2P; any of the last two may be missing.

    train: to fit the rows on. held_out: for their Platt scaling and threshold. test: dataset 1, the same world. unseen:
    dataset 2, written with --unseen. photographs: dataset 3. limit: at most so many pairs of `train`; photograph_limit: at
    most so many commands. seed draws the words.
    """

    train: Path
    held_out: Path
    test: Path
    unseen: Path | None
    photographs: Path | None
    limit: int | None
    photograph_limit: int | None
    seed: int

    def readers(self) -> dict[str, Callable]:
        """Name of each set to what gives its prompts."""
        sets = {"train": lambda: features.tabletop_prompts(self.train, self.seed + 1, self.limit),
                "held-out": lambda: features.tabletop_prompts(self.held_out, self.seed),
                "dataset 1": lambda: features.tabletop_prompts(self.test, self.seed)}
        if self.unseen:
            sets["dataset 2"] = lambda: features.tabletop_prompts(self.unseen, self.seed)
        if self.photographs:
            sets["dataset 3"] = lambda: features.photograph_prompts(self.photographs, self.seed, self.photograph_limit)
        return sets


def run(model: str, data: Data, out: Path, device: str = "auto", also: Sequence[Path] = (),
        rounds: int = 1000) -> str:
    """Make the table; its Markdown. also: folders of further models, whose first token (AR) is a row each. rounds: of the
    bootstrap."""
    names = ["adapted", "base", *(folder.name for folder in also)]
    if len(set(names)) < len(names):
        raise InputError(f"--also {' '.join(names[2:])}: a row is called as its folder is, so each needs a name of its own, "
                         "other than adapted and base")
    own = hash_model(find(model))
    _claim(out / "features", {"data": {k: str(v) for k, v in vars(data).items()}},
           {"adapted": own, "base": own, **{folder.name: hash_model(folder) for folder in also}})
    models = _models(model, also, device)
    seen = {kind: _features(kind, clue, data, out) for kind, clue in models.items()}
    tests = [name for name in data.readers() if name.startswith("dataset")]
    settings = models["adapted"].detector.settings
    layers = seen["adapted"]["train"].maps.shape[1]
    scores: dict[str, dict[str, dict[str, Score]]] = {}
    probabilities: dict[str, dict[str, np.ndarray]] = {}
    more = [variants.first_token_of(folder.name) for folder in also]
    for variant in tqdm([*variants.rows(settings.layers[-1], layers), *more], desc="rows"):
        sets = seen[variant.model]
        fitted = variants.fit(variant, sets["train"], sets["held-out"])
        usable = [t for t in tests if not (variant.labelled and (sets[t].instances < 0).any())]
        probabilities[variant.name] = {t: fitted.probability(sets[t]) for t in usable}
        scores[variant.name] = {
            t: detection_scores(sets[t].ambiguous, probabilities[variant.name][t], fitted.threshold, rounds,
                                sets[t].groups) for t in usable}
    _compare(scores, probabilities, seen["adapted"], rounds)
    out.mkdir(parents=True, exist_ok=True)
    _write(scores, {"model": str(model), **{k: str(v) for k, v in vars(data).items()}}, out / "table.json")
    plots.draw(out, seen["adapted"], probabilities, scores, layers)
    contrasts = _contrasts(variants.contrasts(settings.layers[-1]), probabilities, seen["adapted"], rounds)
    text = f"{markdown(scores, tests)}\n\n{contrasts}"
    (out / "table.md").write_text(text + "\n", encoding="utf-8")
    return text


def _claim(folder: Path, data: dict, models: dict) -> None:
    """InputError when the features there are of other data, or of a model that has changed since. Further models may come."""
    file, mine = folder / "settings.json", json.loads(json.dumps(data | models))  # as it reads back: tuples are lists
    there = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if any(there[key] != value for key, value in mine.items() if key in there):
        raise InputError(f"{folder} holds what another model, or the same with other data, gave: give another --out, or "
                         "remove it")
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(there | mine, indent=1), encoding="utf-8")


def _models(model: str, also: Sequence[Path], device: str) -> dict[str, Clue]:
    adapted = load(model, device)
    alone = {"adapted": adapted, "base": Clue(load_vlm(find(model), device, adapter=False), adapted.detector)}
    return alone | {folder.name: load(folder, device) for folder in also}


def _features(kind: str, clue: Clue, data: Data, out: Path) -> dict[str, Features]:
    return {name: features.read(clue, prompts(), out / "features" / f"{kind}-{name.replace(' ', '')}.npz", f"{kind}, {name}",
                                instances=kind == "base")
            for name, prompts in data.readers().items()}


def _compare(scores: dict, probabilities: dict, sets: dict[str, Features], rounds: int) -> None:
    """How much AUROC each row lacks to ours, from the same resampled prompts (a paired interval)."""
    ours = next(iter(probabilities.values()))
    for name, tests in probabilities.items():
        for test, theirs in tests.items():
            scores[name][test]["AUROC behind ours"] = _less(ours[test], theirs, sets[test], rounds)


def _less(one: np.ndarray, other: np.ndarray, seen: Features, rounds: int) -> Score:
    """AUROC of one row less that of another, from the same resampled prompts (a paired interval)."""
    return bootstrap(lambda t, a, b: auroc(t, a) - auroc(t, b), seen.ambiguous, one, other, rounds=rounds, groups=seen.groups)


def _contrasts(pairs: list[tuple[str, str]], probabilities: dict, sets: dict[str, Features], rounds: int) -> str:
    """What one row is ahead of another by, on each data set."""
    lines = ["| one row | less another | " + " | ".join(f"{test}: AUROC" for test in next(iter(probabilities.values()))) + " |"]
    lines.append("|---" * (lines[0].count("|") - 1) + "|")
    for one, other in pairs:
        less = [_less(mine, probabilities[other][test], sets[test], rounds) for test, mine in probabilities[one].items()]
        lines.append(f"| {one} | {other} | " + " | ".join(map(_signed, less)) + " |")
    return "\n".join(lines)


def _signed(score: Score) -> str:
    return f"{score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}]"


def _write(scores: dict, settings: dict, file: Path) -> None:
    record = {row: {test: {k: dataclasses.asdict(v) for k, v in found.items()} for test, found in tests.items()}
              for row, tests in scores.items()}
    file.write_text(json.dumps({"settings": settings, "rows": record}, indent=1) + "\n", encoding="utf-8")


def markdown(scores: dict[str, dict[str, dict[str, Score]]], tests: list[str]) -> str:
    """Rows by F1, AUROC (behind ours) and ECE on each data set."""
    head = [f"{test}: {column}" for test in tests for column in ("F1", "AUROC", "behind ours", "ECE")]
    lines = ["| row | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for row, found in scores.items():
        cells = []
        for test in tests:
            if test not in found:
                cells += ["–"] * 4
                continue
            s = found[test]
            behind = s["AUROC behind ours"]
            cells += [f"{s['F1']}", f"{s['AUROC'].value:.3f}", _signed(behind),
                      f"{s['ECE'].value:.3f}"]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    counts = ", ".join(f"{t}: n {next(iter(scores.values()))[t]['F1'].count}" for t in tests)
    return "\n".join([*lines, "", f"{counts}. F1 with its 95 % bootstrap interval, at the threshold that is best on "
                      "held-out data; behind ours: the AUROC that the row lacks to the first one, on the same prompts."])
