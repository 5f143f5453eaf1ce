"""One decision (image and instruction in, ask-or-locate out), ours beside plain transformers, interleaved in one process.

The peer does what a user of transformers would write: `generate` with eager attention and `output_attentions=True` for
the maps, the same detector on the same layer, and a second `generate`, with as many beams, for the question when it has to ask.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from clue_ros.data import examples
from clue_ros.data.scenes import SceneImages
from clue_ros.detector.network import Detector, View, channels_of
from clue_ros.dialog import Dialog
from clue_ros.model_folder import find, load, load_vlm
from clue_ros.types import Ambiguity, Frame, InputError
from clue_ros.vlm.paligemma import BEAMS, MAX_QUESTION, prompt_maps
from clue_ros.vlm.preprocess import middle, to_pixel_values


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one way to decide, one a frame."""

    name: str
    milliseconds: np.ndarray

    def row(self, reference: float) -> str:
        """A Markdown row: median, p95, and how many times the reference's median."""
        median, p95 = np.percentile(self.milliseconds, [50, 95])
        return f"| {self.name} | {median:.1f} | {p95:.1f} | {reference / median:.2f} |"


class Plain:
    """The same weights through transformers' own `generate`."""

    def __init__(self, model: Path, detector: Detector, threshold: float, device: str = "cpu", dtype: str = "auto"):
        self.vlm = load_vlm(find(model), device, dtype)
        self.vlm.model.model.language_model.config._attn_implementation = "eager"
        self.detector, self.threshold = detector, threshold

    @torch.inference_mode()
    def decide(self, frame: Frame, instruction: str) -> tuple[Ambiguity, str]:
        """The verdict, and the text of the question or of the location tokens."""
        vlm, grammar, settings = self.vlm, self.vlm.grammar, self.detector.settings
        encoded = grammar.prefix(Dialog.start(instruction).prompt)
        ids, rows, views = torch.tensor([encoded.ids], device=vlm.device), [*np.flatnonzero(encoded.words), -1], []
        for zoom in self.detector.weighing.zooms[::-1]:
            pixels = torch.from_numpy(to_pixel_values(middle(frame.rgb, zoom), vlm.side))[None]
            inputs = {"pixel_values": pixels.to(vlm.device, vlm.model.dtype), "do_sample": False}
            first = vlm.model.generate(input_ids=ids, token_type_ids=torch.zeros_like(ids), max_new_tokens=8 if zoom == 1 else 1,
                                       output_attentions=True, output_logits=True, return_dict_in_generate=True, **inputs)
            maps = prompt_maps([first.attentions[0][layer][0][:, rows] for layer in settings.layers], vlm.grid).cpu().numpy()
            views.append(View(channels_of(maps, closing=settings.closing), vlm.log_odds_to_ask(first.logits[0][0])))
        verdict = self.detector.judge(views[::-1], frame.size, self.threshold)
        if not verdict.is_ambiguous:
            return verdict, vlm.grammar.tokenizer.decode(first.sequences[0, ids.shape[1]:])
        asking = torch.cat([ids, ids.new_tensor([[grammar.clarify]])], 1)
        types = torch.zeros_like(asking)
        types[0, -1] = 1
        asked = vlm.model.generate(input_ids=asking, token_type_ids=types, max_new_tokens=MAX_QUESTION, num_beams=BEAMS,
                                   length_penalty=0.0, **inputs)
        return verdict, grammar.text(asked[0, asking.shape[1]:].tolist())


def measure(model: str, data: Path, *, device: str = "cpu", dtype: str = "auto", runs: int = 200, warmup: int = 20, seed: int = 0,
            ) -> list[Timing]:
    """Both ways on the same frames in turn, clear and ambiguous instructions alike often; no scene again before all had their
    turn. device, dtype: as of `model_folder.load`. Both ways end with numbers on the CPU, so a GPU's work is in the time."""
    clue, source, rng = load(model, device, dtype), SceneImages(data), np.random.default_rng(seed)
    plain = Plain(find(model), clue.detector, clue.threshold, device, dtype)
    times: dict[str, list[float]] = {"plain transformers": [], "clue_ros": []}
    scenes = itertools.chain.from_iterable(rng.permutation(len(source)) for _ in itertools.count())
    done = drawn = 0
    with tqdm(total=runs + warmup, desc="decisions") as bar:
        while done < runs + warmup:
            if (drawn := drawn + 1) > 20 * (runs + warmup):
                raise InputError(f"{data} holds too few scenes about which both a clear and an ambiguous instruction can be "
                                 "given")
            rgb, scene = source[int(next(scenes))]
            example = (examples.ambiguous if done % 2 else examples.clear)(scene, rng, source.phrasing)
            if example is None:
                continue
            frame, text = Frame(rgb), example.prompt.instruction
            for name, decide in (("plain transformers", lambda: plain.decide(frame, text)),
                                 ("clue_ros", lambda: clue.look(frame, Dialog.start(text)))):
                start = time.perf_counter()
                decide()
                times[name].append((time.perf_counter() - start) * 1000)
            done += 1
            bar.update()
    return [Timing(name, np.array(values[warmup:])) for name, values in times.items()]


def table(timings: list[Timing]) -> str:
    """Markdown; the first timing is the reference."""
    reference = float(np.median(timings[0].milliseconds))
    head = ["| one decision | median ms | p95 ms | times as fast |", "|---|---|---|---|"]
    return "\n".join(head + [t.row(reference) for t in timings])
