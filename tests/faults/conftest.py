"""One arena a run, made when the first test asks for it; needs no root and no cluster, only Kubernetes' programs."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from faults.arena import Arena
from faults.operators import Nursery

from corefit_operator.main import open_files

Prepare = Callable[[Arena, list[str]], Any]


@pytest.fixture(scope="session")
def arena() -> Iterator[Arena]:
    if sys.platform != "linux":
        why_not = pytest.fail if os.environ.get("CI") else pytest.skip
        why_not("a control plane of its own needs Linux, where all of 127.0.0.0/8 is the machine's")
    open_files()
    nursery = Nursery()
    try:
        with tempfile.TemporaryDirectory() as folder, Arena(Path(folder), nursery) as made:
            yield made
    finally:
        nursery.close()


@pytest.fixture(scope="session")
def begun(request: pytest.FixtureRequest, arena: Arena) -> Iterator[Mapping[Prepare, Future[Any]]]:
    """What the tests that were selected look at, begun all at once with the first of them.

    `begun(prepare=...)` marks a test: `prepare` is called once, with the `name` of each test that it is for. Most of
    such work is waiting for nothing to happen, which goes as well for two hundred runs as for one.
    """
    wanted: dict[Prepare, list[str]] = {}
    for item in request.session.items:
        mark = item.get_closest_marker("begun")
        if mark is not None:
            parameters = getattr(item, "callspec", None)
            wanted.setdefault(mark.kwargs["prepare"], []).extend(parameters.params.values() if parameters else ())
    with ThreadPoolExecutor(max(1, len(wanted))) as pool:
        yield {prepare: pool.submit(prepare, arena, names) for prepare, names in wanted.items()}


@pytest.fixture
def outcomes(request: pytest.FixtureRequest, begun: Mapping[Prepare, Future[Any]]) -> Any:
    """What came of the work that the test is marked with."""
    mark = request.node.get_closest_marker("begun")
    assert mark is not None
    return begun[mark.kwargs["prepare"]].result()


@pytest.fixture
def calm(begun: Mapping[Prepare, Future[Any]]) -> None:
    """Nothing of that goes on any more: for a test that looks at the time."""
    wait(begun.values())
