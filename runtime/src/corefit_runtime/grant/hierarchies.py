"""Where the kernel shows a process's cgroups: parsers of `/proc/self/cgroup` and `/proc/PID/mountinfo`. Pure.

proc(5), cgroups(7) and Documentation/admin-guide/cgroup-v2.rst describe the texts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

ROOT: Final = PurePosixPath("/")


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

    @property
    def inside(self) -> PurePosixPath | None:
        """The process's cgroup below the mount; None when the mount shows other cgroups only."""
        try:
            inside = self.path.relative_to(self.root)
        except ValueError:
            return None
        return None if ".." in inside.parts else inside

    @property
    def own(self) -> PurePosixPath:
        """The folder of the process's cgroup, where the mount shows it."""
        return next(self.folders())

    def folders(self) -> Iterator[PurePosixPath]:
        """The process's cgroup and its parents, up to the mount; the mount alone when it shows other cgroups only."""
        inside = self.inside or PurePosixPath()
        for part in (inside, *inside.parents):
            yield self.mount / part


def parse_paths(cgroup: str) -> dict[int, PurePosixPath]:
    """The cgroup of the process in the hierarchies that can limit CPU, by version, from `/proc/self/cgroup`."""
    paths = {}
    for line in cgroup.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            paths[2] = PurePosixPath(path)
        elif "cpu" in controllers.split(","):
            paths[1] = PurePosixPath(path)
    return paths


def parse_hierarchies(cgroup: str, mountinfo: str, root: PurePosixPath = ROOT) -> list[Hierarchy]:
    """The hierarchies with a CPU controller, from the texts of `/proc/self/cgroup` and a process's `mountinfo`.

    On a hybrid system both v1 and v2 are mounted; the files that are missing tell later which one limits. Of several
    mounts of one hierarchy those count that show the process's own cgroup.

    Args:
        cgroup: text of `/proc/self/cgroup`.
        mountinfo: text of the process's `mountinfo`.
        root: where the root of the process whose mounts these are can be reached.
    """
    paths = parse_paths(cgroup)
    found = [h for h in (_mount(line, paths, root) for line in mountinfo.splitlines()) if h is not None]
    shown = {h.version for h in found if h.inside is not None}
    return [h for h in found if h.inside is not None or h.version not in shown]


def _mount(line: str, paths: dict[int, PurePosixPath], reached: PurePosixPath) -> Hierarchy | None:
    # proc(5): ID parent major:minor root mount-point options [optional...] - type source super-options
    before, _, after = line.partition(" - ")
    fields, rest = before.split(), after.split()
    if len(fields) < 5 or len(rest) < 3:
        return None
    version = {"cgroup2": 2, "cgroup": 1}.get(rest[0])
    if version is None or version not in paths or (version == 1 and "cpu" not in rest[2].split(",")):
        return None
    root, mount = (_unescaped(field) for field in fields[3:5])
    return Hierarchy(version=version, mount=reached / mount.lstrip("/"), root=PurePosixPath(root), path=paths[version])


def _unescaped(field: str) -> str:
    """A path as it is: the kernel writes space, tab, newline and backslash as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
