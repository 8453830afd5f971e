"""One arena a run, made when the first test asks for it; needs no root and no cluster, only Kubernetes' programs."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.arena import Arena
from faults.operators import Nursery

from corefit_operator.main import open_files


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
