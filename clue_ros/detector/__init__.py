"""The light CNN that reads attention maps: is the instruction ambiguous, and which objects might be meant."""
