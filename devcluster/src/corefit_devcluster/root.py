"""Makes the root folder of a process the root of its mount namespace. Linux alone; needs root's rights.

Below a chroot the two differ, and whatever enters the namespace by setns(2) finds itself at the namespace's root: so
does `runc exec`, whose commands would see the files of the machine around the chroot instead of the container's.
"""

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from corefit_devcluster.errors import StartError

CLONE_NEWNS: Final = 0x00020000
MS_REC: Final = 0x4000
MS_SLAVE: Final = 1 << 19
MNT_DETACH: Final = 2
SYS_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
"""The number of pivot_root(2), for which the C library has no function, by `os.uname().machine`."""


def take_namespace_root() -> None:
    """Turn the mount namespace of this process around, so that the root of the process is the root of the namespace.

    Call it in a mount namespace of one's own, whose mounts propagate to no other, before threads are started.

    Raises:
        StartError: the root folder is not a mount point, so that it can't be the root of a namespace.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    ours = os.open("/", os.O_DIRECTORY)
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    try:
        _check(libc.setns(namespace, CLONE_NEWNS), "setns")  # a process that enters a namespace gets its root
        theirs = os.open("/", os.O_DIRECTORY)
        try:
            if _mount(ours) != _mount(theirs):
                _pivot(libc, ours, theirs)
        finally:
            os.close(theirs)
        os.chdir("/")
    finally:
        os.close(namespace)
        os.close(ours)


def _pivot(libc: ctypes.CDLL, ours: int, theirs: int) -> None:
    """The way that pivot_root(2) describes for a new root without a folder for the old one."""
    os.fchdir(ours)
    try:
        _check(libc.syscall(SYS_PIVOT_ROOT.get(os.uname().machine, -1), b".", b"."), "pivot_root")
    except OSError as error:
        with suppress(OSError):
            os.chroot(".")
        raise StartError(
            f"the cluster can't start below this chroot ({error}). The folder of a chroot must be a mount point: run "
            "'mount --bind FOLDER FOLDER' on the machine before 'chroot FOLDER'"
        ) from error
    os.fchdir(theirs)
    _check(libc.mount(None, b".", None, MS_SLAVE | MS_REC, None), "mount")
    _check(libc.umount2(b".", MNT_DETACH), "umount2")


def _mount(descriptor: int) -> str:
    """The mount that a descriptor is on; two mounts of one folder have the same inode. See proc_pid_fdinfo(5)."""
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    return next(line for line in lines if line.startswith("mnt_id:"))


def _check(result: int, name: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
