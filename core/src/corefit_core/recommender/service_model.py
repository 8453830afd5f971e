"""What is known of the service: its service times, its start-up, and how far its pods share their load.

Owns `ServiceState`. May not know how the objective was kept, nor choose replicas.
"""

from typing import Final, NamedTuple

import msgspec

from corefit_core.defaults import DOWN_STABILIZATION_S
from corefit_core.recommender import measurement, queueing, spans
from corefit_core.recommender.counters import Moments
from corefit_core.recommender.measurement import Measured
from corefit_core.recommender.types import Policy
from corefit_core.sizing import ASSUMED_SERVICE_SHARE

MAX_STARTUP_S: Final = 600.0
"""No start-up is planned for that takes longer: such a pod is broken, and predictions so far ahead are idle."""
POOLING_REQUESTS: Final = 50
"""Answers, of as many rounds as it takes, that tell the share of those that waited to within 0.07."""
POOLING_BUSY: Final = (0.2, 0.95)
"""Utilisations between which the share of waiting requests tells shared queues from separate ones."""
POOLING_STEP: Final = 0.1
"""Of each estimate: settled after a thousand answers or two, a minute of 5 s rounds."""


class Waits(NamedTuple):
    """What tells how far pods share their load, until it is enough to tell.

    Attributes:
        answered, waited: requests, and those of them that had to wait for a worker.
        held_s, worker_s: worker-seconds in which there was a request, and those that there were.
    """

    answered: float = 0.0
    waited: float = 0.0
    held_s: float = 0.0
    worker_s: float = 0.0


class ServiceState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the service.

    Attributes:
        times: moments of the service time.
        startup_s: the longest start-up that a pod has reported; None before one has.
        pooling: how far the pods share their load, from 0 (each has its own queue) to 1 (all serve one queue).
        waits: of the rounds since that was last learned.
    """

    times: Moments = Moments()
    startup_s: float | None = None
    pooling: float = 1.0
    waits: Waits = Waits()


def with_times(before: ServiceState, measured: Measured, elapsed_s: float) -> ServiceState:
    """With the service times and the start-up of this round."""
    keep, delta, times = 0.5 ** (elapsed_s / spans.LONG_S), measured.delta, before.times
    return msgspec.structs.replace(
        before,
        times=Moments(
            count=times.count * keep + delta.answered,
            sum_s=times.sum_s * keep + delta.served_s,
            sum_sq_s2=times.sum_sq_s2 * keep + delta.served_sq_s2,
        ),
        startup_s=measured.startup_s or before.startup_s,
    )


def with_pooling(before: ServiceState, measured: Measured, elapsed_s: float) -> ServiceState:
    """With what this round says of how the pods share their load."""
    waits = _waits(before.waits, measured, elapsed_s)
    return msgspec.structs.replace(before, waits=waits, pooling=_pooling(before.pooling, waits, measured))


def model(policy: Policy, known: ServiceState, measured: Measured, *, unreachable: bool) -> queueing.Service:
    """The service as the formulas need it; where no pods keep the objective, for an objective that they can keep."""
    service_s = mean_s(policy, known)
    latency_s = queueing.attainable(policy.objective.latency_s, service_s * measured.slowdown)
    if unreachable:
        latency_s = max(latency_s, service_s * measured.slowdown / ASSUMED_SERVICE_SHARE)
    return queueing.Service(
        service_s=service_s,
        scv=known.times.scv,
        latency_s=latency_s,
        workers=measured.workers,
        pooling=known.pooling,
        slowdown=measured.slowdown,
    )


def mean_s(policy: Policy, known: ServiceState) -> float:
    """The mean service time, seconds: as measured, or as `sizing` assumes it."""
    return measurement.service_s(policy, known.times)


def horizon_s(policy: Policy, known: ServiceState) -> float:
    """The forecast's horizon: seconds from a decision until the pods that it asks for serve."""
    startup_s = policy.startup_s if known.startup_s is None else known.startup_s
    return min(MAX_STARTUP_S, max(0.0, startup_s)) + policy.round_s


def window_s(policy: Policy, known: ServiceState) -> float:
    """The stabilization window, seconds: as it is set, or else long enough that a pod serves for as long as it started.

    In the first start-up of two the pod comes; in the second it is kept for as long as another would take, which at
    worst costs twice what foresight would.
    """
    if policy.down_window_s is not None:
        return policy.down_window_s
    return max(DOWN_STABILIZATION_S, 2 * min(MAX_STARTUP_S, known.startup_s or 0.0))


def _pooling(before: float, waits: Waits, measured: Measured) -> float:
    """How far the pods share their load, by the share of requests that had to wait: see `queueing.servers`.

    A request finds a worker busy that a quota stops as well, so utilisation is that of the clock on the wall.
    """
    pods = measured.ready - measured.missing
    if waits.answered < POOLING_REQUESTS or pods < 2 or waits.worker_s <= 0:
        return before
    rho = waits.held_s / waits.worker_s
    if not POOLING_BUSY[0] < rho < POOLING_BUSY[1]:
        return before
    share, low, high = waits.waited / waits.answered, 0.0, 1.0
    for _ in range(6):
        middle = (low + high) / 2
        together = queueing.servers(measured.workers * measured.slowdown, pods, middle)
        low, high = (middle, high) if queueing.waiting(together, rho * together) > share else (low, middle)
    return before + POOLING_STEP * ((low + high) / 2 - before)


def _waits(before: Waits, measured: Measured, elapsed_s: float) -> Waits:
    """With this round's; anew after a round with which there were enough."""
    delta, pods = measured.delta, measured.ready - measured.missing
    old = before if before.answered < POOLING_REQUESTS else Waits()
    worker_s = elapsed_s * pods * measured.workers * measured.slowdown
    return Waits(
        answered=old.answered + delta.answered,
        waited=old.waited + delta.waited,
        held_s=old.held_s + delta.held_s,
        worker_s=old.worker_s + worker_s,
    )
