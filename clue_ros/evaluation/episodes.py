"""Whole episodes: an instruction, the robot's questions, answers of the rule-based oracle, and where it points at last."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from clue_ros.data.examples import Example
from clue_ros.data.records import in_pixels
from clue_ros.data.scenes import SceneImages
from clue_ros.dialog import Dialog
from clue_ros.evaluation.metrics import Score, bootstrap
from clue_ros.evaluation.suites import in_turn, pairs_of
from clue_ros.pipeline import Clue
from clue_ros.tabletop import questions
from clue_ros.tabletop.questions import Oracle
from clue_ros.tabletop.scene import Scene
from clue_ros.types import TURN_LIMIT, Box, Frame, Question
from clue_ros.wording import meaning


@dataclass(frozen=True)
class Episode:
    """ambiguous: the instruction was. asked: questions. true_questions: those that named a true difference between the
    objects still possible. iou: of the final box with the object in mind. guessed: it pointed while several were possible by
    what had been said. repeated: a question came twice, be it with its options in another order."""

    ambiguous: bool
    asked: int
    true_questions: int
    iou: float
    guessed: bool
    repeated: bool


def play(clue: Clue, frame: Frame, scene: Scene, example: Example, target: int, rng: np.random.Generator,
         noise: float = 0.0, turn_limit: int = TURN_LIMIT) -> Episode:
    """One episode about scene object `target`; with probability `noise` an answer names another option."""
    oracle, left = Oracle(scene.objects, target, rng, noise), example.referents
    dialog = Dialog.start(example.prompt.instruction, turn_limit)
    asked: list[str] = []
    true = 0
    while isinstance(outcome := clue.look(frame, dialog).outcome, Question):
        asked.append(outcome.text)
        true += questions.is_true_difference(scene.objects, left, outcome.text)
        answer, left = oracle.reply(outcome.text, left)
        dialog = dialog.ask(outcome.text).answer(answer)
    iou = outcome.box.iou(in_pixels(Box(*scene.objects[target].box), frame.size))
    return Episode(example.ambiguous, len(asked), true, iou, len(left) > 1, len(set(map(meaning, asked))) < len(asked))


def play_all(clue: Clue, folder: Path, seed: int, limit: int | None = None, noise: float = 0.0) -> list[Episode]:
    """Both scenes of every counterfactual pair, once each."""
    source, rng, played = SceneImages(folder), np.random.default_rng(seed), []
    for _, index, example, meant in in_turn(tqdm(pairs_of(source, seed, limit), desc="episodes"), rng):
        rgb, scene = source[index]
        oracle = np.random.default_rng((seed, index))  # its own: what a model asks must not move what others are asked about
        played.append(play(clue, Frame(rgb), scene, example, example.referents[meant], oracle, noise))
    return played


def episodes(clue: Clue, folder: Path, seed: int, limit: int | None = None, noise: float = 0.0) -> dict[str, Score]:
    """`rates` of both scenes of every counterfactual pair."""
    return rates(play_all(clue, folder, seed, limit, noise))


def rates(played: list[Episode]) -> dict[str, Score]:
    """Success (IoU >= 0.5 at the end), questions per ambiguous episode, and questions too many and too few. played: both episodes of a
    pair after one another."""
    column = lambda value, keep=lambda e: True: np.array([value(e) for e in played if keep(e)], float)  # noqa: E731
    doubtful, clear = (lambda e: e.ambiguous), (lambda e: not e.ambiguous)
    pairs = np.arange(len(played)) // 2
    return {
        "success": bootstrap(np.mean, column(lambda e: e.iou >= 0.5), groups=pairs),
        "success, ambiguous": bootstrap(np.mean, column(lambda e: e.iou >= 0.5, doubtful)),
        "success, clear": bootstrap(np.mean, column(lambda e: e.iou >= 0.5, clear)),
        "acts wrongly: guesses, or points at another object": bootstrap(
            np.mean, column(lambda e: e.guessed or e.iou < 0.5), groups=pairs),
        "questions per ambiguous episode": bootstrap(np.mean, column(lambda e: e.asked, doubtful)),
        "unneeded: clear episodes with a question": bootstrap(np.mean, column(lambda e: e.asked > 0, clear)),
        "missed: ambiguous episodes without one": bootstrap(np.mean, column(lambda e: e.asked == 0, doubtful)),
        "questions that name a true difference": bootstrap(
            lambda t, a: float(t.sum() / a.sum()) if a.any() else np.nan, column(lambda e: e.true_questions),
            column(lambda e: e.asked), groups=pairs),
        "a question asked twice": bootstrap(np.mean, column(lambda e: e.repeated), groups=pairs)}
