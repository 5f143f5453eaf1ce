"""The rows of the evaluation table: every way to tell that an instruction is ambiguous, each fitted on the same data.

CLUE's names (arXiv 2602.08999) stand where a row is one of the paper's. What the paper leaves open is chosen so: the
*AR* rows ask the decoder's own first suffix token, without any CNN; *Half-Last Detect* reads the middle layer's maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.ndimage import maximum_filter
from scipy.special import expit, logit
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from clue_ros.detector.calibration import fit_platt
from clue_ros.detector.jitter import Symmetry, shaken
from clue_ros.detector.network import Detector, DetectorSettings
from clue_ros.detector.weighing import bounded
from clue_ros.evaluation.features import Features, Views
from clue_ros.evaluation.metrics import best_f1_threshold

Scorer = Callable[[Features], np.ndarray]
LEAST = 1e-7  # probabilities nearer to 0 or 1 are scored alike


@dataclass(frozen=True)
class Variant:
    """fit: from training features to a function that scores others, float[n] or several scores float[n, k]; higher is more
    ambiguous. model: whose features, "adapted" or "base". labelled: it needs the noun phrase, which photographs' commands do
    not come with. views: how many it takes of those that the model does; None: all."""

    name: str
    fit: Callable[[Features], Scorer]
    model: str = "adapted"
    labelled: bool = False
    views: int | None = None


@dataclass(frozen=True)
class Fitted:
    """A variant made comparable: its score, the mean of its views', as a probability, and the threshold with the best F1, both
    from held-out data."""

    scorer: Scorer
    views: int | None
    weights: list[float] = field(default_factory=list)
    shift: float = 0.0
    threshold: float = 0.5

    def scores(self, views: Views) -> np.ndarray:
        """float64[n, k], where the scorer gives k."""
        return mean_scores(self.scorer, views[:self.views])

    def probability(self, views: Views) -> np.ndarray:
        """float64[n]"""
        return expit(self.scores(views) @ self.weights + self.shift)


def mean_scores(scorer: Scorer, views: Views) -> np.ndarray:
    """float64[n, k], of what the scorer says of each view."""
    return np.mean([scorer(f).reshape(len(f), -1) for f in views], 0)


def fit(variant: Variant, train: Views, held_out: Views) -> Fitted:
    """Fit on the whole pictures of `train`; Platt scaling and threshold on `held_out`."""
    truth, scorer = held_out[0].ambiguous, Fitted(variant.fit(train[0]), variant.views)
    weights, shift = fit_platt(scorer.scores(held_out), truth)
    made = replace(scorer, weights=weights, shift=shift)
    return replace(made, threshold=best_f1_threshold(truth, made.probability(held_out)))


# -- the rows ----------------------------------------------------------------------------------------------------------


def own_verdict(_: Features) -> Scorer:
    """The model's own CNN and its decoder's first token, both float[n, 2]."""
    return lambda f: np.stack([f.cnn, bounded(log_odds(f.clarify))], 1)  # as the model itself


def log_odds(probability: np.ndarray, least: float = 1e-6) -> np.ndarray:
    """float64[n], of P kept `least` away from 0 and 1; by default as `Vlm.log_odds_to_ask`."""
    return logit(np.clip(probability.astype(np.float64), least, 1 - least))


def own_cnn(_: Features) -> Scorer:
    """The model's own CNN alone, trained together with its LoRA."""
    return lambda f: f.cnn.astype(np.float64)


def first_token(_: Features) -> Scorer:
    """P(clarify) of the first suffix token: the decoder decides by itself."""
    return lambda f: log_odds(f.clarify, LEAST)


def location_entropy(_: Features) -> Scorer:
    """Entropy of the first location token."""
    return lambda f: f.entropy.astype(np.float64)


def location_margin(_: Features) -> Scorer:
    """Small margin between the two likeliest places."""
    return lambda f: -f.margin.astype(np.float64)


def instance_count(_: Features) -> Scorer:
    """How many boxes `detect X` gives."""
    return lambda f: f.instances.astype(np.float64)


def peak_count(layer: int) -> Callable[[Features], Scorer]:
    """Local maxima of the head mean that reach half of its greatest value."""
    def score(f: Features) -> np.ndarray:
        mean = f.maps[:, layer].astype(np.float32).mean(1)
        peaks = (mean == maximum_filter(mean, size=(1, 3, 3))) & (mean >= 0.5 * mean.max((1, 2), keepdims=True))
        return peaks.sum((1, 2)).astype(np.float64)
    return lambda _: score


def spatial_entropy(layer: int) -> Callable[[Features], Scorer]:
    """Entropy of the head mean as a distribution over the image."""
    def score(f: Features) -> np.ndarray:
        mean = f.maps[:, layer].astype(np.float64).mean(1)
        mean /= mean.sum((1, 2), keepdims=True)
        return -(mean * np.log(mean + 1e-12)).sum((1, 2))
    return lambda _: score


def words_alone(train: Features) -> Scorer:
    """Logistic regression on the instruction's 1- to 3-grams; no image."""
    model = make_pipeline(CountVectorizer(ngram_range=(1, 3), binary=True, token_pattern=r"[^ ]+"),
                          LogisticRegression(max_iter=2000)).fit(train.words, train.ambiguous)
    return lambda f: model.decision_function(f.words)


def linear_probe(train: Features) -> Scorer:
    """Logistic regression on the decoder's last hidden state."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1)).fit(train.hidden, train.ambiguous)
    return lambda f: model.decision_function(f.hidden)


def cnn(layers: tuple[int, ...], *, head_mean: bool = False, epochs: int = 40, seed: int = 0) -> Callable[[Features], Scorer]:
    """A fresh CNN on frozen attention maps of these layers, one channel a head or the paper's head mean; it learns from the verdict
    alone what to compare, for features hold no boxes."""
    def fit_cnn(train: Features) -> Scorer:
        torch.manual_seed(seed)
        heads, grid = train.maps.shape[2], train.maps.shape[-1]
        detector = Detector(DetectorSettings(layers, len(layers) * heads, grid, head_mean=head_mean))
        channels = lambda f: torch.from_numpy(f.maps[:, list(layers)].astype(np.float32)).flatten(1, 2)  # noqa: E731
        maps, truth = channels(train), torch.from_numpy(train.ambiguous).float()
        optimiser = torch.optim.AdamW(detector.parameters(), 2e-3, weight_decay=5e-2)
        generator = torch.Generator().manual_seed(seed)
        steps = epochs * -(-len(maps) // 64)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
        for _ in range(epochs):
            for batch in torch.randperm(len(maps)).split(64):
                seen = shaken(Symmetry.random(generator).of(maps[batch]), generator, heads=not head_mean)
                loss = F.binary_cross_entropy_with_logits(detector(seen).ambiguous, truth[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        detector.eval()

        @torch.inference_mode()
        def score(f: Features) -> np.ndarray:
            found = [detector.from_all_sides(part).ambiguous.numpy() for part in channels(f).split(512)]
            return bounded(np.concatenate(found))  # as a model's own detector is asked
        return score
    return fit_cnn


DETECT, DISAMBIGUATE = "Half-Last Detect, on heads (CNN alone, with its LoRA)", "Full-Last Disambig. (AR): first token"


def on_heads(layer: int) -> str:
    """The name of that layer's row in the sweep."""
    return f"CNN on heads of layer {layer}, LoRA frozen"


def on_head_mean(layer: int) -> str:
    """The name of the row with the paper's map."""
    return f"CNN on the head mean of layer {layer}, LoRA frozen (the paper's map)"


def contrasts(middle: int, detecting: Iterable[str] = (), deciding: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Rows whose difference the paper, or this package, makes a claim about. detecting: further models with a detector of their own;
    deciding: those without, whose first token decides."""
    return [(on_heads(middle), on_head_mean(middle)), (DETECT, DISAMBIGUATE), *((DETECT, first_token_name(name)) for name in deciding),
            *((DETECT, own_cnn_name(name)) for name in detecting)]


def rows(middle: int, layers: int) -> list[Variant]:
    """All of them, for a decoder of `layers` layers whose detector reads layer `middle` (0-based)."""
    sweep = [Variant(on_heads(k), cnn((k,))) for k in range(layers)]
    return [
        Variant("CNN on heads and first token, with their LoRA: ours", own_verdict),
        Variant("the same, of the whole picture alone", own_verdict, views=1),
        Variant(DETECT, own_cnn),
        Variant(DISAMBIGUATE, first_token),
        Variant("base without adapter (AR): first token (it met questions in training)", first_token, "base"),
        Variant(on_head_mean(middle), cnn((middle,), head_mean=True)),
        *sweep,
        Variant("CNN on heads of all layers, LoRA frozen", cnn(tuple(range(layers)))),
        Variant(f"CNN on heads of layer {middle}, base without adapter", cnn((middle,)), "base"),
        Variant("linear probe on the last hidden state", linear_probe),
        Variant("entropy of the first location token", location_entropy),
        Variant("margin of the first location token", location_margin),
        Variant(f"peaks of the head mean of layer {middle}", peak_count(middle)),
        Variant(f"spatial entropy of the head mean of layer {middle}", spatial_entropy(middle)),
        Variant("instances that `detect X` finds", instance_count, "base", labelled=True),
        Variant("words alone", words_alone)]


def first_token_name(model: str) -> str:
    """The name of the row of another model's first token."""
    return f"{model} (AR): first token"


def first_token_of(model: str) -> Variant:
    """The first token of another model, by its folder's name."""
    return Variant(first_token_name(model), first_token, model)


def own_cnn_name(model: str) -> str:
    """The name of the row of another model's own detector."""
    return f"{model}: its CNN alone, with its LoRA"


def own_cnn_of(model: str) -> Variant:
    """Another model's own detector, by its folder's name."""
    return Variant(own_cnn_name(model), own_cnn, model)
