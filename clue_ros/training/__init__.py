"""The three recipes: base (detection mixture from scratch), ivg (LoRA dialog), ambiguity (LoRA and CNN detector)."""
