"""One arena a run, made when the first test asks for it; needs no root and no cluster, only Kubernetes' programs."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.arena import Arena
from faults.operators import Nursery


@pytest.fixture(scope="session")
def arena() -> Iterator[Arena]:
    nursery = Nursery()
    try:
        with tempfile.TemporaryDirectory() as folder, Arena(Path(folder), nursery) as made:
            yield made
    finally:
        nursery.close()
