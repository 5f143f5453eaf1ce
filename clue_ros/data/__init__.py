"""Readers and batches: from scenes on disk to what a model is trained on."""
