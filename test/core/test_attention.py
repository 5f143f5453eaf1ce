"""The probe is transformers' own eager attention, and prefix and suffix see what PaliGemma lets them see."""

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from clue_ros.data.collate import collate, encode
from clue_ros.detector.network import DetectorSettings, channels_of
from clue_ros.training.dialog import batch_maps, with_adapter
from clue_ros.training.forward import run
from clue_ros.types import Frame, Prompt
from clue_ros.vlm.attention import Probe, attention_weights, prefix_mask
from clue_ros.vlm.paligemma import MAX_QUESTION, NEAR, Vlm, text_to_image
from clue_ros.vlm.preprocess import to_pixel_values
from clue_ros.vlm.tokens import box_to_locations, locations_to_box


def prefix_inputs(vlm: Vlm, frame: Frame, prompt: Prompt):
    encoded = vlm.grammar.prefix(prompt)
    ids = torch.tensor(encoded.ids)
    pixels = torch.from_numpy(to_pixel_values(frame.rgb, vlm.side))
    return encoded, {"input_ids": ids[None], "pixel_values": pixels[None], "attention_mask": torch.ones_like(ids)[None],
                     "token_type_ids": torch.zeros_like(ids)[None]}


@pytest.mark.parametrize("softcap", [None, 50.0])
def test_probe_equals_transformers_eager_attention(tiny, frame, softcap):
    vlm = Vlm(tiny(softcap=softcap), tiny.tokenizer)
    prompt = Prompt("pick up the red mug")
    prefill = vlm.prefill(vlm.encode(frame), prompt, layers=(0, 2))
    encoded, inputs = prefix_inputs(vlm, frame, prompt)
    vlm.model.model.language_model.config._attn_implementation = "eager"
    with torch.inference_mode():
        eager = vlm.model(**inputs, output_attentions=True)
    rows = np.flatnonzero(encoded.words)
    want = torch.stack([text_to_image(eager.attentions[layer][0][:, of], vlm.grammar.image_tokens)
                        for layer in (0, 2) for of in (rows, [-1])])
    got = torch.from_numpy(prefill.maps).flatten(0, 1).flatten(2)
    assert torch.allclose(got, want, atol=1e-5)
    assert torch.allclose(prefill.logits, eager.logits[0, -1], atol=1e-4)


@pytest.mark.parametrize("closing", [False, True])
def test_a_padded_batch_in_training_has_the_maps_of_each_prompt(tiny, frame, some_examples, closing):
    vlm = Vlm(tiny(), tiny.tokenizer)
    batch = collate([encode(example, vlm.grammar) for example in some_examples], vlm.grammar.pad)
    batch |= {"pixel_values": torch.from_numpy(to_pixel_values(frame.rgb, vlm.side))[None],
              "look": torch.zeros(len(some_examples), vlm.grid ** 2)}
    channels = 2 * (1 + closing) * vlm.model.config.get_text_config().num_attention_heads
    settings = DetectorSettings((1, 2), channels, vlm.grid, closing=closing)
    with torch.inference_mode():
        together = batch_maps(run(vlm.model, batch, settings.layers), batch, settings)
    for got, example in zip(together, some_examples, strict=True):
        maps = vlm.prefill(vlm.encode(frame), example.prompt, settings.layers).maps
        want = channels_of(maps, closing=closing)
        assert want.shape == (channels, vlm.grid, vlm.grid) and np.allclose(got, want, atol=1e-5)
        assert np.array_equal(want[:len(want) // (2 * (1 + closing))], maps[0, 0])


def test_one_prefill_serves_every_branch_in_any_order(tiny, frame):
    vlm = Vlm(tiny(), tiny.tokenizer)
    prompt = Prompt("the mug")
    fresh = lambda: vlm.prefill(vlm.encode(frame), prompt, (1,))  # noqa: E731
    question, box = vlm.question(fresh()), vlm.locate(fresh(), frame.size)
    shared = fresh()
    assert vlm.locate(shared, frame.size) == box
    assert vlm.question(shared) == question
    assert vlm.locate(shared, frame.size) == box


def test_cached_decoding_equals_one_uncached_pass(tiny, frame):
    vlm = Vlm(tiny(), tiny.tokenizer)
    prefill = vlm.prefill(vlm.encode(frame), Prompt("the mug"), (1,))
    suffix = [vlm.grammar.clarify, vlm.grammar.first_location + 5, vlm.grammar.first_location + 9]
    cache, cached = prefill.branch(), [prefill.logits]
    with torch.inference_mode():
        for step, token in enumerate(suffix):
            cached.append(vlm._steps([token], cache, prefill.length + step)[0])
    encoded, inputs = prefix_inputs(vlm, frame, Prompt("the mug"))
    ids = torch.cat([inputs["input_ids"], torch.tensor([suffix])], 1)
    inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids),
               "token_type_ids": (torch.arange(ids.shape[1]) >= len(encoded.ids)).long()[None]}
    with torch.inference_mode():
        whole = vlm.model(**inputs).logits[0, -len(suffix) - 1:]
        together = vlm._steps(suffix, prefill.branch(), prefill.length)
    assert torch.allclose(torch.stack(cached), whole, atol=1e-4)
    assert torch.allclose(together, whole[1:], atol=1e-4)


def test_guesses_change_the_number_of_passes_and_no_word(tiny, frame):
    vlm = Vlm(tiny(), tiny.tokenizer)
    prefill = vlm.prefill(vlm.encode(frame), Prompt("the mug"), (1,))
    passes = []
    decoder, vlm._decoder = vlm._decoder, lambda e, *a: (passes.append(e.shape[1]), decoder(e, *a))[1]

    @torch.inference_mode()
    def greedy():
        return vlm._say(vlm.grammar.clarify, prefill.branch(), prefill.length, MAX_QUESTION, vlm._drafts)
    plain, logp = greedy()
    alone = len(passes)
    assert set(passes) == {1}
    assert greedy() == (plain, pytest.approx(logp, abs=1e-3)) and len(passes) - alone < alone / 2
    vlm._drafts.propose = lambda said: (said[-1], 0, 1)  # wrong from some token on
    assert greedy() == (plain, pytest.approx(logp, abs=1e-3))


@pytest.mark.parametrize("gain, searches", [(1.0, True), (1000.0, False)])
def test_a_question_is_searched_for_unless_greedy_decoding_has_surely_found_the_likeliest(tiny, frame, gain, searches):
    vlm = Vlm(tiny(), tiny.tokenizer)
    logits, vlm._logits = vlm._logits, lambda hidden: gain * logits(hidden)
    prefill = vlm.prefill(vlm.encode(frame), Prompt("the mug"), (1,))
    found, search = [], vlm._search
    vlm._search = lambda *given: found.append(search(*given)) or found[-1]
    question = vlm.question(prefill)
    assert bool(found) == searches
    with torch.inference_mode():
        greedy, sure = vlm._say(vlm.grammar.clarify, prefill.branch(), prefill.length, MAX_QUESTION, vlm._drafts)
    if not searches:
        assert question.text == vlm.grammar.text(greedy)
        return

    @torch.inference_mode()
    def likelihood(text):
        said = [*text, vlm.grammar.eos][:MAX_QUESTION]
        steps = vlm._steps([vlm.grammar.clarify, *said[:-1]], prefill.branch(), prefill.length)
        return float(vlm._only_text(steps).log_softmax(-1)[range(len(said)), said].sum())
    (text, logp), = found
    assert likelihood(text) == pytest.approx(logp, abs=1e-2) and likelihood(greedy) == pytest.approx(sure, abs=1e-2)
    assert question.text == vlm.grammar.text(text if logp > likelihood(greedy) else greedy)


def test_a_label_is_guessed_from_the_prompt_and_stays_what_it_was(tiny, frame):
    vlm = Vlm(tiny(), tiny.tokenizer)
    prefill = vlm.prefill(vlm.encode(frame), Prompt("the mug"), (1,))
    plain = vlm.locate(prefill, frame.size)
    for guess in ((), prefill.words, (0, 1)):
        vlm._labels.echo = lambda words, guess=guess: guess
        assert vlm.locate(prefill, frame.size) == plain


def test_a_box_is_found_again_near_itself(tiny, frame):
    vlm = Vlm(tiny(), tiny.tokenizer)
    prefill = vlm.prefill(vlm.encode(frame), Prompt("the mug"), (1,))
    found = vlm.locate(prefill, frame.size)
    assert vlm.locate(prefill, frame.size, near=found.box) == found


@pytest.mark.parametrize("numbers", [(0, 0, 10, 10), (500, 300, 700, 350), (1000, 1000, 1023, 1023), (5, 1020, 6, 1023)])
def test_near_a_box_no_corner_is_far_from_its_own(tiny, frame, numbers):
    vlm = Vlm(tiny(), tiny.tokenizer)
    prefill = vlm.prefill(vlm.encode(frame), Prompt("the mug"), (1,))
    found = box_to_locations(vlm.locate(prefill, frame.size, near=locations_to_box(numbers, frame.size)).box, frame.size)
    assert all(abs(a - b) <= NEAR + 1 for a, b in zip(found, numbers)) and found[0] < found[2] and found[1] < found[3]


def test_image_features_are_computed_once_for_a_frame_key(tiny, frame):
    vlm = Vlm(tiny(), tiny.tokenizer)
    assert vlm.encode(frame) is vlm.encode(frame)
    assert vlm.encode(Frame(frame.rgb, key="k")) is vlm.encode(Frame(frame.rgb.copy(), key="k"))
    other = Frame(255 - frame.rgb)
    assert not torch.equal(vlm.encode(other), vlm.encode(frame))


def test_a_nearer_view_is_the_middle_of_the_frame(tiny, frame):
    vlm = Vlm(tiny(), tiny.tokenizer)
    rows, columns = (round(length / 1.25 / 2) for length in frame.rgb.shape[:2])
    y, x = (length // 2 for length in frame.rgb.shape[:2])
    near = Frame(np.ascontiguousarray(frame.rgb[y - rows:y + rows, x - columns:x + columns]))
    assert torch.equal(vlm.encode(frame, 1.25), vlm.encode(near)) and torch.equal(vlm.encode(frame, 1.0), vlm.encode(frame))
    assert not torch.equal(vlm.encode(frame, 1.25), vlm.encode(frame))


def test_a_fresh_lora_changes_nothing(tiny, frame):
    vlm = Vlm(tiny(), tiny.tokenizer)
    want = vlm.prefill(vlm.encode(frame), Prompt("the mug"), (1,))
    adapted = with_adapter(tiny())
    trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert trainable == tiny.lora_parameters(rank=16)
    vlm = Vlm(adapted.eval().merge_and_unload(), tiny.tokenizer)
    got = vlm.prefill(vlm.encode(frame), Prompt("the mug"), (1,))
    assert torch.allclose(got.logits, want.logits, atol=1e-6) and np.allclose(got.maps, want.maps, atol=1e-6)


def test_boxes_are_always_boxes(tiny):
    vlm, rng = Vlm(tiny(), tiny.tokenizer), np.random.default_rng(0)
    for _ in range(20):
        frame = Frame(rng.integers(0, 256, (48, 64, 3), np.uint8))
        found = vlm.locate(vlm.prefill(vlm.encode(frame), Prompt("x"), (0,)), frame.size)
        assert 0 <= found.box.x1 < found.box.x2 <= 64 and 0 <= found.box.y1 < found.box.y2 <= 48
        assert 0 <= found.score <= 1


def test_every_sequence_has_its_own_picture(tiny, some_examples):
    """Two pictures, two prompts each, in one batch: the maps are those of single prefills."""
    vlm, rng = Vlm(tiny(), tiny.tokenizer), np.random.default_rng(1)
    frames = [Frame(rng.integers(0, 256, (48, 64, 3), np.uint8)) for _ in range(2)]
    chosen = some_examples[:4]
    batch = collate([encode(example, vlm.grammar) for example in chosen], vlm.grammar.pad)
    batch |= {"pixel_values": torch.stack([torch.from_numpy(to_pixel_values(f.rgb, vlm.side)) for f in frames]),
              "look": torch.zeros(4, vlm.grid ** 2)}
    settings = DetectorSettings((1,), vlm.model.config.get_text_config().num_attention_heads, vlm.grid)
    with torch.inference_mode():
        together = batch_maps(run(vlm.model, batch, settings.layers), batch, settings)
    for k, (got, example) in enumerate(zip(together, chosen)):
        mine, other = (vlm.prefill(vlm.encode(frames[f]), example.prompt, settings.layers).maps[0, 0] for f in (k // 2, 1 - k // 2))
        assert np.allclose(got, mine, atol=1e-5) and not np.allclose(got, other, atol=1e-4)


def test_black_is_minus_one_and_white_is_one():
    pixels = to_pixel_values(np.array([[[0, 0, 0]], [[255, 255, 255]]], np.uint8).repeat(2, 1), 2)
    assert pixels.shape == (3, 2, 2) and (pixels[:, 0] == -1).all() and (pixels[:, 1] == 1).all()


def test_attention_weights_are_the_formula():
    q, k = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 5, 4)
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * 0.5
    want = torch.softmax(torch.tanh(scores / 50) * 50, -1)
    assert torch.allclose(attention_weights(q, k, None, 0.5, 50.0), want, atol=1e-6)


def test_prefix_mask_is_the_drawn_example():
    drawn = ["111000", "111000", "111000", "111100", "111110", "111110"]
    mask = prefix_mask(torch.tensor([3]), torch.tensor([5]), 6, torch.float32)[0, 0]
    assert ["".join("1" if v == 0 else "0" for v in row) for row in mask] == drawn


def test_a_probe_keeps_only_the_layers_asked_for(tiny, frame):
    vlm = Vlm(tiny(), tiny.tokenizer)
    probe = Probe((1,))
    embeddings = torch.randn(1, 6, 48)
    with torch.inference_mode():
        vlm._decoder(embeddings, DynamicCache(), 0, probe)
    assert set(probe.weights) == {1} and torch.allclose(probe.weights[1].sum(-1), torch.ones(()), atol=1e-5)
