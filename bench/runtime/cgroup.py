"""A CPU quota for a process, by the cgroup hierarchy that this machine has: v2's `cpu.max` or v1's `cpu` controller.

Needs root. Leaves nothing behind: the group is removed when the block ends.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

_PERIOD_US: Final = 100_000
_V2: Final = Path("/sys/fs/cgroup/cgroup.controllers")
_V1: Final = Path("/sys/fs/cgroup/cpu")
_REMOVE_S: Final = 10.0


class Group(msgspec.Struct, frozen=True):
    """A cgroup's folder."""

    path: Path

    def enter(self, pid: int) -> None:
        """Put a process into the group."""
        (self.path / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def throttled(self) -> tuple[int, int]:
        """Periods in which the group ran, and those of them in which it was stopped."""
        lines = (self.path / "cpu.stat").read_text(encoding="ascii").splitlines()
        counts = dict(line.split() for line in lines)
        return int(counts["nr_periods"]), int(counts["nr_throttled"])


@contextlib.contextmanager
def quota(millicores: int) -> Iterator[Group]:
    """A group that may use so much CPU, and gets it before others do: the niceness of its processes counts inside only.

    Raises:
        OSError: not allowed to make one, or there is no cpu controller.
    """
    root = Path("/sys/fs/cgroup") if _V2.exists() else _V1
    if _V2.exists() and "cpu" in _V2.read_text(encoding="ascii").split():
        (root / "cgroup.subtree_control").write_text("+cpu", encoding="ascii")
    path = root / f"corefit-bench-{os.getpid()}"
    path.mkdir()
    try:
        allowed = millicores * _PERIOD_US // 1000
        if _V2.exists():
            (path / "cpu.max").write_text(f"{allowed} {_PERIOD_US}", encoding="ascii")
            (path / "cpu.weight").write_text("10000", encoding="ascii")
        else:
            (path / "cpu.cfs_period_us").write_text(str(_PERIOD_US), encoding="ascii")
            (path / "cpu.cfs_quota_us").write_text(str(allowed), encoding="ascii")
            (path / "cpu.shares").write_text("262144", encoding="ascii")
        yield Group(path)
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    """The kernel frees a group a little after its last process: there is no event for it."""
    deadline = time.monotonic() + _REMOVE_S
    while True:
        try:
            path.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
