"""A cgroup with a CPU quota, for one program that runs on this machine without a cluster.

It lies below the cgroup that this process is in (on v2 at the root of what is visible, where controllers can be
handed down), so that what limits us limits the program too. cgroups(7); Documentation/admin-guide/cgroup-v2.rst.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from corefit_devcluster import cgroups
from corefit_devcluster.errors import DevclusterError, UnsupportedHostError

PERIOD_MICROSECONDS = 100_000


def locate(name: str, proc_cgroup: str, mountinfo: str) -> cgroups.Layout:
    """Decide where the cgroup goes: in the one tree that limits CPU. Pure."""
    layout = cgroups.locate(f"quota-{name}", proc_cgroup, mountinfo)
    if layout.unified_only:
        return layout
    limiting = [tree for tree in layout.hierarchies if "cpu" in tree.kind.split(",")]
    if not limiting:
        raise UnsupportedHostError("no cgroup tree with a cpu controller is mounted")
    own = next((line for line in proc_cgroup.splitlines() if "cpu" in line.split(":")[1].split(",")), "0:cpu:/")
    inside = PurePosixPath(own.split(":", 2)[2])
    visible = (limiting[0].mount / str(inside).lstrip("/")).is_dir()
    root = (inside if visible else PurePosixPath("/")) / layout.root.name
    return replace(layout, root=root, hierarchies=(limiting[0],))


def grant(name: str, millicores: int, say: Callable[[str], None]) -> Path:
    """Make the cgroup, or change its quota; return the file that a process writes its number to.

    Raises:
        DevclusterError: this user or machine can't have such a cgroup; the message says why.
    """
    layout = _layout(name)
    try:
        cgroups.make(layout, say)
        folder = layout.folders()[0]
        microseconds = millicores * PERIOD_MICROSECONDS // 1000
        if layout.unified_only:
            (folder / "cpu.max").write_text(f"{microseconds} {PERIOD_MICROSECONDS}")
        else:
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (folder / "cpu.cfs_quota_us").write_text(str(microseconds))
    except OSError as error:
        raise DevclusterError(f"cannot make a cgroup with a CPU quota: {error.strerror} ({error.filename})") from error
    return folder / "cgroup.procs"


def remove(name: str) -> None:
    """Remove the cgroup, once its processes have ended; nothing happens when there is none."""
    cgroups.remove(_layout(name).folders(), [])


def _layout(name: str) -> cgroups.Layout:
    return locate(name, Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
