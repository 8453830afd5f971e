"""Where the pods' cgroups go, on cgroup v1 and v2.

The pods must stay below a cgroup that this machine accounts to us: on v1 the one that the memory controller has our
own process in, on v2 the root of what we see. `locate` is pure; `make` and `remove` touch the file system.
"""

import errno
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from corefit_devcluster.deadlines import stretched
from corefit_devcluster.errors import DevclusterError, UnsupportedHostError

# A killed process may still be leaving its cgroup; seconds until that is an error, and between two looks.
REMOVE_SECONDS = 120.0
LOOK_AGAIN_SECONDS = 0.05
# Without these no pod can have requests and limits.
LEAST = frozenset({"cpu", "memory", "pids"})
# Those of the offered ones that the kubelet does not start without (pkg/kubelet/cm/cgroup_v2_manager_linux.go).
KUBELETS = LEAST | {"cpuset", "hugetlb"}


@dataclass(frozen=True)
class Hierarchy:
    """One mounted tree of cgroups.

    Attributes:
        kind: a v1 controller ("memory", "name=systemd") or "unified".
        mount: where it is mounted.
    """

    kind: str
    mount: Path


@dataclass(frozen=True)
class Layout:
    """Where the cluster's cgroup is.

    Attributes:
        root: its path below every mount point: what the kubelet is given as --cgroup-root.
        hierarchies: the trees in which it has to exist.
        unified_only: whether this is pure cgroup v2.
    """

    root: PurePosixPath
    hierarchies: tuple[Hierarchy, ...]
    unified_only: bool

    def folders(self) -> list[Path]:
        """The cluster's cgroup in each tree."""
        return [hierarchy.mount / str(self.root).lstrip("/") for hierarchy in self.hierarchies]


@dataclass(frozen=True)
class _Mount:
    root: str
    point: Path
    kind: str
    controllers: frozenset[str]


def locate(name: str, proc_cgroup: str, mountinfo: str) -> Layout:
    """Decide where the cgroup of a cluster goes, from the texts of /proc/self/cgroup and /proc/self/mountinfo."""
    mounts = _parse_mounts(mountinfo)
    leaf = f"corefit-{name}"
    v1 = [mount for mount in mounts if mount.kind == "cgroup"]
    if not any("memory" in mount.controllers for mount in v1):
        return _unified(leaf, mounts)
    memory = next(mount for mount in v1 if "memory" in mount.controllers)
    own = _below_mount(_parse_own(proc_cgroup)["memory"], memory.root)
    trees = [Hierarchy(",".join(sorted(mount.controllers)), mount.point) for mount in v1]
    trees += [Hierarchy("unified", mount.point) for mount in mounts if mount.kind == "cgroup2"]
    return Layout(own / leaf, tuple(trees), unified_only=False)


def _unified(leaf: str, mounts: Sequence[_Mount]) -> Layout:
    found = next((mount for mount in mounts if mount.kind == "cgroup2"), None)
    if found is None:
        raise UnsupportedHostError(
            "no cgroup tree with a memory controller is mounted", hint="Mount one: mount -t cgroup2 none /sys/fs/cgroup"
        )
    return Layout(PurePosixPath("/") / leaf, (Hierarchy("unified", found.point),), unified_only=True)


def _parse_mounts(mountinfo: str) -> list[_Mount]:
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            fields = before.split(" ")
            controllers = frozenset(options.split(",")) - {"rw", "ro", "xattr", "clone_children"}
            mounts.append(_Mount(fields[3], Path(fields[4]), kind, controllers))
    return mounts


def _parse_own(proc_cgroup: str) -> dict[str, str]:
    own = {}
    for line in proc_cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    return own


def _below_mount(path: str, mount_root: str) -> PurePosixPath:
    """Translate a cgroup's path into one below the mount point.

    In a container the file shows the host's path while the mount starts at the container's own level (its root field
    is that same path), or lies outside of what is visible: then we are at the mount's root.
    """
    with suppress(ValueError):
        return PurePosixPath("/") / PurePosixPath(path).relative_to(mount_root)
    return PurePosixPath("/")


def make(layout: Layout, say: Callable[[str], None]) -> list[Path]:
    """Create the cluster's cgroup in every tree; return the parents that did not exist before.

    UnsupportedHostError when this machine does not let us; `say` is given what is worth knowing and no error.
    """
    created = []
    for hierarchy in layout.hierarchies:
        if layout.unified_only:
            _delegate(hierarchy.mount, say)
        folder = hierarchy.mount
        for part in layout.root.parts[1:]:
            parent, folder = folder, folder / part
            if not folder.exists():
                folder.mkdir()
                created.append(folder)
            if "cpuset" in hierarchy.kind.split(","):
                _inherit_cpuset(parent, folder)
    own = set(layout.folders())
    return [folder for folder in created if folder not in own]


def _inherit_cpuset(parent: Path, folder: Path) -> None:
    """Copy what a v1 cpuset needs before anything may run in it; a new one starts empty."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not (folder / name).read_text().strip():
            (folder / name).write_text((parent / name).read_text())


def _delegate(mount: Path, say: Callable[[str], None]) -> None:
    """Hand every v2 controller that there is down from the root: which ones the kubelet wants, versions decide."""
    offered = (mount / "cgroup.controllers").read_text().split()
    lacking = LEAST - set(offered)
    if lacking:
        raise UnsupportedHostError(
            f"{mount} offers no {', '.join(sorted(lacking))} controller",
            hint="In a container: start it with the host's cgroup namespace, or with these controllers delegated.",
        )
    refused = _hand_down(mount, offered)
    for name in sorted(KUBELETS & set(refused)):
        raise _not_handed_down(mount, name, refused[name]) from refused[name]
    if refused:
        reasons = ", ".join(f"{name} ({error.strerror})" for name, error in sorted(refused.items()))
        say(f"Pods go without these cgroup controllers, which {mount} does not hand down: {reasons}")


def _hand_down(mount: Path, controllers: Sequence[str]) -> dict[str, OSError]:
    """Hand controllers to the cgroups below; return those that the kernel refuses, with its reasons."""
    try:
        _control(mount, " ".join(f"+{name}" for name in controllers))
    except OSError:  # The kernel takes all of them or none: one by one tells which it refuses.
        refused = {}
        for name in controllers:
            try:
                _control(mount, f"+{name}")
            except OSError as error:
                refused[name] = error
        return refused
    return {}


def _control(mount: Path, text: str) -> None:
    (mount / "cgroup.subtree_control").write_text(text)


def _not_handed_down(mount: Path, name: str, error: OSError) -> UnsupportedHostError:
    if error.errno == errno.EBUSY:
        return UnsupportedHostError(
            f"processes live in {mount} itself, so that controllers cannot be handed to cgroups below it",
            hint=f"In a container, move them once:  mkdir {mount}/init; "
            f"for p in $(cat {mount}/cgroup.procs); do echo $p > {mount}/init/cgroup.procs; done",
        )
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return UnsupportedHostError(
            f"{mount} may not be written to ({error.strerror}), so that the pods get no cgroups",
            hint="In a container: start it with --privileged, or with a cgroup file system that is writable.",
        )
    return UnsupportedHostError(
        f"the kernel does not hand the cgroup controller {name} down from {mount}: {error.strerror}",
        hint="The kubelet does not start without it. Processes with a real-time scheduling policy, for one, keep the "
        "cpu controller where it is (Documentation/admin-guide/cgroup-v2.rst).",
    )


def remove(folders: Sequence[Path], parents: Sequence[Path]) -> None:
    """Remove the cluster's cgroups with all below them, then those parents that are empty and unused."""
    for folder in folders:
        for below, _, _ in os.walk(folder, topdown=False):
            _remove_one(Path(below))
    for parent in sorted(parents, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):  # in use: another cluster's, or somebody else's by now
            parent.rmdir()


def _remove_one(folder: Path) -> None:
    deadline = time.monotonic() + stretched(REMOVE_SECONDS)
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise DevclusterError(f"cannot remove the cgroup {folder}: {error.strerror}") from error
            time.sleep(LOOK_AGAIN_SECONDS)  # the kernel has no event for "the last exiting task has left" on v1
        else:
            return
