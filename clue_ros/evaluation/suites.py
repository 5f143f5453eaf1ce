"""What is measured, on which data: the tabletop (clear instructions, counterfactual pairs, questions) and IT2P."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from clue_ros.data import examples, it2p
from clue_ros.data.examples import Example
from clue_ros.data.records import in_pixels
from clue_ros.data.scenes import SceneImages
from clue_ros.evaluation.metrics import Score, accuracy_at, bootstrap, detection_scores, risk_scores
from clue_ros.pipeline import Clue
from clue_ros.tabletop.questions import is_true_difference, splits_best
from clue_ros.types import Ambiguity, Frame, InputError, Prompt
from clue_ros.vlm.paligemma import Prefill

Table = dict[str, Score]


def understand(clue: Clue, frame: Frame, prompt: Prompt) -> tuple[Prefill, Ambiguity]:
    """Encode, prefill and the detector's verdict, as `Clue.look` does before it decides."""
    prefill = clue.vlm.prefill(clue.vlm.encode(frame), prompt, clue.detector.settings.layers)
    return prefill, clue.notice(prefill, frame)


def grounding(clue: Clue, folder: Path, seed: int, limit: int | None = None) -> Table:
    """One clear instruction a scene: does the box have IoU >= 0.5 with the object that is meant?"""
    source, ious = SceneImages(folder), []
    for index in tqdm(range(min(len(source), limit or len(source))), desc="clear instructions"):
        rgb, scene = source[index]
        example = examples.clear(scene, np.random.default_rng((seed, index)), source.phrasing)
        if example is None:
            continue
        frame = Frame(rgb)
        prefill, _ = understand(clue, frame, example.prompt)
        found = clue.vlm.locate(prefill, frame.size)
        ious.append(found.box.iou(in_pixels(example.boxes[0], frame.size)) if found.box else 0.0)
    ious = np.array(ious)
    return {"Acc@0.5": bootstrap(accuracy_at(0.5), ious), "mean IoU": bootstrap(np.mean, ious)}


@dataclass(frozen=True)
class Looks:
    """One look at each of n prompts. Arrays of n unless said otherwise.

    ambiguous: the truth. probability: the detector's P; cnn: its CNN alone, a logit. asks: P(first suffix token is the condition `clarify`), the
    decoder's own preference. iou: of the box, had it acted at once, with the object in mind (one of those meant, drawn
    with the seed). Of the ambiguous ones only: questions, whether each names a true difference, whether none would have
    left fewer candidates, and the share of the objects meant that have a candidate box of IoU >= 0.5.
    """

    ambiguous: np.ndarray
    probability: np.ndarray
    cnn: np.ndarray
    asks: np.ndarray
    iou: np.ndarray
    questions: list[str]
    true_question: np.ndarray
    best_question: np.ndarray
    candidates_found: np.ndarray


Pair = tuple[int, int, tuple[Example, Example]]


def pairs_of(source: SceneImages, seed: int, limit: int | None = None) -> list[Pair]:
    """Index of the ambiguous scene, of its twin, and the same words about both; the first `limit`. InputError when the
    data has none."""
    def every() -> Iterator[Pair]:
        for full, fewer in source.twins:
            rng = np.random.default_rng((seed, full))
            found = examples.counterfactual(source.scenes[full], source.scenes[fewer], rng, source.phrasing)
            if found:
                yield full, fewer, found
    chosen = list(islice(every(), limit))
    if not chosen:
        raise InputError(f"there are no counterfactual pairs in {source.folders[0]}: write it with --pairs")
    return chosen


def look_at_pairs(clue: Clue, source: SceneImages, seed: int, limit: int | None = None, *, questions: bool = True) -> Looks:
    """One look at both prompts of every counterfactual pair. InputError when the data has no pairs."""
    rng = np.random.default_rng(seed)
    truth, probability, cnn, asks, ious, spoken, true, best, recalls = ([] for _ in range(9))
    for full, fewer, (doubtful, clear) in tqdm(pairs_of(source, seed, limit), desc="counterfactual pairs"):
        for index, example in ((full, doubtful), (fewer, clear)):
            rgb, scene = source[index]
            frame = Frame(rgb)
            prefill, ambiguity = understand(clue, frame, example.prompt)
            target = example.boxes[int(rng.integers(len(example.boxes)))]
            truth.append(example.ambiguous)
            probability.append(ambiguity.probability)
            cnn.append(ambiguity.cnn)
            asks.append(float(prefill.logits.softmax(-1)[clue.vlm.grammar.clarify]))
            ious.append(clue.vlm.locate(prefill, frame.size).box.iou(in_pixels(target, frame.size)))
            if example.ambiguous:
                recalls.append(_recall(ambiguity, example, frame.size))
            if example.ambiguous and questions:
                spoken.append(clue.vlm.question(prefill).text)
                true.append(is_true_difference(scene.objects, example.referents, spoken[-1]))
                best.append(splits_best(scene.objects, example.referents, spoken[-1]))
    return Looks(np.array(truth), np.array(probability), np.array(cnn), np.array(asks), np.array(ious), spoken,
                 np.array(true), np.array(best), np.array(recalls))


def verdict_scores(clue: Clue, truth: np.ndarray, probability: np.ndarray) -> Table:
    """`detection_scores` at the threshold the risk sets, and F1 at P = 0.5 beside it. bool[n], float[n]."""
    scores = detection_scores(truth, probability, clue.threshold)
    return scores | {"F1 at P 0.5": detection_scores(truth, probability, 0.5)["F1"]}


def _recall(ambiguity: Ambiguity, example: Example, size: tuple[int, int]) -> float:
    meant = [in_pixels(b, size) for b in example.boxes]
    return float(np.mean([any(c.box.iou(m) >= 0.5 for c in ambiguity.candidates) for m in meant]))


def ambiguity(clue: Clue, folder: Path, seed: int, limit: int | None = None) -> Table:
    """Detector scores on counterfactual pairs (balanced by construction), what acting at its word would risk, and the
    questions it asks."""
    looks = look_at_pairs(clue, SceneImages(folder), seed, limit)
    table = {f"ambiguity {k}": v for k, v in verdict_scores(clue, looks.ambiguous, looks.probability).items()}
    first_token = detection_scores(looks.ambiguous, looks.asks, 0.5)
    table |= {f"first token (AR) {k}": first_token[k] for k in ("F1", "AUROC")}
    table |= risk_scores(looks.iou < 0.5, looks.probability, clue.threshold)
    table["question names a true difference"] = bootstrap(np.mean, looks.true_question)
    table["no question would split better"] = bootstrap(np.mean, looks.best_question)
    table["candidate boxes: recall of objects meant"] = bootstrap(np.mean, looks.candidates_found)
    return table


def photographs(clue: Clue, folder: Path, seed: int = 0, limit: int | None = None) -> Table:
    """IT2P: target point inside the box on clear commands; ambiguity on the language-controlled split.

    limit: at most so many commands of each kind, drawn with the seed.
    """
    commands = it2p.read_commands(folder)
    controlled = it2p.language_controlled(commands)
    clear = [c for c in commands if not c.ambiguous]
    rng = np.random.default_rng(seed)
    clear, controlled = it2p.draw(clear, rng, limit), it2p.draw(controlled, rng, limit)
    hits, probability = [], []
    for c in tqdm(clear, desc="IT2P clear commands"):
        frame = it2p.read_photo(folder, c.image)
        prefill, _ = understand(clue, frame, Prompt(c.text))
        box = clue.vlm.locate(prefill, frame.size).box
        hits.append(box is not None and box.contains(*c.target))
    for c in tqdm(controlled, desc="IT2P language-controlled"):
        frame = it2p.read_photo(folder, c.image)
        probability.append(understand(clue, frame, Prompt(c.text))[1].probability)
    truth = np.array([c.ambiguous for c in controlled])
    words = detection_scores(truth, np.array(it2p.words_alone(controlled)), 0.5)
    ours = verdict_scores(clue, truth, np.array(probability))
    return {"IT2P pointing accuracy": bootstrap(np.mean, np.array(hits)),
            **{f"IT2P ambiguity {k}": v for k, v in ours.items()},
            **{f"IT2P words alone {k}": words[k] for k in ("F1", "AUROC")}}
