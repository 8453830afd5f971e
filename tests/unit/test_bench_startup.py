"""The parts of a pod's start: from what a watch saw, the runtime's own log and its report."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from corefit_runtime.process.logs import JsonFormatter


@pytest.fixture
def startup(bench: Callable[[str], ModuleType]) -> ModuleType:
    """What is tested."""
    return bench("startup.run")


def _line(message: str, at: float) -> dict[str, Any]:
    record = logging.LogRecord("corefit_runtime.process.app", logging.INFO, "", 0, message, None, None)
    record.created, record.msecs = at, 1000 * (at % 1)
    line: dict[str, Any] = json.loads(JsonFormatter().format(record))
    return line


def test_the_parts_add_up_to_the_whole(startup: ModuleType) -> None:
    at = {"PodScheduled": 1000.0, "PodReadyToStartContainers": 1000.5, "Ready": 1005.0}
    log = [
        _line("admin port 8081", 1001.5),
        _line("inference port 8080", 1002.5),
        _line("calibration: 1 rows on 1 threads: 8.000 ms", 1003.5),
        _line("ready after 3.70 s", 1004.5),
    ]
    start = startup._parts(at, log, 3.7)
    parts = {part: getattr(start, part) for part in startup.PARTS}
    assert parts == pytest.approx(
        {"sandbox": 0.5, "container": 0.3, "imports": 0.7, "libraries": 1.0, "model": 2.0, "probe": 0.5}, abs=0.01
    )
    assert start.total == pytest.approx(sum(parts.values()))


@pytest.mark.parametrize(("model", "cpu"), [("small", "250m"), ("large", "1500m")])
def test_only_the_large_model_is_a_file_on_the_node(startup: ModuleType, model: str, cpu: str) -> None:
    spec = startup._resource((model, cpu), Path("/var/tmp/x"))["spec"]
    assert (spec["startup"], spec["resources"]["cpu"]) == ({"cpu": cpu}, "250m")
    assert spec["model"]["uri"].startswith("file://" if model == "large" else "http://")
