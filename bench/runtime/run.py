"""Starts the bench from a checkout: bench/ is no installed package, so the root goes onto the path first."""

import importlib
import os
import sys
from pathlib import Path


def main() -> int:
    """Make `bench` importable, for the processes that we start as well, and run."""
    root = str(Path(__file__).resolve().parents[2])
    sys.path[0] = root
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return int(importlib.import_module("bench.runtime.main").main())


if __name__ == "__main__":
    raise SystemExit(main())
