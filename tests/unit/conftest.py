"""What several unit tests need."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench() -> Iterator[Callable[[str], ModuleType]]:
    """A module of bench/, which is no installed package: found from the root for the time of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield lambda name: importlib.import_module(f"bench.{name}")
        for name in [n for n in sys.modules if n == "bench" or n.startswith("bench.")]:
            patch.delitem(sys.modules, name)
