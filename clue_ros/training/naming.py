"""A base without the detection mixture, for the paper's ablation: what does it buy to have been taught where things are?

`clue-train naming --data DATA --base BASE --out RUN`. The tower is that of BASE and stays as it is, as both PaliGemma 2 bases of
the paper have seen the same pictures before. The decoder starts anew and reads the same instructions as in the base recipe, but
is only taught to name what is meant, and to ask where that is several objects: no suffix holds a location token, and no
auxiliary loss says where to look. `clue-train ivg` then teaches both bases the same.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from clue_ros.data import examples
from clue_ros.training.base import Mixture, Pupil
from clue_ros.training.forward import run, suffix_losses
from clue_ros.training.loop import Losses

NAMING_MIXTURE: Mixture = ((0.58, examples.clear), (0.25, examples.ambiguous), (0.17, examples.answered))


def naming_losses(first_location: int) -> Callable[[Pupil, dict], Losses]:
    """The loss of the recipe: the words of the suffix."""

    def losses(pupil: Pupil, batch: dict[str, Tensor]) -> Losses:
        out = run(pupil.model, batch)
        _, text = suffix_losses(pupil.model, out.hidden[-1], batch["labels"], first_location, pupil.smooth)
        return {"loss": text}

    return losses
