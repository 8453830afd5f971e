"""A file system in a file, for machines whose own can't hold container images well.

Below most containers and chroots the root is an overlay, on which the kernel mounts no other overlay. containerd then
copies the whole image for each pod (its native snapshotter): 50 s a pod, where two are usual.
"""

from pathlib import Path
from typing import Final

from corefit_devcluster.mounts import on_overlay
from corefit_devcluster.run import run, succeeds

SIZE: Final = 32 << 30
"""Bytes of the file, which takes only what is written to it."""


def for_images(data: Path) -> Path | None:
    """The file that is mounted where containerd keeps images, made where it is not there yet.

    Args:
        data: the cluster's folder for data.

    Returns:
        The file; None where the folder's own file system can hold an overlay, or this machine mounts no files.
    """
    if not on_overlay(data):
        return None
    disk = data / "containerd.ext4"
    if not disk.exists():
        data.mkdir(parents=True, exist_ok=True)
        with disk.open("wb") as file:
            file.truncate(SIZE)
        run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1", disk])
    # Not every container lets its root mount a file. The trial ends with the namespace, and so does its loop device.
    return disk if succeeds(["unshare", "--mount", "--propagation", "private", *mounting(disk, data)]) else None


def mounting(disk: Path, folder: Path) -> list[str]:
    """The command that mounts it."""
    return ["mount", "-o", "loop,noatime", str(disk), str(folder)]
