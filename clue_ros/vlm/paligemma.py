"""One PaliGemma, loaded once: encode a frame, prefill a prompt, then ask or locate from the same key/value cache."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PaliGemmaForConditionalGeneration, PreTrainedTokenizerBase

from clue_ros.types import Box, Frame, Grounding, Prompt, Question, TooLongError
from clue_ros.vlm import attention
from clue_ros.vlm.attention import Probe
from clue_ros.vlm.beam import likeliest
from clue_ros.vlm.build import grid_of
from clue_ros.vlm.draft import Drafts
from clue_ros.vlm.preprocess import middle, to_pixel_values
from clue_ros.vlm.tokens import LOCATIONS, Grammar, box_to_locations, locations_to_box

MAX_QUESTION, MAX_LABEL = 48, 8  # tokens
BEAMS, MORE_BEAMS = 4, 8  # texts that are followed at once; where the likeliest one is not what is wanted
UNLIKELY = 0.02  # probability of a question that nobody who knows the language would ask here
NEAR = LOCATIONS * 8 // 100  # a corner this many locations away is still that of the same object


@dataclass(frozen=True, eq=False)
class Prefill:
    """The prefix, understood: everything that is decided afterwards starts here.

    layers: whose attention was probed. maps: float32[layers, 2, heads, G, G], their attention to the image, each map summing to 1:
    of the words, on average, and of the newline that closes the prefix. cache: keys and values of the prefix, `length` tokens. words:
    tokens of instruction and dialog. logits: float32[vocabulary], the decoder's own preference for the first suffix token. hidden:
    float32[d], last hidden state of that newline.
    """

    layers: tuple[int, ...]
    maps: np.ndarray
    cache: DynamicCache
    length: int
    words: tuple[int, ...]
    logits: Tensor
    hidden: Tensor

    def branch(self) -> DynamicCache:
        """The cache with nothing but the prefix in it: what an earlier branch decoded is cut off."""
        self.cache.crop(self.length - self.cache.get_seq_length())  # minus the number of tokens to drop
        return self.cache


def text_to_image(weights: Tensor, image_tokens: int) -> Tensor:
    """Attention of chosen query rows to the image, one map a head.

    weights float[heads, rows, keys], keys starting with the image tokens. The rows' shares of the image are averaged;
    each row is L1-normalised over the image first, so that a row that looks elsewhere counts as much. Returns
    float32[heads, image_tokens], rows summing to 1.
    """
    return image_shares(weights, image_tokens).mean(-2)


def prompt_maps(weights: Sequence[Tensor], grid: int) -> Tensor:
    """`Prefill.maps` of float[heads, rows, keys] of each layer, whose last row is the closing newline's, the others the words'."""
    maps = [text_to_image(rows, grid ** 2) for layer in weights for rows in (layer[:, :-1], layer[:, -1:])]
    return torch.stack(maps).unflatten(-1, (grid, grid)).unflatten(0, (len(weights), 2))


def image_shares(weights: Tensor, image_tokens: int) -> Tensor:
    """What share of a row's attention to the image each image token has, float32[..., image_tokens]."""
    shares = weights[..., :image_tokens].float()
    return shares / shares.sum(-1, keepdim=True).clamp_min(1e-12)


class Vlm:
    """A PaliGemma (1 or 2), with or without a LoRA adapter, in evaluation mode on one device."""

    def __init__(self, model: PaliGemmaForConditionalGeneration, tokenizer: PreTrainedTokenizerBase):
        use_probed_attention(model)
        self.model = model.eval()
        vision = model.config.vision_config
        self.side, self.grid = vision.image_size, grid_of(vision)
        self.grammar = Grammar(tokenizer, self.grid ** 2)
        self._features: tuple[object, dict[float, Tensor]] = (None, {})
        self._drafts, self._labels = Drafts(), Drafts()
        words = model.get_input_embeddings().num_embeddings  # the processor may have added tokens that the model knows nothing of
        self._no_text = torch.tensor([token for token in self.grammar.no_text if token < words], device=self.device)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def dtype(self) -> str:
        """The numbers it computes with, such as "bfloat16"."""
        return str(self.model.dtype).removeprefix("torch.")

    @torch.inference_mode()
    def encode(self, frame: Frame, zoom: float = 1.0) -> Tensor:
        """Image features in the decoder's space, float[1, N, d], of the frame or, with a zoom above 1, of its middle; computed
        once for every frame key."""
        key = frame if frame.key is None else frame.key
        if self._features[0] != key:
            self._features = (key, {})
        views = self._features[1]
        if zoom not in views:
            pixels = torch.from_numpy(to_pixel_values(middle(frame.rgb, zoom), self.side))[None]
            views[zoom] = self.model.get_image_features(pixels.to(self.device, self.model.dtype)).pooler_output
        return views[zoom]

    @torch.inference_mode()
    def prefill(self, features: Tensor, prompt: Prompt, layers: tuple[int, ...]) -> Prefill:
        """Read image and prompt once. layers: whose attention maps the detector wants, 0-based. TooLongError when the prompt
        is longer than the model can read."""
        encoded = self.grammar.prefix(prompt)
        most = self.model.config.get_text_config().max_position_embeddings - MAX_QUESTION - 1
        if len(encoded.ids) > most:
            raise TooLongError(f"picture, instruction and dialog are {len(encoded.ids)} tokens, the model reads at most "
                               f"{most}: say it in fewer words")
        ids = torch.tensor(encoded.ids[self.grammar.image_tokens:], device=self.device)
        embeddings = torch.cat([features, self._embed(ids[None])], 1)
        words = np.flatnonzero(encoded.words)
        rows = torch.tensor([*words, len(encoded.ids) - 1], device=self.device)
        probe = Probe(tuple(layers), rows)
        cache = DynamicCache()
        hidden = self._decoder(embeddings, cache, start=0, probe=probe)[0, -1]
        maps = prompt_maps([probe.weights[layer][0] for layer in layers], self.grid).cpu().numpy()
        said = tuple(encoded.ids[i] for i in words)
        return Prefill(tuple(layers), maps, cache, embeddings.shape[1], said, self._logits(hidden), hidden.float())

    @torch.inference_mode()
    def log_odds_to_ask(self, logits: Tensor) -> float:
        """Log odds that the decoder's first suffix token is the condition: the paper's autoregressive way to decide. P is
        kept 1e-6 away from 0 and 1. logits float32[vocabulary] of that token, as in `Prefill`."""
        return float(logits.softmax(-1)[self.grammar.clarify].logit(eps=1e-6))

    @torch.inference_mode()
    def question(self, prefill: Prefill) -> Question:
        """The likeliest text after the condition token; only plain text can come out. Greedy decoding, which is guessed from
        earlier questions, has found it when its probability is above one half; else a beam search looks for it."""
        spoken, logp = self._say(self.grammar.clarify, prefill.branch(), prefill.length, MAX_QUESTION, self._drafts)
        if logp < math.log(0.5):
            spoken, logp = max((spoken, logp), self._search(prefill, BEAMS), key=lambda said: said[1])
        return Question(self.grammar.text(spoken), math.exp(logp))

    @torch.inference_mode()
    def another_question(self, prefill: Prefill, refused: Callable[[str], bool]) -> Question | None:
        """The likeliest question that is not refused; None when the beam search meets none, or an unlikely one."""
        spoken, logp = self._search(prefill, MORE_BEAMS, lambda tokens: refused(self.grammar.text(tokens)), math.log(UNLIKELY))
        whole = 0 < len(spoken) < MAX_QUESTION  # a longer one was cut off
        return Question(self.grammar.text(spoken), math.exp(logp)) if whole else None

    def _search(self, prefill: Prefill, width: int, refused: Callable[[list[int]], bool] = lambda _: False,
                least: float = -math.inf) -> tuple[list[int], float]:
        """The likeliest text after the condition token that a beam of that width finds, and its log probability; the prefill's
        cache stays as it is."""
        cache, position = together(prefill.branch()), itertools.count(prefill.length)

        def step(tokens: list[int], rows: list[int]) -> Tensor:
            cache.reorder_cache(torch.tensor(rows, device=self.device))
            embeddings = self._embed(torch.tensor(tokens, device=self.device)[:, None])
            return self._only_text(self._logits(self._decoder(embeddings, cache, next(position))[:, -1])).log_softmax(-1)
        return likeliest(step([self.grammar.clarify], [0])[0], step, self.grammar.eos, width, MAX_QUESTION, refused,
                        least)

    @torch.inference_mode()
    def locate(self, prefill: Prefill, size: tuple[int, int], near: Box | None = None) -> Grounding:
        """Four location tokens, the best of those that make a box: y2 below y1, x2 right of x1. size: (width, height).
        near: a box whose corners are within 8 % of the image of those wanted."""
        cache, first = prefill.branch(), self.grammar.first_location
        logits, numbers, confidence = prefill.logits, [], 0.0
        for corner in range(4):
            lowest = numbers[corner - 2] + 1 if corner >= 2 else 0
            highest = LOCATIONS if corner >= 2 else LOCATIONS - 1
            if near is not None:
                about = box_to_locations(near, size)[corner]
                lowest = max(lowest, min(about - NEAR, highest - 1))
                highest = max(lowest + 1, min(highest, about + NEAR + 1))
            logp = logits[first:first + LOCATIONS].log_softmax(-1)
            number = lowest + int(logp[lowest:highest].argmax())
            confidence += interval_probability(logp, number)
            numbers.append(number)
            if corner < 3:
                logits = self._steps([first + number], cache, prefill.length + corner)[0]
        guess = (*self._labels.echo(prefill.words), self.grammar.eos)
        words, _ = self._say(first + numbers[-1], cache, prefill.length + 3, MAX_LABEL, self._labels, guess)
        label = self.grammar.text(words).partition(";")[0].strip()  # what follows is the next instance
        return Grounding(locations_to_box(tuple(numbers), size), confidence / 4, label)

    @torch.inference_mode()
    def instances(self, prefill: Prefill, size: tuple[int, int], most: int = 8) -> tuple[Box, ...]:
        """The boxes a `detect X` prompt is answered with, by free greedy decoding: at every token first whether it is a location,
        then which; what makes no box is left out."""
        first = int(self._locations_together(prefill.logits[None]).argmax())
        said = [first]
        if first != self.grammar.eos:
            said += self._say(first, prefill.branch(), prefill.length, most * (4 + MAX_LABEL), self._drafts, plain=False)[0]
        numbers = [t - self.grammar.first_location for t in said]
        boxes, start = [], 0
        while start + 4 <= len(numbers) and len(boxes) < most:
            four = tuple(numbers[start:start + 4])
            whole = all(0 <= n < LOCATIONS for n in four)
            if whole and (box := locations_to_box(four, size)):
                boxes.append(box)
            start += 4 if whole else 1
        return tuple(boxes)

    def _say(self, token: int, cache: DynamicCache, position: int, most: int, drafts: Drafts, guess: Sequence[int] = (), *,
             plain: bool = True) -> tuple[list[int], float]:
        """Greedy decoding after `token`, which goes to `position`: up to `most` tokens, without the end, and the log probability
        of them with it. guess: how it may begin. plain: of text only."""
        said, logp = [token], []
        while len(said) <= most:
            guess = (guess if len(said) == 1 and guess else drafts.propose(said))[:most - len(said)]
            logits = self._steps([said[-1], *guess], cache, position)
            allowed = self._only_text(logits) if plain else self._locations_together(logits)
            best = allowed.argmax(-1).tolist()
            right = next((k for k, (g, b) in enumerate(zip(guess, best)) if g != b), len(guess))
            if right < len(guess):
                cache.crop(right - len(guess))  # forget the keys of the wrong part; minus the number to drop
            said += best[:right + 1]
            logp += allowed[:right + 1].log_softmax(-1).amax(-1).tolist()
            position += right + 1
            if self.grammar.eos in said:
                said = said[:said.index(self.grammar.eos) + 1]
                break
        drafts.remember(said)
        return [t for t in said[1:] if t != self.grammar.eos], sum(logp[:len(said) - 1])

    def _only_text(self, logits: Tensor) -> Tensor:
        """Forbid, in place, every token that is no plain text, except the end. logits float[n, vocabulary]."""
        logits[:, self._no_text] = -torch.inf
        return logits

    def _locations_together(self, logits: Tensor) -> Tensor:
        """The likeliest location weighs as much as all of them: P is spread over neighbours, each of which may be less likely
        than a word that all of them together outweigh. A copy of logits float[n, vocabulary]."""
        logits = logits.clone()
        places = logits[:, self.grammar.first_location:self.grammar.first_location + LOCATIONS]
        places += places.logsumexp(-1, keepdim=True) - places.amax(-1, keepdim=True)
        return logits

    # -- the decoder ---------------------------------------------------------------------------------------------

    def _embed(self, ids: Tensor) -> Tensor:
        return self.model.get_input_embeddings()(ids)

    def _decoder(self, embeddings: Tensor, cache: DynamicCache, start: int, probe: Probe | None = None) -> Tensor:
        """Hidden states of new tokens, float[1, T, d]: of the prefix, which may all look at each other, or of a suffix,
        which look back only and at the cache."""
        count = embeddings.shape[1]
        positions = torch.arange(start + 1, start + count + 1, device=self.device)[None]  # PaliGemma counts from 1
        mask = None  # nothing is hidden
        if start and count > 1:
            mask = embeddings.new_full((1, 1, count, start + count), torch.finfo(embeddings.dtype).min).triu(start + 1)
        return self.model.model.language_model(
            inputs_embeds=embeddings, position_ids=positions, past_key_values=cache, use_cache=True, probe=probe,
            attention_mask={"full_attention": mask, "sliding_attention": mask}).last_hidden_state

    def _steps(self, tokens: Sequence[int], cache: DynamicCache, position: int) -> Tensor:
        """Logits after each of some more suffix tokens, float32[len(tokens), vocabulary]."""
        embeddings = self._embed(torch.tensor([list(tokens)], device=self.device))
        return self._logits(self._decoder(embeddings, cache, position)[0])

    def _logits(self, hidden: Tensor) -> Tensor:
        """float32[..., vocabulary], soft-capped where the model says so."""
        return attention.soft_capped(self.model.lm_head(hidden).float(),
                                     getattr(self.model.config.get_text_config(), "final_logit_softcapping", None))


def together(cache: DynamicCache) -> DynamicCache:
    """A cache that may be reordered, while the keys and values of the old one stay as they are."""
    twin = copy.copy(cache)
    twin.layers = [copy.copy(layer) for layer in cache.layers]
    return twin


def interval_probability(logp: Tensor, number: int, half: int = 20) -> float:
    """Probability mass within +-2 % of the image around a location: a neighbouring token is no other object."""
    return float(logp[max(number - half, 0):number + half + 1].exp().sum())


def use_probed_attention(model: PaliGemmaForConditionalGeneration) -> None:
    """The text model's attention becomes ours; the vision tower keeps transformers' fastest."""
    model.model.language_model.config._attn_implementation = attention.NAME
