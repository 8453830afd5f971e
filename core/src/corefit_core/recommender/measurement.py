"""From pods' reports to offered load: differences of counters, checked before they are believed.

Offered load in Erlangs is the rate of busy worker-seconds plus what was turned away times the mean service time:
unlike CPU use it is exact under saturation. Where a quota lets fewer workers compute at once than there are, one that
is stopped is busy as well, and busy time no measure: there the unit is a worker at full speed, and the work the CPU
that was used. May not decide anything.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

import msgspec

from corefit_core.histogram import place
from corefit_core.recommender import counters, quota
from corefit_core.recommender.counters import Moments, PodCounters, Totals
from corefit_core.recommender.types import Observation, PodObservation, Policy
from corefit_core.report import PlanInForce, Report, is_long
from corefit_core.sizing import ASSUMED_SERVICE_SHARE

BUSY_SLACK: Final = 1.5
"""Busy worker-seconds a second per worker can't exceed 1; half as much again allows for runs that end in the
interval but began before it, and is still far from the numbers that a broken counter shows."""
PODS_FOR_LATENCY: Final = 16
"""Of a hundred pods that share a load, so many tell its percentile."""
LEAST_ROUND: Final = 0.5
"""Of a round: a report that follows another sooner is left for the next round to count. What changes is looked at at
once, so two looks may lie milliseconds apart, and in those a worker is busy or not: a load of a third of a core was
read as 1.8, and pods were asked for it."""
MAX_WORKERS: Final = 4096
"""More cores than any machine has."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One round of reports, added up.

    Attributes:
        pods: the new memory of the pods.
        erlangs: offered load, a silent pod taken to carry what the others carry on average; None without data.
        ceiling: offered load, a silent pod taken as fully busy.
        arriving: what has arrived times the mean service time, silent pods as in `erlangs`: what has been worked lags
            behind it by what waits, and then exceeds it until that is worked off.
        waiting: requests that wait in long queues.
        workers: workers of one pod that can compute at once, on average.
        slowdown: workers over those: how much longer a run takes than at full speed while all run.
        capacity: workers of all ready pods that can compute at once.
        threads: of a worker, on average; each takes a core.
        ready, missing, invalid: counts of pods and of reports.
        delta: all differences of this round, summed.
        run_s: one run of one row as a pod calibrated it, with no other request there; None before one has.
        startup_s: the longest start-up reported; None when none is.
        total: total times of this round in the report's buckets, of some of the pods.
    """

    pods: tuple[PodCounters, ...]
    erlangs: float | None
    ceiling: float
    arriving: float
    waiting: int
    workers: float
    slowdown: float
    capacity: float
    threads: float
    ready: int
    missing: int
    invalid: int
    delta: Totals
    run_s: float | None
    startup_s: float | None
    total: tuple[int, ...]


class PodsState(msgspec.Struct, frozen=True):
    """When the pods were last observed, and the last counters of each."""

    at: float | None = None
    counters: tuple[PodCounters, ...] = ()


def measure(policy: Policy, before: PodsState, times: Moments, seen: Observation, now: float) -> Measured:
    """The load by this observation.

    Args:
        policy: has the objective and the round.
        before: the pods as they were last observed.
        times: service times so far.
        seen: this observation.
        now: seconds.
    """
    known = {pod.uid: pod for pod in before.counters}
    this = _Round(
        now=now,
        elapsed_s=None if before.at is None else now - before.at,
        service_s=service_s(policy, times if times.count else _lifetime(seen)),
        max_age_s=policy.max_report_age_s,
        least_s=LEAST_ROUND * policy.round_s,
        objective=place(policy.objective.latency_s),
        latency_s=policy.objective.latency_s,
    )
    counts = [_count(this, pod, known.get(pod.uid)) for pod in seen.pods]
    rates = [c.erlangs for c in counts if c.erlangs is not None]
    plans = [c.plan for c in counts if c.plan is not None and c.plan.workers]
    effective = [c.effective_workers for c in counts if c.effective_workers]
    per_pod = _mean(effective) if effective else max(1, policy.workers_per_pod)
    ready = [c for pod, c in zip(seen.pods, counts, strict=True) if pod.ready]
    missing = [c.erlangs for c in ready].count(None)
    answering = len(ready) - missing
    total, unheard = sum(rates), 1 + missing / answering if answering else 1.0
    deltas = [c.delta for c in counts if c.delta is not None]
    return Measured(
        pods=tuple([c.state for c in counts if c.state is not None]),
        erlangs=total * unheard if answering else None,
        ceiling=total + missing * per_pod,
        arriving=unheard * sum([c.arriving for c in counts]),
        waiting=sum([c.waiting for c in counts]),
        workers=per_pod,
        slowdown=sum([plan.workers for plan in plans]) / sum(effective) if effective else 1.0,
        capacity=sum([c.effective_workers or per_pod for c in ready]),
        threads=_threads(plans),
        ready=len(ready),
        missing=missing,
        invalid=sum([c.invalid for c in counts]),
        delta=Totals(*map(sum, zip(*map(msgspec.structs.astuple, deltas), strict=True))) if deltas else Totals(),
        run_s=_calibrated(seen),
        startup_s=max([c.startup_s for c in counts], default=0.0) or None,
        total=_answered(counts),
    )


def _mean(effective: Sequence[float]) -> float:
    """Workers of a pod: whole ones, unless a quota makes them a fraction."""
    mean = sum(effective) / len(effective)
    return mean if any(each % 1 for each in set(effective)) else max(1, round(mean))


def _calibrated(seen: Observation) -> float | None:
    """Of a pod that has calibrated: one row on the threads that a worker has."""
    for report in [pod.report for pod in seen.pods if pod.report is not None and pod.report.profile]:
        threads = report.plan.threads_per_worker
        runs = [p.seconds for p in report.profile if p.rows == 1 and p.threads == threads and p.seconds > 0]
        if runs:
            return min(runs)
    return None


def _threads(plans: Sequence[PlanInForce]) -> float:
    return sum([min(MAX_WORKERS, max(1, plan.threads_per_worker)) for plan in plans]) / len(plans) if plans else 1.0


class _Counted(msgspec.Struct, frozen=True, gc=False):
    """What is known of a pod from now on, and what this round's report adds; plan and load as far as it is fresh."""

    state: PodCounters | None
    plan: PlanInForce | None = None
    effective_workers: float = 0.0
    startup_s: float = 0.0
    erlangs: float | None = None
    delta: Totals | None = None
    invalid: bool = False
    base: tuple[int, ...] | None = None
    arriving: float = 0.0
    waiting: int = 0


class _Round(msgspec.Struct, frozen=True, kw_only=True):
    now: float
    elapsed_s: float | None
    service_s: float
    max_age_s: float
    least_s: float
    objective: tuple[int, float]
    latency_s: float


def _count(this: _Round, pod: PodObservation, before: PodCounters | None) -> _Counted:
    """One pod: the difference of its report to the one counted before, if both can be believed."""
    report = pod.report
    if report is None or not 0 <= pod.age_s <= this.max_age_s:
        return _Counted(before)
    counts, plan, startup_s = counters.totals(report, this.objective), report.plan, report.startup_s
    workers = plan.workers
    if counts is None or workers > MAX_WORKERS:
        return _Counted(before, invalid=True)
    base, effective = _base(this, report, before), quota.effective_workers(plan)
    waiting = _queued(report) if is_long(report.gauges.wait_seconds, this.latency_s) else 0
    erlangs, delta, invalid, arriving, old_total = None, None, False, 0.0, None
    if base is not None:
        old, span_s = base
        if 0 <= span_s < this.least_s:
            if before is None:
                return _Counted(None, plan, effective, startup_s, waiting=waiting)
            arriving = before.arriving
            return _Counted(before, plan, effective, startup_s, before.erlangs, arriving=arriving, waiting=waiting)
        # A pod that was resized has worked with either number of workers.
        most_s = BUSY_SLACK * max(1, workers, old.workers) * (span_s + this.service_s)
        delta = _worked(counts.since(_earlier(this, old, counts)), plan, effective, most_s) if span_s > 0 else None
        if delta is None:
            invalid = True
        else:
            erlangs = (delta.busy_s + delta.turned_away * this.service_s) / span_s
            arriving, old_total = delta.arrivals * this.service_s / span_s, old.total
            if delta.turned_away:
                # Full, however short a wait a pod expects that its quota has only begun to stop.
                waiting = _queued(report)
    answers = report.total.counts
    now_known = PodCounters(
        pod.uid,
        report.boot_id,
        report.clock_s,
        this.now,
        counts,
        erlangs,
        answers,
        workers,
        arriving,
        this.latency_s,
    )
    return _Counted(now_known, plan, effective, startup_s, erlangs, delta, invalid, old_total, arriving, waiting)


def _earlier(this: _Round, old: PodCounters, counts: Totals) -> Totals:
    """The earlier counters; of a round in which the objective changes nobody can tell what was late."""
    if old is _BEGUN or old.latency_s == this.latency_s:
        return old.totals
    return msgspec.structs.replace(old.totals, late=counts.late, alone=counts.alone)


def _queued(report: Report) -> int:
    """Requests in the queue when the report was made; no more than it can hold."""
    return min(report.gauges.queued, report.plan.queue_depth)


def _worked(counted: Totals | None, plan: PlanInForce, effective: float, most_s: float) -> Totals | None:
    """The difference in the time of workers at full speed; None when it is more than the workers can have done.

    Parts of a split request run at once: what they take together is not what it has to wait for.
    """
    if counted is None or counted.busy_s > most_s:
        return None
    if plan.chunk_rows:
        counted = msgspec.structs.replace(counted, alone=0.0)
    if effective >= plan.workers:
        return counted
    worked = quota.at_full_speed(counted, plan)
    return worked if worked.busy_s <= most_s else None


_BEGUN: Final = PodCounters("", "", 0.0, 0.0)
"""A process that has counted nothing yet."""


def _base(this: _Round, report: Report, before: PodCounters | None) -> tuple[PodCounters, float] | None:
    """What to take the difference from, and the seconds between; None when that can't be known.

    A process that was not there at the last round did all of its counting since then. An operator that has just
    started, or that has not looked for long, can't tell, and takes the counters as they are for its baseline.
    """
    if before is not None and before.boot_id == report.boot_id:
        return before, report.clock_s - before.clock_s
    if this.elapsed_s is not None and 0 < this.elapsed_s <= this.max_age_s:
        return _BEGUN, this.elapsed_s
    return None


def service_s(policy: Policy, service: Moments) -> float:
    """The mean service time as measured; before that the share of the objective that `sizing` assumes."""
    return service.mean_s or ASSUMED_SERVICE_SHARE * policy.objective.latency_s


def _lifetime(seen: Observation) -> Moments:
    """The service times since the processes began: what an operator that has just started has to go by."""
    served = [p.report.service_time for p in seen.pods if p.report is not None]
    served = [h for h in served if 0 <= h.sum_s <= counters.MAX_COUNT and h.count <= counters.MAX_COUNT]
    return Moments(count=sum(h.count for h in served), sum_s=sum(h.sum_s for h in served))


def _answered(counts: Sequence[_Counted]) -> tuple[int, ...]:
    """This round's total times, of pods spread over all: a percentile needs no more, and adding buckets up costs."""
    pairs = [(c.state.total, c.base) for c in counts if c.state is not None and c.base is not None]
    pairs = pairs[:: 1 + len(pairs) // PODS_FOR_LATENCY]
    new = map(sum, zip_longest(*(total for total, _ in pairs), fillvalue=0))
    old = map(sum, zip_longest(*(base for _, base in pairs), fillvalue=0))
    return tuple([a - b if a > b else 0 for a, b in zip_longest(new, old, fillvalue=0)])
