"""How many workers and threads fit into the CPU that is granted, and how many requests may wait for them.

Pure arithmetic: the operator runs it on the CPU limit of the resource, the runtime again on what it finds
granted and has measured. May not read cgroups, clocks or settings.

The problem: onnxruntime starts a thread for each of the host's physical cores, looking at neither the cgroup's
quota nor the affinity mask. More runnable threads than granted cores use up the quota early in each CFS period
(100 ms, Documentation/scheduler/sched-bwc.rst), and all of them are stopped for the rest of it.
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from corefit_core.errors import InvalidInput
from corefit_core.report import ServiceTime

CFS_PERIOD_S: Final = 0.1
"""Seconds: the kernel's and the kubelet's default period of a CPU quota."""
MIN_MILLICORES: Final = 100
"""Below a tenth of a core the imports alone (0.7 s of CPU) take longer than the start-up probe waits."""
ASSUMED_SERVICE_SHARE: Final = 0.2
"""Without a profile a run is taken to last a fifth of the objective; the runtime corrects it when it has measured."""
MAX_QUEUE_DEPTH: Final = 100_000
"""Each waiting request holds its own bytes; past this the queue costs memory, not latency."""
WRITTEN: Final = 1e-12
"""Seconds that people write in decimals, as 0.15 and 0.05, are off by a few 1e-16 of themselves in binary, and no
measurement is exact to 1e-12: what is that near a whole number of requests is that number."""
STALL_SHARE: Final = 0.5
"""Rounding up a fractional limit is loose when its worst stall is at most half of what the objective leaves."""


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """`percentile` percent of the requests are to be answered within `latency_s` seconds."""

    percentile: float = 99.0
    latency_s: float = 0.1


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The CPU granted: the quota in millicores (None: no quota) and the number of CPUs in the affinity mask.

    Without `cpus` (the operator can't know the node) only the quota counts.
    """

    quota_millicores: int | None = None
    cpus: int | None = None

    @property
    def millicores(self) -> int:
        """The smaller of the two.

        Raises:
            InvalidInput: neither is known.
        """
        known = [m for m in (self.quota_millicores, self.cpus and self.cpus * 1000) if m]
        if not known:
            raise InvalidInput("neither a CPU quota nor an affinity mask is known: nothing to size to")
        return min(known)


class SizingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a pod runs with, and why in words."""

    workers: int
    threads_per_worker: int
    queue_depth: int
    why: str


def plan(grant: Grant, objective: Objective, profile: Sequence[ServiceTime] = ()) -> SizingPlan:
    """Workers, threads per worker and queue depth for what is granted.

    Without a profile one thread a worker and as many workers as cores: `run()` releases the GIL, workers share
    one session, and a thread that runs alone pays no synchronisation. With a profile the thread count that
    meets the objective at the highest throughput, W / S(t).

    Raises:
        InvalidInput: less than `MIN_MILLICORES`, or an objective that isn't positive.
    """
    if not 0 < objective.latency_s < math.inf:
        raise InvalidInput(f"a latency objective of {objective.latency_s} s; it must be above zero and finite")
    millicores = grant.millicores
    if millicores < MIN_MILLICORES:
        raise InvalidInput(f"a CPU limit of {millicores}m; the runtime needs at least {MIN_MILLICORES}m to start")
    by_threads = {p.threads: p.seconds for p in profile if p.rows == 1 and p.seconds > 0}
    service_s = by_threads.get(1, ASSUMED_SERVICE_SHARE * objective.latency_s)
    cores, rounding = whole_cores(millicores, objective.latency_s, service_s)
    threads, threading = _threads(cores, objective.latency_s, by_threads)
    workers = cores // threads
    service_s = by_threads.get(threads, service_s)
    # A quota between whole cores drains the queue at its own rate, however many workers share it.
    depth = queue_depth(min(workers, millicores / 1000 / threads), objective.latency_s, service_s)
    return SizingPlan(
        workers=workers,
        threads_per_worker=threads,
        queue_depth=depth,
        why=f"{rounding}; {threading}; {_depth_why(depth, objective.latency_s, service_s, bool(by_threads))}",
    )


def queue_depth(workers: float, objective_s: float, service_s: float) -> int:
    """Requests that may wait: Q = W (objective - S) / S; one that would wait longer can't make it. At least 1.

    `workers` is how many can really compute at once: fewer than there are threads when the quota is a fraction.
    """
    if service_s <= 0:
        return MAX_QUEUE_DEPTH
    served = workers * objective_s / service_s
    return max(1, math.floor(min(MAX_QUEUE_DEPTH, served * (1 + WRITTEN) - workers)))


def stall_s(workers: int, millicores: int) -> float:
    """The worst stall in each CFS period when all workers run: period * (1 - L / W), 0 when they fit."""
    return max(0.0, CFS_PERIOD_S * (1 - millicores / 1000 / workers))


def whole_cores(millicores: int, objective_s: float, service_s: float) -> tuple[int, str]:
    """Cores to plan for with a limit that may be fractional, and why: rounded up where the stall fits the objective."""
    down, up = max(1, millicores // 1000), max(1, math.ceil(millicores / 1000))
    if millicores % 1000 == 0:
        return down, f"{millicores}m is {down} whole core{'s' * (down > 1)}"
    stall_ms = 1000 * stall_s(up, millicores)
    if down == up:
        return (
            down,
            f"{millicores}m is less than a core: one worker, stalled up to {stall_ms:.0f} ms when it runs on",
        )
    if stall_ms / 1000 <= STALL_SHARE * (objective_s - service_s):
        return up, f"{millicores}m rounded up to {up}: a stall of up to {stall_ms:.0f} ms fits the objective"
    return (
        down,
        f"{millicores}m rounded down to {down}: {up} would stall up to {stall_ms:.0f} ms, too much for it",
    )


def _threads(cores: int, objective_s: float, by_threads: dict[int, float]) -> tuple[int, str]:
    options = {t: s for t, s in by_threads.items() if t <= cores}
    if not options:
        return 1, "one thread a worker (no profile yet)"
    meeting = {t: s for t, s in options.items() if s <= objective_s}
    if not meeting:
        fastest = min(options, key=lambda t: (options[t], t))
        return fastest, f"{fastest} thread(s) a worker, the fastest: one run takes longer than the objective"
    best = max(meeting, key=lambda t: ((cores // t) / meeting[t], -t))
    return (
        best,
        f"{best} thread(s) a worker: the highest throughput measured, {(cores // best) / meeting[best]:.0f}/s",
    )


def _depth_why(depth: int, objective_s: float, service_s: float, measured: bool) -> str:
    source = "measured" if measured else "assumed"
    return (
        f"a queue of {depth}: longer would wait past {1000 * objective_s:.0f} ms "
        f"at {1000 * service_s:.1f} ms a run ({source})"
    )
