"""A small tokenizer for models trained from scratch: byte-level BPE on the tabletop's language, plus PaliGemma's
special tokens, all 1,024 location tokens and the condition token. Any text can be written in it, byte by byte if need be.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from clue_ros.vlm.tokens import CLARIFY, LOCATIONS

LOCATION_TOKENS = tuple(f"<loc{i:04d}>" for i in range(LOCATIONS))
SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<image>", CLARIFY)


def train_tokenizer(texts: Iterable[str], vocabulary: int = 2048) -> PreTrainedTokenizerFast:
    """A tokenizer whose merges are learned from `texts`; common words become one token each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[*SPECIAL, *LOCATION_TOKENS], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>",
        additional_special_tokens=["<image>", CLARIFY, *LOCATION_TOKENS], clean_up_tokenization_spaces=False,
        padding_side="right", model_max_length=1024)
