"""Sentences of the specification, tried on whatever Hypothesis can think of."""
