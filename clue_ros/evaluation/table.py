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
from pathlib import Path

import numpy as np
from tqdm import tqdm

from clue_ros.detector.calibration import Calibration, conformal, fit_platt
from clue_ros.detector.weighing import Weighing
from clue_ros.devices import pick_device, pick_dtype
from clue_ros.evaluation import features, plots, systems, variants
from clue_ros.evaluation.features import Features, Views
from clue_ros.evaluation.looks import Table
from clue_ros.evaluation.metrics import AURC, Score, area_under_risk_coverage, auroc, bootstrap, detection_scores, risk_scores
from clue_ros.evaluation.results import BEHIND, Results
from clue_ros.evaluation.variants import Variant
from clue_ros.files import as_it_reads_back, keep_settings, kept_settings
from clue_ros.model_folder import find, load, load_vlm
from clue_ros.pipeline import Clue
from clue_ros.provenance import check_apart, code_hash, commit, digest, hash_files, hash_model, versions
from clue_ros.types import InputError

RISKS = (0.01, 0.02, 0.05, 0.1, 0.2)
Hashes = dict[str, tuple[str, ...]]  # of a model's files, as `Provenance.files`
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
        check_apart({f"{name} {getattr(self, name)}": lines for name, lines in found.items()})
        return {name: digest(lines) for name, lines in found.items()}

    def names(self) -> dict[str, str]:
        """All of it, as text."""
        return {name: str(value) for name, value in vars(self).items()}

    @property
    def tests(self) -> list[str]:
        """The names of the sets that rows are scored on."""
        return ["dataset 1"] + ["dataset 2"] * bool(self.unseen) + ["dataset 3"] * bool(self.photographs)

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
    files = _files_of(model, also)
    where = pick_device(device)
    made_by = {"code": code_hash(), "versions": versions(), "device": str(where), "dtype": str(pick_dtype("auto", where))}
    _claim(out, {"data": data.names(), "files": data.digests(), **made_by}, {"base": files["adapted"], **files})
    models = _models(model, also, str(where))
    seen = {kind: _features(kind, clue, data, out) for kind, clue in models.items()}
    sets = {name: views[0] for name, views in seen["adapted"].items()}  # of the whole pictures
    ours, layers = models["adapted"].detector, sets["train"].maps.shape[1]
    middle, detecting = ours.settings.layers[0], _with_another_detector(files)
    rows = [*variants.rows(middle, layers), *(variants.first_token_of(folder.name) for folder in also),
            *map(variants.own_cnn_of, detecting)]
    scores, probabilities = _judge(rows, seen, data.tests, rounds)
    deciding = [folder.name for folder in also if folder.name not in detecting]
    contrasts = _contrasts(variants.contrasts(middle, detecting, deciding), probabilities, sets, rounds)
    whole = _whole_systems({kind: _recalibrated(clue, seen[kind]["held-out"]) for kind, clue in models.items()}, data, out)
    risks = {test: _risks(models["adapted"].calibration, sets[test], ours.weighing.probability(*_own_scores(seen["adapted"][test])))
             for test in data.tests}
    found = Results(scores, contrasts, whole, risks)
    plots.draw(out, sets, probabilities, {row.name: {test: seen[row.model][test][0] for test in data.tests} for row in rows},
               scores, layers)
    settings = {"model": str(model), **data.names(), "commit": commit(), **made_by}
    (out / "table.json").write_text(json.dumps({"settings": settings, "models": files, **found.as_json()}, indent=1) + "\n",
                                    encoding="utf-8")
    text = f"{_head(files['adapted'], data.seed, sets, ours.weighing.zoom)}\n\n{found.markdown(data.tests)}"
    (out / "table.md").write_text(text + "\n", encoding="utf-8")
    return text


def _files_of(model: str, also: Sequence[Path]) -> dict[str, Hashes]:
    """Hashes of the files of each model, by the name of its rows. InputError where two have one name."""
    names = ["adapted", "base", *(folder.name for folder in also)]
    if len(set(names)) < len(names):
        raise InputError(f"--also {' '.join(names[2:])}: a row is called as its folder is, so each needs a name of its own, "
                         "other than adapted and base")
    return {"adapted": hash_model(find(model)), **{folder.name: hash_model(folder) for folder in also}}


def _with_another_detector(files: dict[str, Hashes]) -> list[str]:
    """The further models whose detector has other weights than ours."""
    weights = {name: [line for line in mine["detector"] if line.endswith(".safetensors")] for name, mine in files.items()}
    return [name for name in files if weights[name] != weights["adapted"]]


def _head(files: Hashes, seed: int, sets: dict[str, Features], zoom: float) -> str:
    """What the scores are of."""
    views = f"every score is the mean of two views, the second {zoom:g} times as large" if zoom > 1 else "one view each"
    return (f"Model {digest(tuple(line for part in files.values() for line in part))[:12]}; words drawn with seed {seed}; rows fitted "
            f"on {len(sets['train']) // 2} pairs, their P on {len(sets['held-out']) // 2}; {views}.")


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
    """Fit every row, and score it on each data set that has what it needs, ours (the first row) beside it: its scores, and its
    probabilities."""
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
    ours = probabilities[rows[0].name]
    for name, tests_of in probabilities.items():
        for test, theirs in tests_of.items():
            scores[name][test][BEHIND] = _less(ours[test], theirs, seen[rows[0].model][test][0], rounds)
    return scores, probabilities


def _claim(folder: Path, data: dict, models: dict) -> None:
    """InputError when what lies there is of other data, or of a model, code or library that has changed since. Further models may come."""
    file, mine = folder / "settings.json", as_it_reads_back(data | {"models": models})
    there = kept_settings(file) or mine
    known = there.get("models", {})
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
    return variants.mean_scores(variants.own_verdict(views[0]), views).T


def _features(kind: str, clue: Clue, data: Data, out: Path) -> dict[str, Views]:
    return {name: features.read(clue, prompts(), out / "features" / f"{kind}-{name.replace(' ', '')}.npz", f"{kind}, {name}",
                                instances=kind == "base")
            for name, prompts in data.readers().items() if name != "train" or kind in ROWS}


def _contrasts(pairs: list[tuple[str, str]], probabilities: dict, sets: dict[str, Features], rounds: int,
               ) -> dict[str, dict[str, Score]]:
    """`Results.contrasts` of these pairs of rows."""
    return {f"{one}, less {other}": {test: _less(mine, probabilities[other][test], sets[test], rounds)
                                     for test, mine in probabilities[one].items()} for one, other in pairs}


def _less(one: np.ndarray, other: np.ndarray, seen: Features, rounds: int) -> Score:
    """AUROC of one row less that of another, from the same resampled prompts (a paired interval)."""
    return bootstrap(lambda t, a, b: auroc(t, a) - auroc(t, b), seen.ambiguous, one, other, rounds=rounds, groups=seen.groups)


def _risks(calibration: Calibration | None, seen: Features, probability: np.ndarray) -> dict[str, Table]:
    """What the user's risk comes to: how often the model acts wrongly, and how often it asks, by the risk that was set."""
    if calibration is None:
        return {}
    return {f"{risk:g}": risk_scores(seen.wrong, probability, calibration.threshold(risk), seen.groups) for risk in RISKS}
