"""Inference engines: what the runtime wants of one, and one module for each that it knows."""
