"""One table of everything: `clue-evaluate table`. It resumes where it was stopped: what was computed lies in its folder.

    settings.json    what all of it was made from: model, data, code and libraries
    features/*.npz   what one look at every prompt gave, by model and data set
    table.json       every score with its interval
    table.md         the same to read
    systems/*.json   what each model does as a whole
    *.png            risk against coverage, reliability, layers
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from tqdm import tqdm

from clue_ros.detector.calibration import Calibration, conformal, fit_platt
from clue_ros.detector.weighing import Weighing
from clue_ros.devices import pick_device, pick_dtype
from clue_ros.evaluation import features, plots, systems, variants
from clue_ros.evaluation.features import Features, Views
from clue_ros.evaluation.looks import Table
from clue_ros.evaluation.metrics import (ACTS_WRONGLY, ASKS, AURC, Score, area_under_risk_coverage, auroc, bootstrap,
                                         detection_scores, risk_scores)
from clue_ros.evaluation.report import grid, plain
from clue_ros.evaluation.variants import Variant
from clue_ros.files import as_it_reads_back, keep_settings, kept_settings
from clue_ros.model_folder import find, load, load_vlm
from clue_ros.pipeline import Clue
from clue_ros.provenance import code_hash, commit, digest, hash_files, hash_model, shared_pictures, versions
from clue_ros.types import InputError

BEHIND = "AUROC behind ours"
RISKS = (0.01, 0.02, 0.05, 0.1, 0.2)
ROWS = {"adapted": "LoRA on the detection-mixture base: ours", "base": "no LoRA"}


@dataclass(frozen=True)
class Data:
    """Where prompts come from. Folders of `clue-tabletop write --pairs`, and IT2P; any of the last two may be missing.

    train: to fit the rows on. held_out: for their Platt scaling and threshold. test: dataset 1, the same world. unseen:
    dataset 2, written with --unseen. photographs: dataset 3. limit: at most so many pairs of `train`; photograph_limit: at
    most so many commands. episodes: at most so many pairs, and clear instructions, for whole systems. seed draws the words.
    """

    train: Path
    held_out: Path
    test: Path
    unseen: Path | None
    photographs: Path | None
    limit: int | None
    photograph_limit: int | None
    episodes: int | None
    seed: int

    def digests(self) -> dict[str, str]:
        """A hash of what each folder holds now. InputError where two of them hold a picture in common: rows would be scored on what
        they were fitted to."""
        found = {name: hash_files(folder, "") for name, folder in vars(self).items() if isinstance(folder, Path)}
        for one, other in combinations(found, 2):
            if count := shared_pictures(found[one], found[other]):
                raise InputError(f"{one} {getattr(self, one)} and {other} {getattr(self, other)} hold {count} pictures in common, as data "
                                 "of one seed do: write each with a seed of its own")
        return {name: digest(lines) for name, lines in found.items()}

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
    """Make the table; its Markdown. also: folders of further models: their first token (AR) is a row each, and so is their CNN
    where it is another one than the model's. rounds: of the bootstrap."""
    names = ["adapted", "base", *(folder.name for folder in also)]
    if len(set(names)) < len(names):
        raise InputError(f"--also {' '.join(names[2:])}: a row is called as its folder is, so each needs a name of its own, "
                         "other than adapted and base")
    own = hash_model(find(model))
    others = {folder.name: hash_model(folder) for folder in also}
    where = pick_device(device)
    made_by = {"code": code_hash(), "versions": versions(), "device": str(where), "dtype": str(pick_dtype("auto", where))}
    _claim(out, {"data": {k: str(v) for k, v in vars(data).items()}, "files": data.digests(), **made_by},
           {"adapted": own, "base": own, **others})
    detecting = [name for name, files in others.items() if _weights(files) != _weights(own)]
    models = _models(model, also, str(where))
    seen = {kind: _features(kind, clue, data, out) for kind, clue in models.items()}
    whole_pictures = {name: views[0] for name, views in seen["adapted"].items()}
    tests = [name for name in data.readers() if name.startswith("dataset")]
    ours = models["adapted"].detector
    layers = whole_pictures["train"].maps.shape[1]
    rows = [*variants.rows(ours.settings.layers[0], layers), *map(variants.first_token_of, others),
            *map(variants.own_cnn_of, detecting)]
    scores, probabilities = _judge(rows, seen, tests, rounds)
    _compare(scores, probabilities, whole_pictures, rounds)
    contrasts = {f"{one}, less {other}": {test: _less(mine, probabilities[other][test], whole_pictures[test], rounds)
                                          for test, mine in probabilities[one].items()}
                 for one, other in variants.contrasts(ours.settings.layers[0], detecting)}
    whole = _whole_systems({kind: _recalibrated(clue, seen[kind]["held-out"]) for kind, clue in models.items()}, data, out)
    risks = {test: _risks(models["adapted"].calibration, whole_pictures[test],
                          ours.weighing.probability(*_own_scores(seen["adapted"][test]))) for test in tests}
    plots.draw(out, whole_pictures, probabilities, {row.name: {test: seen[row.model][test][0] for test in tests} for row in rows},
               scores, layers)
    (out / "table.json").write_text(json.dumps({
        "settings": {"model": str(model), **{k: str(v) for k, v in vars(data).items()}, "commit": commit(), **made_by},
        "models": {"adapted": own} | others,
        **{name: _plain(part) for name, part in (("rows", scores), ("contrasts", contrasts), ("systems", whole),
                                                    ("risks", risks))}},
        indent=1) + "\n", encoding="utf-8")
    views = f"every score is the mean of two views, the second {ours.weighing.zoom:g} times as large" if ours.weighing.zoom > 1 else "one view each"
    head = (f"Model {digest(tuple(line for part in own.values() for line in part))[:12]}; words drawn with seed {data.seed}; rows fitted "
            f"on {len(whole_pictures['train']) // 2} pairs, their P on {len(whole_pictures['held-out']) // 2}; {views}.")
    text = "\n\n".join([head, *(markdown(scores, test) for test in tests), _markdown_contrasts(contrasts, tests), _markdown_risks(risks),
                        *(f"Whole systems, {test}:\n\n{systems.markdown(measured)}" for test, measured in whole.items())])
    (out / "table.md").write_text(text + "\n", encoding="utf-8")
    return text


def _whole_systems(judged: dict[str, Clue], data: Data, out: Path) -> dict[str, dict[str, Table]]:
    """What each model does as a whole on each test set, by the set and the model's row. judged: models whose P is of the same pairs."""
    def kept(kind: str, test: str) -> Path:
        return out / "systems" / f"{kind}-{test.replace(' ', '')}.json"
    whole = {test: {ROWS.get(kind, kind): systems.measure(clue, folder, data.seed, data.episodes, kept(kind, test))
                    for kind, clue in judged.items()}
             for test, folder in (("dataset 1", data.test), ("dataset 2", data.unseen)) if folder}
    if data.photographs:
        whole["dataset 3"] = {ROWS.get(kind, kind): systems.measure_on_photographs(
            clue, data.photographs, data.seed, data.photograph_limit, kept(kind, "dataset 3")) for kind, clue in judged.items()}
    return whole


def _judge(rows: list[Variant], seen: dict[str, dict[str, Views]], tests: list[str], rounds: int,
           ) -> tuple[dict[str, dict[str, Table]], dict[str, dict[str, np.ndarray]]]:
    """Fit every row, and score it on each data set that has what it needs: its scores, and its probabilities."""
    scores: dict[str, dict[str, Table]] = {}
    probabilities: dict[str, dict[str, np.ndarray]] = {}
    for variant in tqdm(rows, desc="rows"):
        sets = seen[variant.model]
        fitted = variants.fit(variant, sets.get("train", sets["held-out"]), sets["held-out"])  # further models' rows learn nothing
        truth = {t: sets[t][0] for t in tests}
        usable = [t for t in tests if not (variant.labelled and (truth[t].instances < 0).any())]
        mine = probabilities[variant.name] = {t: fitted.probability(sets[t]) for t in usable}
        scores[variant.name] = {
            t: detection_scores(truth[t].ambiguous, mine[t], fitted.threshold, rounds, truth[t].groups)
            | {AURC: bootstrap(area_under_risk_coverage, truth[t].wrong, mine[t], rounds=rounds,
                               groups=truth[t].groups)}
            for t in usable}
    return scores, probabilities


def _claim(folder: Path, data: dict, models: dict) -> None:
    """InputError when what lies there is of other data, or of a model, code or library that has changed since. Further models may come."""
    file, mine = folder / "settings.json", as_it_reads_back(data | {"models": models})
    there = kept_settings(file) or mine
    known = there["models"]
    if there | {"models": {}} != mine | {"models": {}} or any(known.get(name, files) != files for name, files in mine["models"].items()):
        raise InputError(f"{folder} holds what another model, other data or another version of this package gave: give another "
                         "--out, or remove it")
    keep_settings(file, mine | {"models": known | mine["models"]})


def _models(model: str, also: Sequence[Path], device: str) -> dict[str, Clue]:
    adapted = load(model, device)
    base = Clue(load_vlm(find(model), device, adapter=False), copy.deepcopy(adapted.detector))
    others = {folder.name: load(folder, device) for folder in also}
    for clue in others.values():  # all take the views that the model does
        clue.detector.weighing = dataclasses.replace(clue.detector.weighing, zoom=adapted.detector.weighing.zoom)
    return {"adapted": adapted, "base": base} | others


def _recalibrated(clue: Clue, held_out: Views) -> Clue:
    """The model with P and the threshold of the usual risk from these pairs, as `clue-train calibrate` makes them; where its CNN
    tells nothing, as that of other attention may, from its first token alone."""
    truth, detector = held_out[0], copy.deepcopy(clue.detector)
    known = (*_own_scores(held_out), truth.ambiguous, truth.wrong, truth.groups)
    try:
        detector.weighing, calibration = conformal(detector.weighing, *known)
    except InputError:
        detector.weighing, calibration = conformal(detector.weighing, *known, fit=_first_token_alone)
    return Clue(clue.vlm, detector, calibration)


def _first_token_alone(weighing: Weighing, _: np.ndarray, asks: np.ndarray, truth: np.ndarray) -> Weighing:
    """As `calibrated`, without the CNN."""
    (weight,), shift = fit_platt(asks[:, None], truth)
    return dataclasses.replace(weighing, scale=0.0, first_token=weight, shift=shift)


def _own_scores(views: Views) -> np.ndarray:
    """The model's own CNN's logit, and the log odds that its decoder would ask, of all its views: float64[2, n]."""
    return variants.Fitted(variants.own_verdict(views[0]), None).scores(views).T


def _features(kind: str, clue: Clue, data: Data, out: Path) -> dict[str, Views]:
    return {name: features.read(clue, prompts(), out / "features" / f"{kind}-{name.replace(' ', '')}.npz", f"{kind}, {name}",
                                instances=kind == "base")
            for name, prompts in data.readers().items() if name != "train" or kind in ROWS}


def _compare(scores: dict, probabilities: dict, sets: dict[str, Features], rounds: int) -> None:
    """How much AUROC each row lacks to ours, from the same resampled prompts (a paired interval)."""
    ours = next(iter(probabilities.values()))
    for name, tests in probabilities.items():
        for test, theirs in tests.items():
            scores[name][test][BEHIND] = _less(ours[test], theirs, sets[test], rounds)


def _less(one: np.ndarray, other: np.ndarray, seen: Features, rounds: int) -> Score:
    """AUROC of one row less that of another, from the same resampled prompts (a paired interval)."""
    return bootstrap(lambda t, a, b: auroc(t, a) - auroc(t, b), seen.ambiguous, one, other, rounds=rounds, groups=seen.groups)


def _risks(calibration: Calibration | None, seen: Features, probability: np.ndarray) -> dict[str, Table]:
    """What the user's risk comes to: how often the model acts wrongly, and how often it asks, by the risk that was set."""
    if calibration is None:
        return {}
    return {f"{risk:g}": risk_scores(seen.wrong, probability, calibration.threshold(risk), seen.groups) for risk in RISKS}


def _markdown_risks(risks: dict[str, dict[str, Table]]) -> str:
    """A row a risk: reached, and how often it asks for it, on each data set."""
    tests = [test for test, table in risks.items() if table]
    if not tests:
        return "The model was never calibrated: it has no risk to set."
    return grid(["risk that is set", *(f"{what}, {test}" for test in tests for what in ("acts wrongly", "asks"))],
                ([risk, *(str(risks[test][risk][what]) for test in tests for what in (ACTS_WRONGLY, ASKS))]
                 for risk in risks[tests[0]]))


def _weights(files: dict[str, tuple[str, ...]]) -> list[str]:
    """Of the detector, among the hashes of a model's files."""
    return [line for line in files["detector"] if line.endswith(".safetensors")]


def _signed(score: Score) -> str:
    return f"{score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}]"


def _plain(tree: object) -> object:
    """Scores, however deep, as JSON has them."""
    return plain(tree) if isinstance(tree, Score) else {key: _plain(value) for key, value in tree.items()}


def markdown(scores: dict[str, dict[str, Table]], test: str) -> str:
    """A row's scores on one data set."""
    def cells(row: str, s: Table) -> list[str]:
        plain = {name: f"{s[name].value:.3f}" for name in ("precision", "recall", "AUPRC", "ECE", AURC)}
        return [row, str(s["F1"]), plain["precision"], plain["recall"], str(s["AUROC"]), _signed(s[BEHIND]), plain["AUPRC"],
                plain["ECE"], plain[AURC]]
    found = {row: tests[test] for row, tests in scores.items() if test in tests}
    count = next(iter(found.values()))["F1"].count
    return f"{test}, n {count}:\n\n" + grid(["row", "F1", "precision", "recall", "AUROC", BEHIND, "AUPRC", "ECE", "AURC"],
                                            (cells(row, s) for row, s in found.items()))


def _markdown_contrasts(contrasts: dict[str, dict[str, Score]], tests: list[str]) -> str:
    """What one row is ahead of another by, on each data set."""
    return grid(["AUROC of one row, less that of another", *tests],
                ([name, *(_signed(less[test]) for test in tests)] for name, less in contrasts.items()))
