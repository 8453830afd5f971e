"""What is counted of the pods' reports: totals of one process, differences of them, and moments of service times.

May not decide anything.
"""

from typing import Final

import msgspec

from corefit_core.histogram import bucket
from corefit_core.report import Report

WAITED_S: Final = 1e-3
"""A request that waited less than this found a free worker: handing it over takes tens of microseconds."""
_WAITED: Final = bucket(WAITED_S) + 1
MAX_COUNT: Final = 2.0**53
"""Past this, all added up, a double can't tell neighbouring counts apart; at a million a second it takes 285 years."""
MIN_SERVICE_S: Final = 1e-6
"""Shorter than any run of a model, and long enough to divide by."""


class Totals(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is counted of a pod's report: totals of one process since it started.

    A tenth of a report's size, so that the state stays small and the difference of a hundred pods is cheap. Each
    answer, be it a failure, has one service time and one total time.

    Attributes:
        arrivals, turned_away: requests; turned away are those rejected and those expired while they waited.
        busy_s: worker-seconds.
        answered, served_s, served_sq_s2: count of the answers, and moments of their service time.
        waited: of those, the ones that had to wait for a worker.
        late: of those, the ones over the objective.
        cpu_s: CPU-seconds of the process.
        held_s: worker-seconds that requests held a worker for, those in which a quota stopped it as well.
        computed_s, computed_sq_s2: moments of the service time by the threads' own clocks.
        alone: of the answers, those whose service time alone is over the objective.
    """

    arrivals: float = 0.0
    turned_away: float = 0.0
    busy_s: float = 0.0
    answered: float = 0.0
    served_s: float = 0.0
    served_sq_s2: float = 0.0
    waited: float = 0.0
    late: float = 0.0
    cpu_s: float = 0.0
    held_s: float = 0.0
    computed_s: float = 0.0
    computed_sq_s2: float = 0.0
    alone: float = 0.0

    def since(self, old: "Totals") -> "Totals | None":
        """What was counted after `old`; None when a counter went backwards."""
        arrivals, turned_away = self.arrivals - old.arrivals, self.turned_away - old.turned_away
        busy_s, answered = self.busy_s - old.busy_s, self.answered - old.answered
        served_s, served_sq_s2 = self.served_s - old.served_s, self.served_sq_s2 - old.served_sq_s2
        waited, late, cpu_s = self.waited - old.waited, self.late - old.late, self.cpu_s - old.cpu_s
        computed_s, computed_sq_s2 = self.computed_s - old.computed_s, self.computed_sq_s2 - old.computed_sq_s2
        alone = self.alone - old.alone
        if (
            arrivals < 0
            or turned_away < 0
            or busy_s < 0
            or answered < 0
            or served_s < 0
            or served_sq_s2 < 0
            or waited < 0
            or late < 0
            or cpu_s < 0
            or computed_s < 0
            or computed_sq_s2 < 0
            or alone < 0
        ):
            return None
        counted = (arrivals, turned_away, busy_s, answered, served_s, served_sq_s2, waited, late, cpu_s)
        # What held a worker is what was busy, until a quota's share is taken of the latter.
        return Totals(*counted, busy_s, computed_s, computed_sq_s2, alone)


class PodCounters(msgspec.Struct, frozen=True, gc=False):
    """What was counted of a pod last, to take the next difference from.

    Attributes:
        uid, boot_id: which process.
        clock_s: its clock at that report.
        at: when it was counted.
        totals: its counters.
        erlangs: offered load by the last difference; None before there was one.
        total: its total times, in the report's buckets.
        workers: it had.
        arriving: what had arrived by the last difference, in Erlangs.
        latency_s: of the objective that `Totals.late` and `Totals.alone` are counted by.
    """

    uid: str
    boot_id: str
    clock_s: float
    at: float
    totals: Totals = Totals()
    erlangs: float | None = None
    total: tuple[int, ...] = ()
    workers: int = 0
    arriving: float = 0.0
    latency_s: float = 0.0


class Moments(msgspec.Struct, frozen=True, kw_only=True):
    """Service times seen lately, as weighted sums: count, seconds, seconds squared."""

    count: float = 0.0
    sum_s: float = 0.0
    sum_sq_s2: float = 0.0

    @property
    def mean_s(self) -> float | None:
        """Mean in seconds, at least `MIN_SERVICE_S`; None without observations."""
        return max(MIN_SERVICE_S, self.sum_s / self.count) if self.count > 0 else None

    @property
    def scv(self) -> float:
        """Squared coefficient of variation; 0 without observations."""
        mean = self.mean_s
        return 0.0 if mean is None else max(0.0, self.sum_sq_s2 / self.count / mean**2 - 1)


def totals(report: Report, objective: tuple[int, float]) -> Totals | None:
    """What is counted of a report; None when its numbers can't be those of a process.

    Args:
        report: as the contract's decoder lets it through: nothing is below zero.
        objective: its bucket, and the share of that bucket that is within it. A bucket is a fifth wide, and most of
            what is late is late by less, since a queue is bounded: left out, three of four late answers would be.
    """
    counters, service, answers = report.counters, report.service_time, report.total.counts
    computed = report.computed
    # In locals, since this runs for each pod in each round: read from the value made below, the sum costs twice that.
    arrivals, busy_s, cpu_s = counters.arrivals, counters.busy_worker_seconds, counters.cpu_seconds
    turned_away = sum(counters.rejected.values()) + counters.expired
    # Each answer, be it a failure, has one service time and one total time: only the latter are added up.
    answered, served_s, served_sq_s2 = sum(answers), service.sum_s, service.sum_sq_s2
    waited, over = sum(report.queue_wait.counts[_WAITED:]), answers[objective[0] :]
    late = sum(over) - objective[1] * over[0] if over else 0.0
    long = service.counts[objective[0] :]
    alone = sum(long) - objective[1] * long[0] if long else 0.0
    summed = arrivals + turned_away + busy_s + answered + served_s + served_sq_s2 + waited + late + cpu_s
    summed += computed.sum_s + computed.sum_sq_s2 + alone
    # Finite, and no larger than a counter gets; no comparison is true of a NaN.
    if not summed + report.clock_s + report.startup_s <= MAX_COUNT:
        return None
    return Totals(
        arrivals,
        turned_away,
        busy_s,
        answered,
        served_s,
        served_sq_s2,
        waited,
        late,
        cpu_s,
        busy_s,
        computed.sum_s,
        computed.sum_sq_s2,
        alone,
    )
