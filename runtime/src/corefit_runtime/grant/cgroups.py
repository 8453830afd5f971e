"""The CPU granted to this process: cgroup quota (v1 and v2, nested) and affinity mask.

A container's own view is used: `/proc/self/cgroup` says which cgroup, `/proc/self/mountinfo` where its hierarchy
is mounted. Limits nest, so the smallest on the way up to the mount wins. The parsers are pure; only `Cgroup`
reads files, and it keeps them open, since the poll that looks for a resize runs ten times a second.

cgroups(7) and Documentation/admin-guide/cgroup-v2.rst describe the files. On v2 they come and go while a process
runs: `cpu.max` exists only while the parent hands the cpu controller down, and systemd takes the controller away
with the last quota.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from corefit_core.sizing import Grant
from corefit_runtime.grant.hierarchies import ROOT, Hierarchy, parse_hierarchies, parse_paths

ReadText = Callable[[str], str]
PROC: Final = Path("/proc")
FIRST_NAMESPACE: Final = 0xEFFFFFFB
"""Inode number of the kernel's first cgroup namespace (include/uapi/linux/nsfs.h): its root is the real root."""


@dataclass(frozen=True, kw_only=True)
class Throttling:
    """CFS bandwidth accounting of the process's own cgroup: monotonic, whatever the kernel does to its counters.

    Attributes:
        counted: whether the kernel has counted for this cgroup at any time; if not, the figures mean nothing.
    """

    periods: int = 0
    seconds: float = 0.0
    counted: bool = False

    def and_since(self, earlier: "Throttling", now: "Throttling") -> "Throttling":
        """This sum, with what came between two looks; counters that fell have begun anew at 0."""
        if now.periods < earlier.periods or now.seconds < earlier.seconds:
            earlier = Throttling()
        return Throttling(
            periods=self.periods + (now.periods - earlier.periods),
            seconds=self.seconds + (now.seconds - earlier.seconds),
            counted=True,
        )


class KeptFiles:
    """Reads small files of /sys that stay open: one system call a look.

    Opened for each look, with the CPU's caches full of a model's weights, they took a sixth of the event loop's time.
    A file that is missing is looked for each time (14 us): a quota that comes later is seen at the next look.
    """

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}

    def __call__(self, path: str) -> str:
        """The file's text now.

        Raises:
            OSError: there is no such file, or it can't be read.
        """
        if path in self._descriptors:
            try:
                return self._text(path)
            except OSError:
                # Its controller was taken away (ENODEV). It may be back by now, with another file of the same name.
                self._forget(path)
        self._descriptors[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return self._text(path)
        except OSError:
            self._forget(path)
            raise

    def close(self) -> None:
        """Closes what is open."""
        for path in list(self._descriptors):
            self._forget(path)

    def _text(self, path: str) -> str:
        return os.pread(self._descriptors[path], 4096, 0).decode()

    def _forget(self, path: str) -> None:
        os.close(self._descriptors.pop(path))


def parse_cpu_max(text: str) -> int | None:
    """Millicores from cgroup v2's `cpu.max`, `"150000 100000"`; None for `"max 100000"`."""
    quota, _, period = text.strip().partition(" ")
    if quota == "max":
        return None
    return _millicores(int(quota), int(period or 100_000))


def parse_cfs(quota: str, period: str) -> int | None:
    """Millicores from cgroup v1's `cpu.cfs_quota_us` and `cpu.cfs_period_us`; None for a quota of -1."""
    return _millicores(int(quota), int(period)) if int(quota) > 0 else None


def parse_throttling(text: str) -> Throttling | None:
    """From `cpu.stat`: v2 counts `throttled_usec`, v1 `throttled_time` in nanoseconds.

    None where nothing is counted: v2 has the file without a CPU controller too, which on a hybrid system is v1's.
    """
    values = dict(line.split(maxsplit=1) for line in text.splitlines() if " " in line)
    if "nr_throttled" not in values:
        return None
    seconds = int(values.get("throttled_usec", 0)) / 1e6 + int(values.get("throttled_time", 0)) / 1e9
    return Throttling(periods=int(values["nr_throttled"]), seconds=seconds, counted=True)


def _millicores(quota_us: int, period_us: int) -> int:
    return max(1, quota_us * 1000 // period_us)


_QUOTA: Final = {1: ("cpu.cfs_quota_us", "cpu.cfs_period_us"), 2: ("cpu.max",)}
_ALWAYS: Final = {1: "cpu.shares", 2: "cgroup.controllers"}
"""A file that a cgroup has whatever its limits: where it can't be read, neither can a limit."""


class Cgroup:
    """Reads the limits of this process.

    Args:
        hierarchies: where to look.
        read: reads a file.
        unknown: why there may be a quota that can't be read here, and what to do; empty when what is read is all.
    """

    def __init__(self, hierarchies: list[Hierarchy], read: ReadText, *, unknown: str = "") -> None:
        self.unknown = unknown
        self._read = read
        folders = [(h.version, f) for h in hierarchies for f in h.folders()]
        self._quotas = [(v, [str(f / name) for name in _QUOTA[v]]) for v, f in folders]
        self._stats = [str(h.own / "cpu.stat") for h in hierarchies if h.inside is not None]
        self._seen: dict[str, Throttling] = {}
        self._throttled = Throttling()

    @classmethod
    def of_process(cls, proc: Path = PROC) -> "Cgroup":
        """The cgroups of this process; only the affinity mask counts where none can be read."""
        read = KeptFiles()
        hierarchies, unknown = _find(proc, read)
        return cls(hierarchies, read, unknown=unknown)

    def quota_millicores(self) -> int | None:
        """The smallest quota on the way up; None when there is none."""
        quotas = [q for version, files in self._quotas if (q := self._quota(version, files)) is not None]
        return min(quotas, default=None)

    def throttling(self) -> Throttling:
        """Of the process's own cgroup: never of a parent's, which counts the siblings' as well.

        Where the controller is taken away the counters stay as they were; once it is back they go on from there.
        """
        for path in self._stats:
            try:
                now = parse_throttling(self._read(path))
            except (OSError, ValueError):
                continue
            if now is None:
                self._seen.pop(path, None)  # The next controller counts from 0.
                continue
            self._throttled = self._throttled.and_since(self._seen.get(path, Throttling()), now)
            self._seen[path] = now
        return self._throttled

    def _quota(self, version: int, files: list[str]) -> int | None:
        try:
            texts = [self._read(path) for path in files]
            return parse_cpu_max(*texts) if version == 2 else parse_cfs(*texts)
        except (OSError, ValueError):
            # A cgroup without the controller has no such file, nor has the root; one that is removed reads as an error.
            return None


def _find(proc: Path, read: ReadText) -> tuple[list[Hierarchy], str]:
    """Where this process's limits can be read, and why there may be some that can't: empty when there are none."""
    try:
        cgroup = (proc / "self" / "cgroup").read_text()
    except OSError as error:
        return [], _unknown(f"{error.filename}: {error.strerror}")
    paths = parse_paths(cgroup)
    deciding = min(paths, default=0)  # A v1 hierarchy with the cpu controller leaves v2 without it.
    own = _mounted(cgroup, proc / "self" / "mountinfo", ROOT)
    if not paths or _is_readable(own, deciding, read):
        return own, ""
    # Without a mount of its own (a chroot, a mount namespace) the process may see that of process 1.
    first = _mounted(cgroup, proc / "1" / "mountinfo", PurePosixPath(proc) / "1" / "root")
    if _is_readable(first, deciding, read):
        return first, ""
    path = paths[deciding]
    if path == ROOT and _in_first_namespace(proc):
        return own, ""  # The root cgroup of the machine has no quota.
    return own, _unknown(f"no mount shows its cgroup {path}" if own else "no cgroup file system is mounted")


def _unknown(why: str) -> str:
    return (
        f"whether a CPU quota limits this process is unknown ({why}): "
        "mount the cgroup file system at /sys/fs/cgroup, or set --cpus to the limit"
    )


def _mounted(cgroup: str, mountinfo: Path, root: PurePosixPath) -> list[Hierarchy]:
    try:
        return parse_hierarchies(cgroup, mountinfo.read_text(), root)
    except OSError:  # Process 1 may be another user's.
        return []


def _is_readable(hierarchies: list[Hierarchy], version: int, read: ReadText) -> bool:
    """Whether the process's cgroup in the hierarchy of this version can be read: mounts may hide mounts."""
    for hierarchy in hierarchies:
        if hierarchy.version == version and hierarchy.inside is not None:
            with contextlib.suppress(OSError):
                read(str(hierarchy.own / _ALWAYS[hierarchy.version]))
                return True
    return False


def _in_first_namespace(proc: Path) -> bool:
    try:
        return (proc / "self" / "ns" / "cgroup").stat().st_ino == FIRST_NAMESPACE
    except OSError:
        return False


def current(cgroup: Cgroup, cpus: int | None = None) -> Grant:
    """The grant now: quota, affinity mask, and the `--cpus` (millicores) that the user asks us to keep to."""
    quotas = [q for q in (cgroup.quota_millicores(), cpus) if q is not None]
    return Grant(quota_millicores=min(quotas, default=None), cpus=len(os.sched_getaffinity(0)))
