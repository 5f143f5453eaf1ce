"""What is measured, on which data: the tabletop (clear instructions, counterfactual pairs, questions) and IT2P."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from clue_ros.data import examples, it2p
from clue_ros.data.examples import Example
from clue_ros.data.records import Part, draw, in_pixels
from clue_ros.data.scenes import SceneImages
from clue_ros.evaluation.looks import Look, Seen, Table, look, usable, verdict_scores
from clue_ros.evaluation.metrics import accuracy_at, auroc, auroc_within, bootstrap, detection_scores, risk_scores
from clue_ros.pipeline import Clue
from clue_ros.tabletop.questions import is_true_difference, splits_best
from clue_ros.types import Ambiguity, Frame, InputError, Prompt
from clue_ros.vlm.paligemma import Prefill

INVALID = "free decoding gives no box"
GIVEN = "Acc@0.5 after a given dialog"
POINTING = "IT2P pointing accuracy"


def grounding(clue: Clue, folder: Path, seed: int, limit: int | None = None) -> Table:
    """One clear instruction a scene, and one ambiguous instruction with the dialog that settles it, given to the robot (the
    paper's IVG): does the box have IoU >= 0.5 with the object that is meant? It is read from the location tokens alone, so that
    there always is one; how often free decoding would give none is told beside it. limit: at most so many scenes, drawn with the
    seed."""
    source, clear, told = SceneImages(folder), [], []
    for index in tqdm(draw(range(len(source)), np.random.default_rng(seed), limit), desc="boxes"):
        rgb, scene = source[index]
        frame, group = Frame(rgb), source.group_of(index)
        if (example := examples.clear(scene, np.random.default_rng((seed, index)), source.phrasing)) is not None:
            prefill, iou = _pointed(clue, frame, example)
            clear.append((iou, not clue.vlm.instances(prefill, frame.size, most=1), group))
        if (example := examples.settled(scene, np.random.default_rng((seed, index)), source.phrasing)) is not None:
            told.append((_pointed(clue, frame, example)[1], group))
    ious, free, groups = zip(*clear) if clear else ((), (), ())
    table = {"Acc@0.5": bootstrap(accuracy_at(0.5), ious, groups=groups), "mean IoU": bootstrap(np.mean, ious, groups=groups),
             INVALID: bootstrap(np.mean, free, groups=groups)}
    if told:
        ious, groups = zip(*told)
        table[GIVEN] = bootstrap(accuracy_at(0.5), ious, groups=groups)
    return table


def _pointed(clue: Clue, frame: Frame, example: Example) -> tuple[Prefill, float]:
    """Of one prompt, understood; IoU of the box with the one object meant."""
    prefill = clue.prefill(frame, example.prompt)
    box = clue.point(prefill, frame, clue.belief(frame, example.prompt)).box
    return prefill, box.iou(in_pixels(example.boxes[0], frame.size))


@dataclass(frozen=True)
class PairLooks:
    """One look at both prompts of every pair. seen: all of them, the ambiguous one of a pair first; the object in mind is one
    of those meant, drawn with the seed. objects int[n]: how many the scene holds. Of the ambiguous ones only: questions,
    whether each names a true difference, whether none would have left fewer candidates, and the share of the objects meant that
    have a candidate box of IoU >= 0.5."""

    seen: Seen
    objects: np.ndarray
    questions: list[str]
    true_question: np.ndarray
    best_question: np.ndarray
    candidates_found: np.ndarray


Pair = tuple[int, int, tuple[Example, Example]]


def pairs_of(source: SceneImages, seed: int, limit: int | None = None, part: Part = Part()) -> list[Pair]:
    """Index of the ambiguous scene, of its twin, and the same words about both; of the part, `limit` of them drawn with the seed.
    InputError when the data has none."""
    def every() -> Iterator[Pair]:
        for full, fewer in source.twins:
            if not part.holds(source.group_of(full)):
                continue
            rng = np.random.default_rng((seed, full))
            found = examples.counterfactual(source.scenes[full], source.scenes[fewer], rng, source.phrasing)
            if found:
                yield full, fewer, found
    chosen = draw(list(every()), np.random.default_rng(seed), limit)
    if not chosen:
        raise InputError(f"there are no counterfactual pairs in {source.folders[0]}: write it with --pairs")
    return chosen


def in_turn(pairs: Iterable[Pair], rng: np.random.Generator) -> Iterator[tuple[int, int, Example, int]]:
    """Both scenes of each pair: the index of the ambiguous one, which is the pair's, its own, what is said about it, and the number
    of the object in mind among those meant, drawn anew for each."""
    for full, fewer, told in pairs:
        for index, example in zip((full, fewer), told):
            yield full, index, example, int(rng.integers(len(example.boxes)))


def look_at_pairs(clue: Clue, source: SceneImages, seed: int, limit: int | None = None, part: Part = Part(), *,
                  questions: bool = True) -> PairLooks:
    """One look at both prompts of every counterfactual pair. InputError when the data has no pairs."""
    rng = np.random.default_rng(seed)
    looks, objects, spoken, true, best, recalls = ([] for _ in range(6))
    for pair, index, example, meant in in_turn(tqdm(pairs_of(source, seed, limit, part), desc="counterfactual pairs"), rng):
        rgb, scene = source[index]
        frame = Frame(rgb)
        one, prefill = look(clue, frame, example.prompt, example.ambiguous, in_pixels(example.boxes[meant], frame.size), pair)
        looks.append(one)
        objects.append(len(scene.objects))
        if example.ambiguous:
            recalls.append(_recall(one.verdict, example, frame.size))
        if example.ambiguous and questions:
            spoken.append(clue.new_question(prefill, example.prompt).text)
            true.append(is_true_difference(scene.objects, example.referents, spoken[-1]))
            best.append(splits_best(scene.objects, example.referents, spoken[-1]))
    return PairLooks(Seen.of(looks), np.array(objects), spoken, np.array(true), np.array(best), np.array(recalls))


def _recall(ambiguity: Ambiguity, example: Example, size: tuple[int, int]) -> float:
    meant = [in_pixels(b, size) for b in example.boxes]
    return float(np.mean([any(c.box.iou(m) >= 0.5 for c in ambiguity.candidates) for m in meant]))


def ambiguity(clue: Clue, folder: Path, seed: int, limit: int | None = None) -> Table:
    """Detector scores on counterfactual pairs (balanced by construction), what acting at its word would risk, and the
    questions it asks."""
    looks = look_at_pairs(clue, SceneImages(folder), seed, limit)
    seen = looks.seen
    table = {f"ambiguity {k}": v for k, v in verdict_scores(clue, seen).items()}
    first_token = detection_scores(seen.ambiguous, seen.asks_probability, 0.5, groups=seen.groups)
    table |= {"first token (AR) AUROC": first_token["AUROC"], "first token (AR) F1, at its own P 0.5": first_token["F1"]}
    table["number of objects, from the truth: AUROC"] = bootstrap(auroc, seen.ambiguous, looks.objects, groups=seen.groups)
    within = bootstrap(auroc_within, seen.ambiguous, seen.probability, looks.objects, groups=seen.groups)
    if np.isfinite(within.value):  # else no two scenes of one kind and the other have as many
        table["ambiguity AUROC, among scenes of as many objects"] = within
    table |= risk_scores(seen.wrong, seen.probability, clue.threshold, seen.groups)
    table["points at another object, of all prompts"] = bootstrap(
        np.mean, (seen.right == 0) & (seen.probability < clue.threshold), groups=seen.groups)
    table["question names a true difference"] = bootstrap(np.mean, looks.true_question)
    table["no question would split better"] = bootstrap(np.mean, looks.best_question)
    table["candidate boxes: recall of objects meant"] = bootstrap(np.mean, looks.candidates_found)
    return table


def pointing(clue: Clue, folder: Path, seed: int = 0, limit: int | None = None) -> Table:
    """IT2P: target point inside the box on clear commands, `limit` of them drawn with the seed."""
    clear = [c for c in it2p.read_commands(folder) if not c.ambiguous]
    seen = _look_at_photographs(clue, folder, draw(clear, np.random.default_rng(seed), limit), "clear commands")
    return {POINTING: bootstrap(np.mean, seen.right, groups=seen.groups)}


def _look_at_photographs(clue: Clue, folder: Path, commands: list[it2p.Command], name: str) -> Seen:
    def seen(c: it2p.Command) -> Look:
        return look(clue, it2p.photo(folder, c.image).frame(), Prompt(c.text), c.ambiguous, c.target, c.image)[0]
    return Seen.of(usable(seen, tqdm(commands, desc=f"IT2P {name}"), attrgetter("image")))


def photographs(clue: Clue, folder: Path, seed: int = 0, limit: int | None = None) -> Table:
    """IT2P: target point inside the box on clear commands; ambiguity on the language-controlled split.

    limit: at most so many commands of each kind, drawn with the seed.
    """
    controlled = it2p.language_controlled(it2p.read_commands(folder))
    by_words = it2p.words_alone(controlled)
    controlled = draw(controlled, np.random.default_rng(seed), limit)
    seen = _look_at_photographs(clue, folder, controlled, "language-controlled")
    words = detection_scores(np.array([c.ambiguous for c in controlled]), np.array([by_words[c.text] for c in controlled]), 0.5,
                             groups=np.array([c.image for c in controlled]))
    return {**pointing(clue, folder, seed, limit),
            **{f"IT2P ambiguity {k}": v for k, v in verdict_scores(clue, seen).items()},
            **{f"IT2P {k}": v for k, v in risk_scores(seen.wrong, seen.probability, clue.threshold, seen.groups).items()},
            **{f"IT2P words alone {k}": words[k] for k in ("F1", "AUROC")}}
