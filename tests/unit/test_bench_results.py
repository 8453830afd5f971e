"""The bench's results: parts that were run at different times stand beside each other."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def modules(bench: Callable[[str], ModuleType]) -> dict[str, ModuleType]:
    """What is tested."""
    return {name: bench(f"runtime.{name}") for name in ("harness", "results")}


def findings(folder: Path) -> dict[str, float]:
    runs = json.loads((folder / "results.json").read_text())
    return {f["experiment"]: f["value"] for run in runs for f in run["findings"]}


def test_a_part_that_is_run_anew_replaces_its_own_results_only(tmp_path: Path, modules: dict[str, Any]) -> None:
    def save(*, keep: bool, **found: float) -> None:
        bench = modules["harness"].Bench(quick=True, server_cpu=0, client_cpu=1, folder=tmp_path)
        for experiment, value in found.items():
            bench.found(experiment, "rate", value, at_least=1.0)
            bench.details[experiment] = {"ours": [modules["harness"].Window(rate=1, cpu_s=1, foreign=0)]}
        modules["results"].save(bench, tmp_path, keep=keep)

    save(keep=True, speed=1.0, load=2.0)
    save(keep=True, load=3.0)
    assert findings(tmp_path) == {"speed": 1.0, "load": 3.0}
    assert (tmp_path / "results.png").stat().st_size > 0
    save(keep=False, load=4.0)
    assert findings(tmp_path) == {"load": 4.0}
