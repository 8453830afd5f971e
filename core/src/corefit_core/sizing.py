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
from corefit_core.figures import figure, milliseconds
from corefit_core.quantity import format_millicores
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
    """What a pod runs with.

    Attributes:
        workers: that run the model at the same time.
        threads_per_worker: of one run.
        queue_depth: requests that may wait.
        cores_why: how the workers follow from the CPU, in one sentence.
        threads_why: how the threads were chosen, in one sentence.
        objective_s: the latency objective, seconds.
        service_s: one run of one row on so many threads, seconds.
        measured: whether `service_s` was measured; else it is assumed (`ASSUMED_SERVICE_SHARE`).
        batch_rows: rows that are joined in one run at most; 0 where none are.
    """

    workers: int
    threads_per_worker: int
    queue_depth: int
    cores_why: str
    threads_why: str
    objective_s: float
    service_s: float
    measured: bool
    batch_rows: int = 0

    @property
    def why(self) -> str:
        """The reasons in words. Every figure in them is one of this plan, so that no two of them differ."""
        return f"{self.cores_why} {self.threads_why} {self._queue_why()}"

    def _queue_why(self) -> str:
        objective, run = milliseconds(self.objective_s), milliseconds(self.service_s, 3)
        joined = f", with up to {self.batch_rows} rows in one run" if self.batch_rows > 1 else ""
        source = "measured" if self.measured else "assumed until the model is measured"
        if self.queue_depth == MAX_QUEUE_DEPTH:
            bound = f"At most {MAX_QUEUE_DEPTH} requests wait, the longest queue that Corefit allows"
            return f"{bound}: one run takes {run} of a core ({source}){joined}."
        waiting = "1 request waits" if self.queue_depth == 1 else f"{self.queue_depth} requests wait"
        return f"At most {waiting}: more would miss the objective of {objective} at {run} a run ({source}){joined}."


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
    cores, cores_why = whole_cores(millicores, objective.latency_s, service_s)
    threads, threads_why = _threads(cores, objective.latency_s, by_threads)
    workers = cores // threads
    service_s = by_threads.get(threads, service_s)
    return SizingPlan(
        workers=workers,
        threads_per_worker=threads,
        # A quota between whole cores drains the queue at its own rate, however many workers share it.
        queue_depth=queue_depth(min(workers, millicores / 1000 / threads), objective.latency_s, service_s),
        cores_why=cores_why,
        threads_why=threads_why,
        objective_s=objective.latency_s,
        service_s=service_s,
        measured=bool(by_threads),
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
    cpu, period_ms = format_millicores(millicores), round(1000 * CFS_PERIOD_S)
    if millicores % 1000 == 0:
        return down, f"A CPU limit of {cpu} is {down} core{'s' * (down > 1)}."
    stall = f"up to {1000 * stall_s(up, millicores):.0f} ms of every {period_ms} ms"
    if down == up:
        why = f"A CPU limit of {cpu} is less than one core: one worker, which Linux stops for {stall} when it is busy."
        return down, why
    if stall_s(up, millicores) <= STALL_SHARE * (objective_s - service_s):
        why = f"A CPU limit of {cpu} is rounded up to {up} cores: Linux stops busy workers for {stall}, which is short "
        return up, f"{why}enough for the objective."
    why = f"A CPU limit of {cpu} is rounded down to {down} core{'s' * (down > 1)}: with {up} workers Linux stops them "
    return down, f"{why}for {stall}, which is too long for the objective."


def _threads(cores: int, objective_s: float, by_threads: dict[int, float]) -> tuple[int, str]:
    options = {t: s for t, s in by_threads.items() if t <= cores}
    if not options:
        return 1, "Each worker runs one thread, because the model is not measured yet."
    meeting = {t: s for t, s in options.items() if s <= objective_s}
    if not meeting:
        fastest = min(options, key=lambda t: (options[t], t))
        return fastest, f"Each worker runs {_counted(fastest)}, the fastest, and one run misses the objective even so."
    best = max(meeting, key=lambda t: ((cores // t) / meeting[t], -t))
    rate = (cores // best) / meeting[best]
    return best, f"Each worker runs {_counted(best)}, which gave the highest throughput ({figure(rate)} runs a second)."


def _counted(threads: int) -> str:
    return "one thread" if threads == 1 else f"{threads} threads"
