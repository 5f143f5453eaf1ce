"""All print a table with intervals:

    clue-evaluate grounding|ambiguity|episodes --data data/test
    clue-evaluate it2p --data IT2P
    clue-evaluate records --reader coco|invig|it2p|tabletop --data instances.json
    clue-evaluate predictions LOG.jsonl
    clue-evaluate predict --reader recording|coco|... --data bag --out LOG.jsonl     (no table: the log itself)
    clue-evaluate table --train data/train --held-out data/val --test data/test --unseen data/unseen \\
                        --photographs IT2P --out eval
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from clue_ros.cli.common import add_labelled, execute, labelled_of, natural, new_file, positive, share
from clue_ros.types import InputError

if TYPE_CHECKING:
    from clue_ros.pipeline import Clue


def main() -> None:
    """Measure a model."""
    execute(parser())


def parser() -> argparse.ArgumentParser:
    """Its command line."""
    parser = argparse.ArgumentParser(description="Measure a model. Every score has a 95 % bootstrap interval.")
    commands = parser.add_subparsers(required=True)
    add_labelled(_suite(commands, "records", "any labelled data set, through its reader"))
    episodes = _suite(commands, "episodes", "whole dialogs with the rule-based oracle")
    for suite in (_suite(commands, "grounding", "clear instructions"),
                  _suite(commands, "ambiguity", "counterfactual pairs and questions"),
                  _suite(commands, "it2p", "IT2P photographs"), episodes):
        suite.add_argument("--data", type=Path, required=True)
    episodes.add_argument("--noise", type=share, default=0.0, help="share of answers that name another option")
    table = commands.add_parser("table", help="every variant and baseline, on every data set; a stopped run goes on")
    for name, text in (("train", "to fit the rows on"), ("held-out", "for their probabilities and thresholds"),
                       ("test", "dataset 1: the same world, other scenes")):
        table.add_argument(f"--{name}", type=Path, required=True, help=f"tabletop folder written with --pairs, {text}")
    table.add_argument("--unseen", type=Path, help="dataset 2: tabletop folder written with --pairs --unseen")
    table.add_argument("--photographs", type=Path, help="dataset 3: IT2P")
    table.add_argument("--out", type=Path, required=True, help="features, scores and pictures")
    table.add_argument("--model", default="tabletop", help="model folder, or the embedded one's name")
    table.add_argument("--also", type=Path, nargs="*", default=[], metavar="MODEL",
                       help="further model folders: their first token (AR) as a row each, and their own CNN where they have one")
    table.add_argument("--device", default="auto")
    table.add_argument("--limit", type=positive, default=2500, help="at most so many pairs to fit on")
    table.add_argument("--photograph-limit", type=positive, help="at most so many photographs' commands")
    table.add_argument("--episodes", type=positive, default=200, help="at most so many pairs for whole systems")
    table.add_argument("--seed", type=natural, default=3, help="draws the expressions")
    table.set_defaults(call=_table)
    predict = commands.add_parser("predict", help="what a model says of each prompt of a data set, labelled or not",
                                  description="Writes a line a prompt, which `clue-evaluate predictions` scores where it is "
                                              "labelled.")
    _add_model(predict)
    add_labelled(predict)
    predict.add_argument("--out", type=new_file, required=True, metavar="LOG.jsonl")
    predict.set_defaults(call=_predict)
    predictions = commands.add_parser("predictions", help="the log of any system, no model needed",
                                      description='A line a prompt: {"bbox": [x1, y1, x2, y2] or null, "gt_bbox": [...]}, '
                                                  'and, where known, {"ambiguous": true or false, "probability": 0..1}.')
    predictions.add_argument("file", type=Path, metavar="FILE.jsonl")
    predictions.add_argument("--threshold", type=share, default=0.5, help="a prompt is called ambiguous from here")
    predictions.add_argument("--json", type=new_file, help="also write the scores there")
    predictions.set_defaults(call=_predictions)
    return parser


def _suite(commands, name: str, help_text: str) -> argparse.ArgumentParser:
    suite = commands.add_parser(name, help=help_text)
    _add_model(suite)
    suite.add_argument("--json", type=new_file, help="also write the scores there")
    suite.set_defaults(call=_evaluate, suite=name)
    return suite


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="tabletop", help="model folder, or the embedded one's name")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=natural, default=0, help="draws the expressions")
    parser.add_argument("--limit", type=positive, help="at most so many examples")
    parser.add_argument("--risk", type=float, help="share of prompts in which it may act wrongly, by its calibration "
                        "(default: that which it was calibrated for)")


def _load(a: argparse.Namespace) -> tuple[Clue, float | None]:
    """The model, and the risk that its threshold is now that of; None where it was never calibrated."""
    from clue_ros.model_folder import load
    clue = load(a.model, a.device)
    if a.risk is not None and clue.calibration is None:
        raise InputError(f"{a.model} was never calibrated, so that no risk can be kept: `clue-train calibrate`")
    if a.risk is not None:
        clue.threshold = clue.calibration.threshold(a.risk)
    return clue, clue.calibration.risk if a.risk is None and clue.calibration else a.risk


def _evaluate(a: argparse.Namespace) -> None:
    from clue_ros.evaluation import episodes, records, report, suites
    suite = {"grounding": suites.grounding, "ambiguity": suites.ambiguity, "it2p": suites.photographs,
             "episodes": episodes.episodes, "records": records.records}[a.suite]
    data = labelled_of(a) if a.suite == "records" else a.data
    more = {"noise": a.noise} if a.suite == "episodes" else {}
    clue, risk = _load(a)
    table = suite(clue, data, a.seed, a.limit, **more)
    print(report.markdown(table))
    print(f"\nIt asks from P = {clue.threshold:.3f}"
          + ("." if risk is None else f", to act wrongly in at most {risk:g} of prompts like those it was calibrated on."))
    if a.json:
        report.write(table, {"suite": a.suite, "data": str(data), "model": str(a.model), "seed": a.seed, "limit": a.limit,
                             "risk": risk, "threshold": clue.threshold, "device": str(clue.vlm.device),
                             "dtype": clue.vlm.dtype, **more}, a.json)


def _predict(a: argparse.Namespace) -> None:
    from clue_ros.evaluation.records import write_predictions
    count = write_predictions(_load(a)[0], labelled_of(a), a.out, a.seed, a.limit)
    print(f"{count} predictions: {a.out}")


def _table(a: argparse.Namespace) -> None:
    from clue_ros.evaluation import table
    data = table.Data(a.train, a.held_out, a.test, a.unseen, a.photographs, a.limit, a.photograph_limit, a.episodes, a.seed)
    print(table.run(a.model, data, a.out, a.device, a.also))


def _predictions(a: argparse.Namespace) -> None:
    from clue_ros.evaluation import predictions, report
    read = predictions.read_predictions(a.file)
    table = predictions.score(read, a.threshold)
    print("\n\n".join(filter(None, (report.markdown(table), predictions.summary(read)))))
    if a.json:
        report.write(table, {"suite": "predictions", "data": str(a.file), "threshold": a.threshold}, a.json)
