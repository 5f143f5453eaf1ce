"""CLUE on one screen: look, notice, ask or point (Abrini & Chetouani, arXiv 2602.08999).

    image --> preprocess --> SigLIP --> projector --+        once per frame, and once more from nearer
    instruction, dialog --> prompt --> tokens ------+
                                                    v
                        Gemma 2 decoder, prefix (bidirectional), one prefill a view
                         |  layer L (and above): text-to-image attention, one map per head
                         v          v  log odds that its own first token is <clarify>
                        CNN ------> P(ambiguous), of both views; heatmap, candidate boxes
                         |
                 ask <---+---> locate
         <clarify> + question      <loc> x 4 + label          decoded from the whole image's key/value cache
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from clue_ros.detector.calibration import Calibration
from clue_ros.detector.network import Detector, View, channels_of
from clue_ros.dialog import Dialog
from clue_ros.types import Ambiguity, Box, Decision, Frame, Grounding, Prompt, Question
from clue_ros.vlm.paligemma import Prefill, Vlm
from clue_ros.wording import meaning, place_taken, places_offered

WHICH = "which one do you mean?"  # of a model that learned when to ask, but not what
CONFIDENT = 0.7  # probability of a question that names a colour, size or shape which the decoder did not merely guess
SURE = 0.5  # the score of a candidate box that is one of the objects asked about
APART = 0.04  # share of the picture by which the centres of two objects differ of which one is the left one
SAME = 0.3  # IoU of two boxes of one object, one of them coarse


@dataclass(frozen=True, eq=False)
class Belief:
    """box: the one object that the last answer leaves, on the detector's word; None where it cannot be told. before: the prefill
    of the dialog without that answer, in which it was seen."""

    before: Prefill | None = None
    box: Box | None = None

    @property
    def settled(self) -> bool:
        """Whether there is but one."""
        return self.box is not None


@dataclass(frozen=True, eq=False)
class Understanding:
    """What is made of a prompt before anything is decided. prefill: of the whole picture, in which a question or a box is decoded."""

    prefill: Prefill
    ambiguity: Ambiguity
    belief: Belief

    @property
    def in_doubt(self) -> bool:
        """Whether to ask, while the turn limit allows it."""
        return self.ambiguity.leaves_doubt(self.belief.settled)


class Clue:
    """A model that knows when it does not know. Not thread-safe: call it from one thread."""

    def __init__(self, vlm: Vlm, detector: Detector, calibration: Calibration | None = None):
        self.vlm, self.detector, self.calibration = vlm, detector, calibration
        self.threshold = calibration.threshold() if calibration else detector.weighing.threshold

    def look(self, frame: Frame, dialog: Dialog) -> Decision:
        """One decision about what is meant: a question while in doubt and allowed to ask, else a grounding."""
        times: dict[str, float] = {}
        seen = self.understand(frame, dialog.prompt, times)
        outcome: Question | Grounding | None = None
        if seen.in_doubt and dialog.may_ask():
            with _timed(times, "question"):
                outcome = self.new_question(seen.prefill, dialog.prompt)
        if outcome is None:
            with _timed(times, "locate"):
                outcome = self.point(seen.prefill, frame, seen.belief)
        times["total"] = sum(times.values())
        return Decision(seen.ambiguity, outcome, times, seen.belief.settled)

    def understand(self, frame: Frame, prompt: Prompt, times: dict[str, float] | None = None) -> Understanding:
        """Look, and notice. times: gets the milliseconds of each stage."""
        times, zooms = {} if times is None else times, self.detector.weighing.zooms
        with _timed(times, "encode"):
            for zoom in zooms:
                self.vlm.encode(frame, zoom)  # kept by it: what follows looks at the same image
        with _timed(times, "prefill"):
            views = [self.prefill(frame, prompt, zoom) for zoom in zooms]
        with _timed(times, "detect"):
            ambiguity = self.notice(views, frame.size)
        with _timed(times, "belief"):
            belief = self.belief(frame, prompt)
        return Understanding(views[0], ambiguity, belief)

    def prefill(self, frame: Frame, prompt: Prompt, zoom: float = 1.0) -> Prefill:
        """The decoder's reading of the prompt beside the picture, or beside its middle that many times as large."""
        return self.vlm.prefill(self.vlm.encode(frame, zoom), prompt, self.detector.settings.layers)

    def new_question(self, prefill: Prefill, prompt: Prompt) -> Question | None:
        """The likeliest question that was not answered before, be it with its options in another order: nobody wants to be asked
        twice, and it would settle nothing. None where no other comes to mind; `WHICH`, once, where the decoder has no words to ask in.
        By place rather than by a colour or size that it only guesses: where things are it knows best, and a person sees it as well."""
        asked = [meaning(turn.question) for turn in prompt.turns]

        def is_useless(text: str) -> bool:
            return not meaning(text) or meaning(text) in asked
        question = self.vlm.question(prefill)
        if is_useless(question.text):
            wordless = not meaning(question.text) and not is_useless(WHICH)
            question = self.vlm.another_question(prefill, is_useless) or (Question(WHICH) if wordless else None)
        if question is None or question.probability >= CONFIDENT or places_offered(question.text):
            return question
        by_place = self.vlm.another_question(prefill, lambda text: is_useless(text) or not places_offered(text))
        return by_place or question

    def belief(self, frame: Frame, prompt: Prompt) -> Belief:
        """What the last answer leaves of the objects in doubt. Where a question offered a side of the picture for each of them, and a
        person took one, geometry knows which it is: of those which the dialog before may mean, on this very picture ("the lower
        right block", "left or right?", "left": not the leftmost block of all). Left and right are no matter of opinion."""
        place = place_taken(prompt.turns[-1]) if prompt.turns else None
        if place is None:
            return Belief()
        earlier = Prompt(prompt.instruction, prompt.turns[:-1])
        before = self.prefill(frame, earlier)
        seen = self.detector.judge([self.view(before)], frame.size).candidates
        meant = sorted((c.box for c in seen if c.score >= SURE), key=lambda box: box.centre[place.axis])
        gaps = np.diff([box.centre[place.axis] for box in meant])
        told_apart = len(meant) == place.count and gaps.min() >= APART * frame.size[place.axis]
        return Belief(before, meant[place.rank]) if told_apart else Belief()

    def point(self, prefill: Prefill, frame: Frame, belief: Belief) -> Grounding:
        """Where the box is, held to the one object that the belief leaves."""
        found = self.vlm.locate(prefill, frame.size)
        if belief.box is None or found.box.iou(belief.box) >= SAME:
            return found
        return self.vlm.locate(belief.before, frame.size, near=belief.box)

    def warm_up(self) -> None:
        """Take every way through the model once on an empty picture, so that the first look is as fast as the second."""
        frame, prompt = Frame(np.full((480, 640, 3), 128, np.uint8)), Prompt("the object")
        prefill = self.understand(frame, prompt).prefill
        self.vlm.question(prefill)
        self.vlm.another_question(prefill, lambda _: False)  # by beam search, which the first may not have needed
        self.vlm.locate(prefill, frame.size)

    def notice(self, views: Sequence[Prefill], size: tuple[int, int]) -> Ambiguity:
        """What the detector makes of the attention maps, and of the decoder's own wish to ask: of the whole picture, (width, height)
        pixels, and of a second view, where it was calibrated for one: objects that are larger, and cut into patches elsewhere."""
        return self.detector.judge([*map(self.view, views)], size, self.threshold)

    def view(self, prefill: Prefill) -> View:
        """What the detector reads of a prefill, in which more layers than its own may have been probed."""
        own = [prefill.layers.index(layer) for layer in self.detector.settings.layers]
        maps = channels_of(prefill.maps[own], closing=self.detector.settings.closing)
        return View(maps, self.vlm.log_odds_to_ask(prefill.logits))


@contextmanager
def _timed(times: dict[str, float], name: str):
    start = time.perf_counter()
    yield
    times[name] = (time.perf_counter() - start) * 1000
