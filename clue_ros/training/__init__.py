"""The recipes: base (detection mixture from scratch), further (goes on with one), ivg (LoRA dialog), ambiguity (LoRA and CNN
detector)."""
