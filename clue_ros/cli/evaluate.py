"""clue-evaluate grounding|ambiguity --data data/test; clue-evaluate it2p --data IT2P; clue-evaluate predictions LOG.jsonl;
all print a table with intervals."""

from __future__ import annotations

import argparse
from pathlib import Path

from clue_ros.cli.common import run


def main() -> None:
    """Measure a model."""
    parser = argparse.ArgumentParser(description="Measure a model. Every score has a 95 % bootstrap interval.")
    commands = parser.add_subparsers(required=True)
    _suite(commands, "grounding", "clear instructions")
    _suite(commands, "ambiguity", "counterfactual pairs and questions")
    _suite(commands, "it2p", "IT2P photographs")
    predictions = commands.add_parser("predictions", help="the log of any system, no model needed",
                                      description='A line a prompt: {"bbox": [x1, y1, x2, y2] or null, "gt_bbox": [...]}, '
                                                  'and, where known, {"ambiguous": true or false, "probability": 0..1}.')
    predictions.add_argument("file", type=Path, metavar="FILE.jsonl")
    predictions.add_argument("--threshold", type=float, default=0.5, help="a prompt is called ambiguous from here")
    predictions.add_argument("--json", type=Path, help="also write the scores there")
    predictions.set_defaults(call=_predictions)
    arguments = parser.parse_args()
    run(lambda: arguments.call(arguments))


def _suite(commands, name: str, help_text: str) -> None:
    suite = commands.add_parser(name, help=help_text)
    suite.add_argument("--data", type=Path, required=True)
    suite.add_argument("--model", default="tabletop", help="model folder, or the embedded one's name")
    suite.add_argument("--device", default="auto")
    suite.add_argument("--seed", type=int, default=0, help="draws the expressions")
    suite.add_argument("--limit", type=int, help="at most so many examples")
    suite.add_argument("--json", type=Path, help="also write the scores there")
    suite.set_defaults(call=_evaluate, suite=name)


def _evaluate(a: argparse.Namespace) -> None:
    from clue_ros.evaluation import report, suites
    from clue_ros.pipeline import Clue
    suite = {"grounding": suites.grounding, "ambiguity": suites.ambiguity, "it2p": suites.photographs}[a.suite]
    table = suite(Clue.load(a.model, a.device), a.data, a.seed, a.limit)
    print(report.markdown(table))
    if a.json:
        report.write(table, {"suite": a.suite, "data": str(a.data), "model": str(a.model), "seed": a.seed}, a.json)


def _predictions(a: argparse.Namespace) -> None:
    from clue_ros.evaluation import predictions, report
    read = predictions.read_predictions(a.file)
    table = predictions.score(read, a.threshold)
    print("\n\n".join(filter(None, (report.markdown(table), predictions.summary(read)))))
    if a.json:
        report.write(table, {"suite": "predictions", "data": str(a.file), "threshold": a.threshold}, a.json)
