"""Proves from a model's graph that the rows of a batch are independent. Runs nothing."""
