"""What a run depends on and what came of it: settings, cases and outcomes. May not simulate."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from corefit.simulate.flaws import Flaws
from corefit.simulate.fleet import Fleet
from corefit.simulate.kernel import Floats, Singles
from corefit.simulate.scalers import Scaler
from corefit.simulate.service import Service
from corefit.simulate.traces import Trace
from corefit_core.recommender import NAIVE_THROUGHPUT, Policy


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """All that a run depends on but the trace and the policy's name.

    Attributes:
        service: what is simulated.
        policy: Corefit's, bounds and objective filled in from the service.
        unsized: throughput of a pod whose threads were not sized over that of one whose were (the naive baseline).
        flaws: what is wrong with the reports.
        max_replicas: for every policy.
        seed: of service times and balancing.
    """

    service: Service = Service()
    policy: Policy = Policy()
    unsized: float = NAIVE_THROUGHPUT
    flaws: Flaws = Flaws()
    max_replicas: int = 1000
    seed: int = 1


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        policy: its name.
        core_hours: requested cores over time, starting and draining pods included.
        attainment: the share of requests answered within the objective; turned away is missed.
        shed: the share turned away.
        scale_changes: how often the replicas changed.
        p50_s, p99_s: of the answered requests; None when none was.
        cost: core-hours at the policy's price (memory left out).
        times_s, replicas: replicas asked for, from each time on.
        latency_s: p99 of each minute; None in a minute without answers.
        missed: the share of each minute's requests that missed the objective; None in a minute without requests.
    """

    policy: str
    core_hours: float
    attainment: float
    shed: float
    scale_changes: int
    p50_s: float | None
    p99_s: float | None
    cost: float
    times_s: list[float]
    replicas: list[int]
    latency_s: list[float | None]
    missed: list[float | None]


class Case(NamedTuple):
    """A trace with the work of its requests, under a policy of that name."""

    name: str
    trace: Trace
    work: Floats
    setting: Setting


class Run(Protocol):
    """Simulates a case under a scaler."""

    def __call__(self, case: Case, scaler: Scaler, first: int | None = None) -> Outcome:
        """Begin with `first` replicas; without it, with what the first minute of the trace needs."""


def outcome(case: Case, fleet: Fleet, steps: Sequence[tuple[float, int]]) -> Outcome:
    """What came of the case: the fleet as it is at the end, and the replicas that were asked for."""
    latencies = fleet.requests.load.latencies
    answered = latencies[np.isfinite(latencies)]
    late = ~(latencies <= case.setting.service.objective.latency_s)
    core_hours = fleet.core_seconds(case.trace.duration_s) / 3600
    count = len(latencies)
    return Outcome(
        policy=case.name,
        core_hours=core_hours,
        attainment=1 - int(late.sum()) / count if count else 1.0,
        shed=(count - len(answered)) / count if count else 0.0,
        scale_changes=len(steps) - 1,
        p50_s=_quantile(answered, 0.5),
        p99_s=_quantile(answered, 0.99),
        cost=core_hours * case.setting.policy.price.core_hour,
        times_s=[at for at, _ in steps],
        replicas=[replicas for _, replicas in steps],
        latency_s=[_quantile(part[np.isfinite(part)], 0.99) for part in _by_minute(case.trace, latencies)],
        missed=[float(part.mean()) if len(part) else None for part in _by_minute(case.trace, late)],
    )


def _quantile(seconds: Singles, q: float) -> float | None:
    return float(np.quantile(seconds, q)) if len(seconds) else None


def _by_minute(trace: Trace, values: Any) -> list[Any]:
    """The values of each minute's requests."""
    minutes = np.searchsorted(trace.arrivals, np.arange(60.0, trace.duration_s, 60.0))
    return np.split(values, minutes)
