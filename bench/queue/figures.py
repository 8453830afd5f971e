"""From what became of requests and what was seen of pods to the figures of a trial. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from watch import Look

from corefit.load import Kind
from corefit.load.record import Sample

FAIR: Final = 0.5
"""A pod has its share once it completes half of what an equal division would give it: a pod that has just come fills
its queue first, and 5 s of 60 requests a second are 75 requests for each of four."""
WINDOW_S: Final = 5.0


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one trial; seconds from the start of the load.

    Attributes:
        attainment: share of the requests answered within the objective; what was refused or lost has missed it.
        core_seconds, balancer_core_seconds: requested by the service's pods, and by the balancer's.
        balancer_cpu_s: used by the latter.
        most_pods: that were ready at a time.
        shares: of what was completed in the last minute, by pod.
        shared_s: from when the last pod became ready until it had its share; None: it never had.
        late_p99_s: how late the generator itself was.
    """

    sent: int
    attainment: float
    refused: int
    lost: int
    p50_ms: float
    p99_ms: float
    core_seconds: float
    balancer_core_seconds: float
    balancer_cpu_s: float
    most_pods: int
    shares: list[float]
    shared_s: float | None
    late_p99_s: float


def of(samples: Sequence[Sample], looks: Sequence[Look], objective_s: float, balancer_cpu_s: float) -> Figures:
    """The figures of a trial."""
    answered = [1000 * s.latency_s for s in samples if s.kind is Kind.OK]
    missed = [s.kind is not Kind.OK or s.latency_s > objective_s for s in samples]
    times = [look.at_s for look in looks]
    return Figures(
        sent=len(samples),
        attainment=1 - sum(missed) / len(samples),
        refused=sum(s.kind is Kind.SHED for s in samples),
        lost=sum(s.kind in (Kind.ERROR, Kind.WRONG) for s in samples),
        p50_ms=float(np.median(answered)),
        p99_ms=float(np.quantile(answered, 0.99)),
        core_seconds=float(np.trapezoid([look.millicores / 1000 for look in looks], times)),
        balancer_core_seconds=float(np.trapezoid([look.balancer_millicores / 1000 for look in looks], times)),
        balancer_cpu_s=balancer_cpu_s,
        most_pods=max(len(look.ready) for look in looks),
        shares=shares(looks),
        shared_s=shared_s(looks),
        late_p99_s=float(np.quantile([s.sent_s - s.intended_s for s in samples], 0.99)),
    )


def shares(looks: Sequence[Look], last_s: float = 60.0) -> list[float]:
    """Of what was completed in the last so many seconds, the part of each pod that is ready at the end."""
    end = looks[-1]
    done = _between(next(look for look in looks if look.at_s >= end.at_s - last_s), end)
    total = sum(done.values()) or 1
    return sorted((done.get(name, 0) / total for name in end.ready), reverse=True)


def shared_s(looks: Sequence[Look]) -> float | None:
    """The longest time from when a pod became ready until it had its share of the next `WINDOW_S` seconds."""
    came = {name: next(look.at_s for look in looks if name in look.ready) for look in looks for name in look.ready}
    took = [_until_fair(looks, name, at) for name, at in came.items() if at < looks[-1].at_s - 2 * WINDOW_S]
    if any(each is None for each in took):
        return None
    return max((each for each in took if each is not None), default=0.0)


def _until_fair(looks: Sequence[Look], name: str, ready_s: float) -> float | None:
    for index, look in enumerate(looks):
        later = next((other for other in looks[index:] if other.at_s >= look.at_s + WINDOW_S), None)
        if look.at_s < ready_s or later is None or name not in later.ready:
            continue
        done = _between(look, later)
        if done.get(name, 0) >= FAIR * sum(done.values()) / len(later.ready):
            return look.at_s - ready_s
    return None


def _between(before: Look, after: Look) -> Mapping[str, int]:
    return {name: count - before.completed.get(name, 0) for name, count in after.completed.items()}
