"""CPU time by the kernel's books: of processes, of cores, and of what others took of them. Measures nothing itself."""

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_BUSY: Final = (0, 1, 2, 5, 6)
"""user, nice, system, irq, softirq in a line of /proc/stat; steal is column 7."""
_STEAL: Final = 7
_CPUCLOCK_SCHED: Final = 2
"""The clock of what the scheduler has given, in the kernel's numbering of the clocks of processes."""


class CoreTime(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds since boot that a core was busy, and that the hypervisor gave to others."""

    busy_s: float
    steal_s: float


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of processes and the cores that they run on."""

    at_s: float
    process_s: float
    waited_s: float
    core: CoreTime


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Between two marks: wall time, the processes' CPU, and how much of a core others kept from them."""

    wall_s: float
    cpu_s: float
    foreign: float


def process_cpu_s(pid: int) -> float:
    """User and system time of all threads of a process, ended ones included.

    By the process's own clock, which counts nanoseconds (clock_getcpuclockid(3); /proc has ticks of 10 ms, 0.5 % of a
    window of 2 s).
    """
    return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)


def waited_s(pid: int) -> float:
    """How long the process's living threads had work and no core: others were on it, or another thread of their own."""
    waited = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            waited += int((task / "schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    return waited


def core_time(cpu: int) -> CoreTime:
    """The books of one core."""
    line = next(
        line for line in Path("/proc/stat").read_text(encoding="ascii").splitlines() if line.startswith(f"cpu{cpu} ")
    )
    ticks = [int(field) for field in line.split()[1:]]
    return CoreTime(busy_s=sum(ticks[i] for i in _BUSY) * _TICK_S, steal_s=ticks[_STEAL] * _TICK_S)


def mark(pids: Iterable[int], cpus: Iterable[int]) -> Mark:
    """A reading now, of these processes and of the cores that they may use."""
    cores = [core_time(cpu) for cpu in cpus]
    together = CoreTime(busy_s=sum(c.busy_s for c in cores), steal_s=sum(c.steal_s for c in cores))
    pids = list(pids)
    return Mark(
        at_s=time.monotonic(),
        process_s=sum(process_cpu_s(pid) for pid in pids),
        waited_s=sum(waited_s(pid) for pid in pids),
        core=together,
    )


def spent(before: Mark, after: Mark) -> Spent:
    """What was spent between two marks.

    What others took is at most the cores' busy time that isn't the processes', and at most the time that these waited:
    others who run while a core would be idle disturb nobody. What the hypervisor took is added.
    """
    wall = max(1e-9, after.at_s - before.at_s)
    own = after.process_s - before.process_s
    busy = after.core.busy_s - before.core.busy_s
    steal = after.core.steal_s - before.core.steal_s
    taken = min(busy - own, after.waited_s - before.waited_s)
    return Spent(wall_s=wall, cpu_s=own, foreign=(max(0.0, taken) + steal) / wall)


def memory_bytes(pid: int, field: str = "VmRSS") -> int:
    """A line of /proc/PID/status in bytes: VmRSS now, VmHWM at most."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/{pid}/status has no {field}")
