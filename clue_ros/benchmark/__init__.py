"""How fast is one decision, beside plain transformers on the same weights."""
