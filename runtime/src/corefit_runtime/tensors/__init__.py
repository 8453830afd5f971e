"""Tensors: datatypes, shapes, names. Knows neither protocol nor engine."""
