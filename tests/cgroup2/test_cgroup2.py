"""Both halves of Corefit on a real cgroup v2: the runtime's quota, and a whole cluster with `digits`, in a machine.

`make test-cgroup2` runs it; it takes an hour or two. Variables: COREFIT_CGROUP2_FOLDER keeps the machine's files there
(the root file system is then made once), COREFIT_CGROUP2_ONLY=tests or =cluster runs one half.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cgroup2.machine import Machine, interpreter
from rich.console import Console

from corefit_devcluster import contexts, needs
from corefit_devcluster.build import Builder
from corefit_devcluster.host import program
from corefit_devcluster.images import ImageBuilder
from corefit_devcluster.paths import Home
from corefit_devcluster.programs import FAMILIES
from corefit_devcluster.progress import Reporter

DEADLINE_S = 4 * 3600.0
SCALE = 10
"""Emulated, a start of the cluster takes six minutes where nothing else runs on the host, and far more elsewhere."""
TESTS = {"network", "runtime-tests"}
CLUSTER = {"network", "up", "hugetlb", "load-images", "operator", "digits", "answers", "resize", "down", "gone"}

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(DEADLINE_S + 3600)]


@pytest.fixture
def folder() -> Iterator[Path]:
    kept = os.environ.get("COREFIT_CGROUP2_FOLDER")
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        yield Path(kept)
        return
    # Not in /tmp, which may be in memory: the disk takes 5 GB.
    made = Path(tempfile.mkdtemp(prefix="corefit-cgroup2-", dir="/var/tmp"))
    yield made
    shutil.rmtree(made)


def test_the_runtime_and_a_cluster_on_cgroup_v2(folder: Path) -> None:
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and root")
    only = os.environ.get("COREFIT_CGROUP2_ONLY", "")
    home, reporter = Home.of(os.environ), Reporter(Console(stderr=True))
    found = {name: program(name, reporter) for name in needs.MACHINE}
    copied = [Path(contexts.WORKSPACE), *interpreter()]
    archives: list[Path] = []
    if only != "tests":
        programs = Builder(home, reporter, []).ensure(FAMILIES)
        archives = ImageBuilder(home, reporter).ensure()
        copied += [*{path.parent for path in programs.values()}, *archives]
    machine = Machine(folder, found, lambda line: print(f"{time.strftime('%H:%M:%S')} {line}", flush=True))
    machine.make(copied)
    result = machine.run(
        {
            "CHECKOUT": str(contexts.WORKSPACE),
            "HOME": os.environ["HOME"],
            "XDG_CACHE_HOME": str(home.cache.parents[1]),
            "ARCHIVES": " ".join(map(str, archives)),
            "SCALE": str(SCALE),
            "ONLY": only,
        },
        DEADLINE_S,
    )
    print(*result.figures, *(f"{name}: {how}" for name, how in result.steps.items()), sep="\n")
    wanted = {"": TESTS | CLUSTER, "tests": TESTS, "cluster": CLUSTER}[only]
    assert result.ended, "the machine did not come to the end of its script"
    assert {name for name, (status, _) in result.steps.items() if status == 0} >= wanted
