"""Load generator and control plane go before the pods: they stand for other machines, and share the two cores of this.

Niceness counts within a session where the kernel groups by it (sched(7), autogroup), and among sessions by the group's.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from corefit_devcluster import keeper
from corefit_devcluster.paths import Home

NICE: Final = -15


def control_plane(cluster: str, environment: Mapping[str, str]) -> None:
    """For as long as the cluster lives."""
    found = keeper.find(Home.of(environment).cluster(cluster))
    if found is None:
        raise LookupError(f"cluster {cluster} is not up")
    for process in Path("/proc").iterdir():
        # Shims of containers are among them; what runs in a container is in a cgroup, which is weighed by itself.
        if process.name.isdigit() and _parent(process) == found.supervisor:
            _prefer(process, NICE)


@contextlib.contextmanager
def generator() -> Iterator[None]:
    """While the block runs: this process, and its session before others."""
    level = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    _prefer(Path("/proc/self"), NICE)
    try:
        yield
    finally:
        _prefer(Path("/proc/self"), 0)
        os.setpriority(os.PRIO_PROCESS, 0, level)


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _prefer(process: Path, nice: int) -> None:
    # Not there where the kernel does not group by sessions.
    with contextlib.suppress(OSError):
        (process / "autogroup").write_text(str(nice), encoding="ascii")
