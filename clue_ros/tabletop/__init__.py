"""The synthetic tabletop: scenes, rendering, language, questions, the oracle and the dataset writer."""
