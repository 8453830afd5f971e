"""The Corefit runtime: serves ONNX within the cores it is granted."""

__version__ = "0.1.0"
"""As in pyproject.toml, which a test compares: to ask importlib.metadata takes 20 ms of CPU at each start."""
