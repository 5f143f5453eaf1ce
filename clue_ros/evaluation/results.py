"""What the table of variants found: every score with its interval, for programs and for people."""

from __future__ import annotations

from dataclasses import dataclass, fields

from clue_ros.evaluation import systems
from clue_ros.evaluation.looks import Table
from clue_ros.evaluation.metrics import ACTS_WRONGLY, ASKS, AURC, Score
from clue_ros.evaluation.report import grid, plain

BEHIND = "AUROC behind ours"


@dataclass(frozen=True)
class Results:
    """Each by the data set it is of. rows: scores of every row, by its name. contrasts: how much AUROC one row is ahead of another by,
    by both names. systems: what each model does as a whole, by its row. risks: what the user's risk comes to, by the risk."""

    rows: dict[str, dict[str, Table]]
    contrasts: dict[str, dict[str, Score]]
    systems: dict[str, dict[str, Table]]
    risks: dict[str, dict[str, Table]]

    def as_json(self) -> dict:
        """Part by part."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    def markdown(self, tests: list[str]) -> str:
        """A table a data set, then what compares them."""
        return "\n\n".join([*(_markdown_rows(self.rows, test) for test in tests), _markdown_contrasts(self.contrasts, tests),
                            markdown_risks(self.risks),
                            *(f"Whole systems, {test}:\n\n{systems.markdown(measured)}" for test, measured in self.systems.items())])


def _markdown_rows(scores: dict[str, dict[str, Table]], test: str) -> str:
    """A row's scores on one data set."""
    def cells(row: str, s: Table) -> list[str]:
        short = {name: f"{s[name].value:.3f}" for name in ("precision", "recall", "AUPRC", "ECE", AURC)}
        return [row, str(s["F1"]), short["precision"], short["recall"], str(s["AUROC"]), _signed(s[BEHIND]), short["AUPRC"],
                short["ECE"], short[AURC]]
    found = {row: tests[test] for row, tests in scores.items() if test in tests}
    count = next(iter(found.values()))["F1"].count
    return f"{test}, n {count}:\n\n" + grid(["row", "F1", "precision", "recall", "AUROC", BEHIND, "AUPRC", "ECE", "AURC"],
                                            (cells(row, s) for row, s in found.items()))


def _markdown_contrasts(contrasts: dict[str, dict[str, Score]], tests: list[str]) -> str:
    """What one row is ahead of another by, on each data set."""
    return grid(["AUROC of one row, less that of another", *tests],
                ([name, *(_signed(less[test]) for test in tests)] for name, less in contrasts.items()))


def markdown_risks(risks: dict[str, dict[str, Table]]) -> str:
    """A row a risk: reached, and how often it asks for it, on each data set."""
    tests = [test for test, table in risks.items() if table]
    if not tests:
        return "The model was never calibrated: it has no risk to set."
    return grid(["risk that is set", *(f"{what}, {test}" for test in tests for what in ("acts wrongly", "asks"))],
                ([risk, *(str(risks[test][risk][what]) for test in tests for what in (ACTS_WRONGLY, ASKS))]
                 for risk in risks[tests[0]]))


def _signed(score: Score) -> str:
    return f"{score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}]"


def _plain(tree: object) -> object:
    """Scores, however deep, as JSON has them."""
    return plain(tree) if isinstance(tree, Score) else {key: _plain(value) for key, value in tree.items()}
