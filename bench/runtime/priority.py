"""Puts the bench ahead of what else runs on its cores, as far as it may. What it starts inherits that."""

import contextlib
import ctypes
import os
import platform
from pathlib import Path
from typing import Final

_FIRST: Final = -20
_SLICE_NS: Final = 100_000
"""The shortest that the kernel takes: who has a shorter slice need not wait for the end of another's (1.4 ms on two
cores), which would be a tail of the neighbours' and not of the server's."""
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
_SCHED_OTHER: Final = 0


class _Attributes(ctypes.Structure):
    """`struct sched_attr` of sched_setattr(2); `runtime` is the slice where the policy is the ordinary one."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def session_first() -> None:
    """In a new process: niceness counts inside a session only where the kernel groups by it, so the group is moved.

    Each process has a group of its own: the weight of one is divided by where its load is, and a client that mostly
    waits would get none of it.
    """
    if os.getpriority(os.PRIO_PROCESS, 0) != _FIRST:
        return
    with contextlib.suppress(OSError):
        if os.getsid(0) != os.getpid():
            os.setsid()
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_FIRST), encoding="ascii")


def never_wait() -> None:
    """In a new process that runs seldom and shortly, the client: ahead of ordinary ones, no slice to wait for."""
    if os.getpriority(os.PRIO_PROCESS, 0) == _FIRST:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def go_first() -> None:
    """Others' share of our cores falls from half to a hundredth, and they leave them at once when we wake."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _FIRST)
    number = _SCHED_SETATTR.get(platform.machine())
    if number is not None:
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        wanted = _Attributes(ctypes.sizeof(_Attributes), _SCHED_OTHER, 0, nice, 0, _SLICE_NS, 0, 0)
        ctypes.CDLL(None).syscall(number, 0, ctypes.byref(wanted), 0)
