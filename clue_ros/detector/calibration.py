"""From logits to probabilities that mean something, and from a risk to the threshold that keeps it: on held-out data.

`detector/calibration.json` keeps what was seen on that data, so that another risk can be chosen later without it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from clue_ros.detector.weighing import Weighing
from clue_ros.types import RISK, InputError, ModelError

FILE = "calibration.json"
FOLDS = 10


def check_risk(risk: float) -> None:
    """InputError when it is no share."""
    if not 0.0 <= risk <= 1.0:
        raise InputError(f"a risk lies between 0 and 1, got {risk}")


Fit = Callable[[Weighing, np.ndarray, np.ndarray, np.ndarray], Weighing]  # as `calibrated`


def calibrated(weighing: Weighing, score: np.ndarray, first_token: np.ndarray, truth: np.ndarray) -> Weighing:
    """A weighing whose P is calibrated: Platt's scaling (1999) of two scores, the CNN's and the decoder's own.

    score float[n]: the CNN's logits (`Ambiguity.cnn`); first_token float[n]: log odds that the decoder would ask; truth
    bool[n]: whether the prompt was ambiguous. A decoder that contradicts the CNN is left out. InputError when the CNN alone
    tells nothing.
    """
    (scale, weight), shift = fit_platt(np.stack([score, first_token], 1), truth)
    if scale <= 0 or weight <= 0:
        (scale,), shift = fit_platt(score[:, None], truth)
        weight = 0.0
    if scale <= 0:
        raise InputError("the detector finds ambiguous prompts no likelier ambiguous than clear ones: train it further "
                         "(clue-train ambiguity) before you calibrate it")
    return replace(weighing, scale=scale, first_token=weight, shift=shift)


def cross_fitted(weighing: Weighing, score: np.ndarray, first_token: np.ndarray, truth: np.ndarray, group: np.ndarray,
                 seed: int = 0, fit: Fit = calibrated) -> tuple[Weighing, np.ndarray]:
    """A weighing calibrated on all prompts, and P of each, float64[n], by a scaling fitted without it: P of what it was fitted to
    would look surer than it is.

    score, first_token, truth: as for `calibrated`. group int[n], from 0: prompts of one group are left out together, with a tenth
    of the groups at a time (cross-fitting, as in cross-conformal prediction, Vovk 2015). InputError when what is left is all
    clear or all ambiguous.
    """
    count = int(group.max()) + 1
    fold = (np.random.default_rng(seed).permutation(count) % min(FOLDS, count))[group]
    probability = np.empty(len(truth))
    for k in range(fold.max() + 1):
        mine = fold == k
        if mine.all() or truth[~mine].all() or not truth[~mine].any():
            raise InputError("both clear and ambiguous prompts are needed, each about several pictures")
        fitted = fit(weighing, score[~mine], first_token[~mine], truth[~mine])
        probability[mine] = fitted.probability(score[mine], first_token[mine])
    return fit(weighing, score, first_token, truth), probability


def fit_platt(scores: np.ndarray, truth: np.ndarray) -> tuple[list[float], float]:
    """(weights, shift) with which sigmoid(scores @ weights + shift) is the likeliest P of the truth. float[n, k], bool[n]."""
    from sklearn.linear_model import LogisticRegression  # of the training extra; the node needs `Calibration` only
    fitted = LogisticRegression(C=1e6).fit(scores, truth)
    return fitted.coef_[0].tolist(), float(fitted.intercept_[0])


@dataclass(frozen=True)
class Calibration:
    """Prompts that training did not see, each looked at once.

    data: what they were. probability: P(ambiguous) of each, calibrated without it, 0 where the dialog left but one object. wrong:
    whether the robot, had it acted at once, would have guessed among several objects, or boxed another one than the only one meant
    (IoU below 0.5). group: a number that prompts share which are not independent, such as those about one picture. risk: that which
    the detector's own threshold keeps. weights: of the model that looked (`model_folder.calibrated_weights`), "" where that is not
    known.
    """

    data: str
    probability: tuple[float, ...]
    wrong: tuple[bool, ...]
    group: tuple[int, ...]
    risk: float = RISK
    weights: str = ""

    def threshold(self, risk: float | None = None) -> float:
        """The greatest threshold at which the robot acts wrongly in at most `risk` (default: its own) of such prompts.

        Conformal risk control (Angelopoulos et al., arXiv 2208.02814) for the loss "acts, and that is wrong", averaged over
        a group. It can only grow with the threshold, and of one scaling the loss on a new group, exchangeable with these n, is at
        most `risk`, in expectation over both, when (sum of losses + 1) / (n + 1) <= risk. P of each is here of a scaling fitted to the
        others, whose three numbers hardly differ (`cross_fitted`): so it holds nearly, not to the letter. A risk too small for n
        groups to show gives 0: ask always.
        """
        risk = self.risk if risk is None else risk
        check_risk(risk)
        count, probability, losses = self._wrongs
        allowed = risk * (count + 1) - 1 + 1e-9
        if allowed < 0:
            return 0.0
        first = int(np.searchsorted(losses, allowed, side="right"))
        return float(probability[first]) if first < len(probability) else 1.0

    @cached_property
    def _wrongs(self) -> tuple[int, np.ndarray, np.ndarray]:
        """Number of groups; P of the prompts where acting would be wrong, least first; what a threshold just above each would
        cost in all. Kept, since the node asks for a threshold at every look."""
        _, which, sizes = np.unique(self.group, return_inverse=True, return_counts=True)
        wrong = np.flatnonzero(self.wrong)
        wrong = wrong[np.argsort(np.array(self.probability)[wrong], kind="stable")]
        return len(sizes), np.array(self.probability)[wrong], np.cumsum(1 / sizes[which[wrong]])

    def save(self, folder: Path) -> None:
        """Write it beside the detector."""
        record = asdict(self) | {"wrong": [int(w) for w in self.wrong]}
        (folder / FILE).write_text(json.dumps(record) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Calibration:
        """Inverse of `save`. ModelError names the file."""
        path = folder / FILE
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            made = cls(str(record["data"]), tuple(map(float, record["probability"])), tuple(map(bool, record["wrong"])),
                       tuple(map(int, record["group"])), float(record["risk"]), str(record.get("weights", "")))
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ModelError(f"{path} cannot be read: `clue-train calibrate` makes it ({type(error).__name__})") from error
        lengths = {len(made.probability), len(made.wrong), len(made.group)}
        if len(lengths) > 1 or not all(0 <= p <= 1 for p in (*made.probability, made.risk)):
            raise ModelError(f"{path} is no calibration: it needs as many P, 0 to 1, as verdicts and groups, and a risk")
        return made


def conformal(weighing: Weighing, score: np.ndarray, first_token: np.ndarray, truth: np.ndarray, wrong: np.ndarray,
              group: np.ndarray, settled: np.ndarray | bool = False, *, data: str = "", risk: float = RISK, seed: int = 0,
              fit: Fit = calibrated) -> tuple[Weighing, Calibration]:
    """A weighing whose P is calibrated and whose threshold keeps the risk, and what they were made from.

    score, first_token, truth: as for `calibrated`; wrong bool[n], data: as in `Calibration`. group [n]: any labels. settled bool[n]:
    where the robot acts whatever P is, which no threshold can help. InputError as `cross_fitted`.
    """
    _, number = np.unique(group, return_inverse=True)
    weighing, probability = cross_fitted(weighing, score, first_token, truth, number, seed, fit)
    probability = np.where(settled, 0.0, probability)
    made = Calibration(data, tuple(map(float, probability)), tuple(map(bool, wrong)), tuple(map(int, number)), risk)
    return replace(weighing, threshold=made.threshold()), made
