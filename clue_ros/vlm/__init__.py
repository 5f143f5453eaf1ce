"""PaliGemma: preprocessing, tokens, loading, prefill with captured attention, decoding."""
