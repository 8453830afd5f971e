"""CPU time by the kernel's books: of a process, of a core, and of what others took of it. Reads /proc only."""

import os
import time
from pathlib import Path
from typing import Final

import msgspec

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_BUSY: Final = (0, 1, 2, 5, 6)
"""user, nice, system, irq, softirq in a line of /proc/stat; steal is column 7."""
_STEAL: Final = 7


class CoreTime(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds since boot that a core was busy, and that the hypervisor gave to others."""

    busy_s: float
    steal_s: float


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a process and its core."""

    at_s: float
    process_s: float
    core: CoreTime


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Between two marks: wall time, the process's CPU, and the share of the core that others took."""

    wall_s: float
    cpu_s: float
    foreign: float


def process_cpu_s(pid: int) -> float:
    """User and system time of all threads of a process, ended ones included."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def core_time(cpu: int) -> CoreTime:
    """The books of one core."""
    line = next(
        line for line in Path("/proc/stat").read_text(encoding="ascii").splitlines() if line.startswith(f"cpu{cpu} ")
    )
    ticks = [int(field) for field in line.split()[1:]]
    return CoreTime(busy_s=sum(ticks[i] for i in _BUSY) * _TICK_S, steal_s=ticks[_STEAL] * _TICK_S)


def mark(pid: int, cpu: int) -> Mark:
    """A reading now."""
    return Mark(at_s=time.monotonic(), process_s=process_cpu_s(pid), core=core_time(cpu))


def spent(before: Mark, after: Mark) -> Spent:
    """What was spent between two marks. Others' share is the core's busy time less the process's, plus steal."""
    wall = max(1e-9, after.at_s - before.at_s)
    own = after.process_s - before.process_s
    busy = after.core.busy_s - before.core.busy_s
    steal = after.core.steal_s - before.core.steal_s
    return Spent(wall_s=wall, cpu_s=own, foreign=max(0.0, busy - own + steal) / wall)


def memory_bytes(pid: int, field: str = "VmRSS") -> int:
    """A line of /proc/PID/status in bytes: VmRSS now, VmHWM at most."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/{pid}/status has no {field}")
