"""The CPU granted to this process: cgroup quota (v1 and v2, nested) and affinity mask.

A container's own view is used: `/proc/self/cgroup` says which cgroup, `/proc/self/mountinfo` where its hierarchy
is mounted. Limits nest, so the smallest on the way up to the mount wins. The parsers are pure; only `Cgroup`
reads files, and it keeps them open, since the poll that looks for a resize runs ten times a second.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from corefit_core.sizing import Grant

ReadText = Callable[[str], str]
PROC_SELF: Final = Path("/proc/self")
LOOKS_MISSING: Final = 100
"""After so many looks, ten seconds, a file that was missing is looked for again."""


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """One mounted cgroup hierarchy that can limit CPU.

    Attributes:
        version: 1 or 2.
        mount: where it is mounted.
        root: which cgroup of the host is visible at the mount (`/` unless bind-mounted or namespaced).
        path: the cgroup of this process, as `/proc/self/cgroup` names it.
    """

    version: int
    mount: PurePosixPath
    root: PurePosixPath
    path: PurePosixPath

    def folders(self) -> Iterator[PurePosixPath]:
        """The process's cgroup and its parents, up to the mount."""
        try:
            inside = self.path.relative_to(self.root)
        except ValueError:
            # The process was moved, or the mount shows another subtree: only what is mounted can be read.
            inside = PurePosixPath()
        if ".." in inside.parts:
            inside = PurePosixPath()
        for part in (inside, *inside.parents):
            yield self.mount / part


@dataclass(frozen=True, kw_only=True)
class Throttling:
    """CFS bandwidth accounting of the process's own cgroup since it was made."""

    periods: int = 0
    seconds: float = 0.0


class KeptFiles:
    """Reads small files of /sys that stay open: one system call a look, and none for those that aren't there.

    Opened for each look, with the CPU's caches full of a model's weights, they took a sixth of the event loop's time.
    """

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}
        self._missing: dict[str, int] = {}

    def __call__(self, path: str) -> str:
        """The file's text now."""
        if looks := self._missing.get(path, 0):
            self._missing[path] = looks - 1
            raise FileNotFoundError(path)
        descriptor = self._descriptors.get(path)
        if descriptor is None:
            descriptor = self._opened(path)
        try:
            return os.pread(descriptor, 4096, 0).decode()
        except OSError:
            self._forget(path)
            raise

    def close(self) -> None:
        """Closes what is open."""
        for path in list(self._descriptors):
            self._forget(path)

    def _opened(self, path: str) -> int:
        try:
            descriptor = self._descriptors[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._missing[path] = LOOKS_MISSING
            raise
        return descriptor

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
    return Throttling(periods=int(values["nr_throttled"]), seconds=seconds)


def parse_hierarchies(cgroup: str, mountinfo: str) -> list[Hierarchy]:
    """The hierarchies with a CPU controller, from the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`.

    On a hybrid system both v1 and v2 are mounted; the files that are missing tell later which one limits.
    """
    paths = {}
    for line in cgroup.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            paths[2] = PurePosixPath(path)
        elif "cpu" in controllers.split(","):
            paths[1] = PurePosixPath(path)
    return [h for h in (_mount(line, paths) for line in mountinfo.splitlines()) if h is not None]


def _mount(line: str, paths: dict[int, PurePosixPath]) -> Hierarchy | None:
    # proc(5): ID parent major:minor root mount-point options [optional...] - type source super-options
    before, _, after = line.partition(" - ")
    fields, rest = before.split(), after.split()
    if len(fields) < 5 or len(rest) < 3:
        return None
    version = {"cgroup2": 2, "cgroup": 1}.get(rest[0])
    if version is None or version not in paths or (version == 1 and "cpu" not in rest[2].split(",")):
        return None
    root, mount = (PurePosixPath(f.replace("\\040", " ")) for f in fields[3:5])
    return Hierarchy(version=version, mount=mount, root=root, path=paths[version])


def _millicores(quota_us: int, period_us: int) -> int:
    return max(1, quota_us * 1000 // period_us)


_QUOTA: Final = {1: ("cpu.cfs_quota_us", "cpu.cfs_period_us"), 2: ("cpu.max",)}


class Cgroup:
    """Reads the limits of this process."""

    def __init__(self, hierarchies: list[Hierarchy], read: ReadText) -> None:
        self._read = read
        folders = [(h.version, f) for h in hierarchies for f in h.folders()]
        self._quotas = [(v, [str(f / name) for name in _QUOTA[v]]) for v, f in folders]
        self._stats = [str(f / "cpu.stat") for _, f in folders]

    @classmethod
    def of_process(cls, proc: Path = PROC_SELF) -> "Cgroup":
        """The cgroups of this process; none where `/proc` doesn't say (then only the affinity mask counts)."""
        try:
            hierarchies = parse_hierarchies((proc / "cgroup").read_text(), (proc / "mountinfo").read_text())
        except OSError:
            hierarchies = []
        return cls(hierarchies, KeptFiles())

    def quota_millicores(self) -> int | None:
        """The smallest quota on the way up; None when there is none."""
        quotas = [q for version, files in self._quotas if (q := self._quota(version, files)) is not None]
        return min(quotas, default=None)

    def throttling(self) -> Throttling:
        """Of the innermost cgroup that counts it."""
        for path in self._stats:
            try:
                found = parse_throttling(self._read(path))
            except (OSError, ValueError):
                continue
            if found is not None:
                return found
        return Throttling()

    def _quota(self, version: int, files: list[str]) -> int | None:
        try:
            texts = [self._read(path) for path in files]
            return parse_cpu_max(*texts) if version == 2 else parse_cfs(*texts)
        except (OSError, ValueError):
            # The root cgroup has no such file, and one that is being removed reads as an error.
            return None


def current(cgroup: Cgroup, cpus: int | None = None) -> Grant:
    """The grant now: quota, affinity mask, and the `--cpus` (millicores) that the user asks us to keep to."""
    quotas = [q for q in (cgroup.quota_millicores(), cpus) if q is not None]
    return Grant(quota_millicores=min(quotas, default=None), cpus=len(os.sched_getaffinity(0)))
