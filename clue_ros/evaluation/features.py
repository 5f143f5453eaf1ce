"""Everything a detector could read from one prefill, for every prompt of a data set; computed once, kept as a file.

All rows of the evaluation table are judged on these, so that they see the very same images, words and attention.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from tqdm import tqdm

from clue_ros.data import it2p
from clue_ros.data.records import Picture, draw, in_pixels
from clue_ros.data.scenes import SceneImages
from clue_ros.evaluation.looks import Target, acting_is_wrong, is_hit
from clue_ros.evaluation.suites import in_turn, pairs_of
from clue_ros.files import replacing
from clue_ros.pipeline import Belief, Clue
from clue_ros.types import InputError, Prompt
from clue_ros.vlm.paligemma import Prefill
from clue_ros.vlm.tokens import LOCATIONS


@dataclass(frozen=True)
class Asked:
    """A prompt to judge: its picture, decoded when it is looked at, its words and the truth. group: what it shares with prompts
    that are not independent of it. target: what the person has in mind, in pixels, None if unknown. label: the noun phrase to
    detect, empty if unknown."""

    picture: Picture
    instruction: str
    ambiguous: bool
    group: str
    target: Target | None
    label: str = ""


@dataclass(frozen=True)
class Features:
    """Arrays of n prompts, in one view.

    ambiguous bool[n]. words: the instructions, str[n]. maps float16[n, layers, heads, G, G], those of the words in `Prefill`.
    hidden float32[n, d]: last hidden state of the newline. cnn float64[n]: the model's
    own CNN alone, a bounded logit. clarify float64[n]: P(first suffix token is the condition). entropy, margin float64[n]: of the
    first location token, nats and difference of the two likeliest places that lie 5 % of the image apart. instances int64[n]:
    boxes that `detect LABEL` gives, -1 where there is no label. right float64[n]: whether the model's box is
    the object in mind, 0 or 1, NaN where nobody says. groups str[n]: `Asked.group`.
    """

    ambiguous: np.ndarray
    words: np.ndarray
    maps: np.ndarray
    hidden: np.ndarray
    cnn: np.ndarray
    clarify: np.ndarray
    entropy: np.ndarray
    margin: np.ndarray
    instances: np.ndarray
    right: np.ndarray
    groups: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        """bool[n]: `acting_is_wrong`."""
        return acting_is_wrong(self.ambiguous, self.right)

    def __len__(self) -> int:
        return len(self.ambiguous)


Views = tuple[Features, ...]  # of the same prompts, one for each view that the model takes: first the whole picture


def tabletop_prompts(folder: Path, seed: int, limit: int | None = None) -> Iterator[Asked]:
    """Both prompts of every counterfactual pair, or of `limit` of them; one of the objects meant is in mind. Drawn with the
    seed. InputError when the data has no pairs."""
    source = SceneImages(folder)
    for pair, index, example, meant in in_turn(pairs_of(source, seed, limit), np.random.default_rng(seed)):
        picture = source.picture(index)
        box = in_pixels(example.boxes[meant], picture.frame().size)
        yield Asked(picture, example.prompt.instruction, example.ambiguous, str(pair), box, example.label)


def photograph_prompts(folder: Path, seed: int, limit: int | None = None) -> Iterator[Asked]:
    """IT2P's language-controlled commands, `limit` of them drawn with the seed."""
    commands = it2p.language_controlled(it2p.read_commands(folder))
    for c in draw(commands, np.random.default_rng(seed), limit):
        yield Asked(it2p.photo(folder, c.image), c.text, c.ambiguous, c.image, c.target)


def read(clue: Clue, prompts: Iterable[Asked], file: Path, name: str, *, instances: bool = False) -> Views:
    """The features, from the file if an earlier run left them there. instances: also run `detect LABEL` (slow)."""
    zooms = clue.detector.weighing.zooms
    keys = [{f.name: f"{f.name} x{zoom:g}" for f in fields(Features)} for zoom in zooms]
    if file.is_file():
        try:
            kept = np.load(file, allow_pickle=False)
            return tuple(Features(**{name: kept[key] for name, key in view.items()}) for view in keys)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise InputError(f"{file} cannot be read: remove it, and the prompts are looked at again ({type(error).__name__})") from error
    rows = [_one(clue, asked, zooms, instances) for asked in tqdm(list(prompts), desc=name)]
    found = tuple(Features(*(np.array(column) for column in zip(*view))) for view in zip(*rows))
    with replacing(file) as part:
        np.savez_compressed(part, **{key: getattr(one, name) for one, view in zip(found, keys) for name, key in view.items()})
    return found


def _one(clue: Clue, asked: Asked, zooms: tuple[float, ...], instances: bool) -> list[tuple]:
    """A row of `Features` for each view."""
    vlm, frame = clue.vlm, asked.picture.frame()
    layers = tuple(range(vlm.model.config.get_text_config().num_hidden_layers))
    image, prompt = vlm.encode(frame), Prompt(asked.instruction)
    prefills = [vlm.prefill(vlm.encode(frame, zoom), prompt, layers) for zoom in zooms]
    right = np.nan if asked.target is None else float(is_hit(clue.point(prefills[0], frame, Belief()).box, asked.target))
    count = -1
    if instances and asked.label:
        count = len(vlm.instances(vlm.prefill(image, Prompt(f"detect {asked.label}"), layers[:1]), frame.size))
    return [(asked.ambiguous, asked.instruction, *_seen(clue, prefill), count, right, asked.group)
            for prefill in prefills]


def _seen(clue: Clue, prefill: Prefill) -> tuple:
    """What is in one prefill: `maps` to `margin`."""
    vlm = clue.vlm
    likely = prefill.logits.softmax(-1).cpu()
    first = prefill.logits[vlm.grammar.first_location:][:LOCATIONS].softmax(-1).cpu().numpy()
    return (prefill.maps[:, 0].astype(np.float16), prefill.hidden.cpu().numpy(), clue.detector.judge([clue.view(prefill)], (1, 1)).cnn,
            float(likely[vlm.grammar.clarify]), float(-(first * np.log(first + 1e-12)).sum()), _margin(first))


def _margin(first: np.ndarray, apart: int = 51) -> float:
    """How much likelier the likeliest row of a box is than any that is another one."""
    best = int(first.argmax())
    others = np.concatenate([first[:max(best - apart + 1, 0)], first[best + apart:]])
    return float(first[best] - (others.max() if len(others) else 0.0))
