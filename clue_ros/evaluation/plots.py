"""The table's pictures: risk against coverage, reliability, and how well each decoder layer tells."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from clue_ros.evaluation import variants  # noqa: E402
from clue_ros.evaluation.features import Features  # noqa: E402
from clue_ros.evaluation.metrics import reliability, risk_by_coverage  # noqa: E402

SHOWN = 4  # rows in the first picture: ours and the next ones


def draw(folder: Path, sets: dict[str, Features], probabilities: dict[str, dict[str, np.ndarray]],
         seen: dict[str, dict[str, Features]], scores: dict, layers: int) -> None:
    """Write risk-coverage.png, reliability.png and layers.png. seen: the features of each row's own model."""
    tests = [t for t in sets if t.startswith("dataset")]
    _save(folder / "risk-coverage.png", tests, lambda axes, t: _coverage(axes, seen, probabilities, t))
    _save(folder / "reliability.png", tests, lambda axes, t: _reliability(axes, sets[t].ambiguous, probabilities, t))
    _save(folder / "layers.png", tests, lambda axes, t: _layers(axes, scores, t, layers))


def _save(file: Path, tests: list[str], fill) -> None:
    figure, all_axes = plt.subplots(1, len(tests), figsize=(4.6 * len(tests), 3.8), squeeze=False, layout="constrained")
    for axes, test in zip(all_axes[0], tests):
        axes.set_title(test)
        fill(axes, test)
        axes.grid(alpha=0.3)
    all_axes[0][0].legend(fontsize=7)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _coverage(axes, seen: dict[str, dict[str, Features]], probabilities: dict, test: str) -> None:
    """Share of the prompts acted on, the clearest first, in which that is wrong."""
    for row in [r for r in probabilities if test in probabilities[r]][:SHOWN]:
        risk = risk_by_coverage(seen[row][test].wrong, probabilities[row][test])
        axes.plot(np.arange(1, len(risk) + 1) / len(risk), risk, label=row)
    axes.set(xlabel="share of prompts acted on", ylabel="acted wrongly among them", ylim=(0, None))


def _reliability(axes, truth: np.ndarray, probabilities: dict, test: str) -> None:
    row = next(iter(probabilities))
    said, found, _ = reliability(truth, probabilities[row][test])
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.plot(said, found, marker="o", label=row)
    axes.set(xlabel="P(ambiguous)", ylabel="share that is ambiguous", xlim=(0, 1), ylim=(0, 1))


def _layers(axes, scores: dict, test: str, layers: int) -> None:
    sweep = [scores[variants.on_heads(k)][test]["AUROC"] for k in range(layers)]
    low, high = ([s.value - s.low for s in sweep], [s.high - s.value for s in sweep])
    axes.errorbar(range(layers), [s.value for s in sweep], yerr=[low, high], marker="o", capsize=3, label="CNN on heads")
    axes.set(xlabel="decoder layer (0-based)", ylabel="AUROC", xticks=range(layers))
