"""clue-evaluate grounding|ambiguity --data data/test; clue-evaluate it2p --data IT2P; all print a table with intervals."""

from __future__ import annotations

import argparse
from pathlib import Path

from clue_ros.cli.common import run


def main() -> None:
    """Measure a model."""
    parser = argparse.ArgumentParser(description="Measure a model. Every score has a 95 % bootstrap interval.")
    parser.add_argument("suite", choices=("grounding", "ambiguity", "it2p"),
                        help="clear instructions; counterfactual pairs and questions; IT2P photographs")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="tabletop", help="model folder, or the embedded one's name")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0, help="draws the expressions")
    parser.add_argument("--limit", type=int, help="at most so many examples")
    parser.add_argument("--json", type=Path, help="also write the scores there")
    arguments = parser.parse_args()
    run(lambda: _evaluate(arguments))


def _evaluate(a: argparse.Namespace) -> None:
    from clue_ros.evaluation import report, suites
    from clue_ros.pipeline import Clue
    suite = {"grounding": suites.grounding, "ambiguity": suites.ambiguity, "it2p": suites.photographs}[a.suite]
    table = suite(Clue.load(a.model, a.device), a.data, a.seed, a.limit)
    print(report.markdown(table))
    if a.json:
        report.write(table, {"suite": a.suite, "data": str(a.data), "model": str(a.model), "seed": a.seed}, a.json)
