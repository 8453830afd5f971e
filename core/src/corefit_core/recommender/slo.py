"""Counts the requests that missed the objective, and separates those that more pods could have kept in time.

Owns `SloState`. May not say how many may miss it from now on (`error_budget`), nor choose replicas.
"""

import math
from statistics import NormalDist
from typing import Final

import msgspec

from corefit_core.recommender import error_budget, last_minute, queueing, service_model, spans
from corefit_core.recommender.error_budget import Served
from corefit_core.recommender.last_minute import Slot
from corefit_core.recommender.measurement import Measured
from corefit_core.recommender.service_model import ServiceState
from corefit_core.recommender.types import Policy
from corefit_core.sizing import Objective

EVIDENCE: Final = 1000.0
"""Requests as good as the objective that are taken for granted: ten misses of 99 %, the least that tell a rate."""
IDLE: Final = 0.5
"""Of the pods' CPU: below it a quota hardly ever stops a worker, so that a late answer is not for want of CPU."""
STUBBORN: Final = 1.5
"""Times the share that the objective allows: with as many late answers that had not waited, no pods reach it."""


class SloState(msgspec.Struct, frozen=True, kw_only=True):
    """How the objective was kept.

    Attributes:
        objective: that all of this is about; None before any.
        served: in the last hour or so.
        minute: in the last minute.
        alone: answers lately, and those that were late without having waited: no number of pods mends these.
    """

    objective: Objective | None = None
    served: Served = Served()
    minute: tuple[Slot, ...] = ()
    alone: Served = Served()


def counted(policy: Policy, before: SloState, measured: Measured, elapsed_s: float, now: float) -> SloState:
    """With the answers of this round. How another objective was kept says nothing of this one."""
    if before.objective != policy.objective:
        before = SloState(objective=policy.objective)
    unwaited = late_alone(measured)
    forgiven = unwaited if unreachable(policy, before, measured) else 0.0
    return msgspec.structs.replace(
        before,
        served=faded(before.served, measured, elapsed_s, forgiven=forgiven),
        minute=last_minute.with_round(before.minute, measured, unwaited, now),
        alone=_alone(before.alone, measured, unwaited, elapsed_s),
    )


def service(policy: Policy, state: SloState, known: ServiceState, measured: Measured) -> queueing.Service:
    """The service as the formulas need it: see `service_model.model`."""
    return service_model.model(policy, known, measured, unreachable=unreachable(policy, state, measured))


def late_alone(measured: Measured) -> float:
    """Answers of this round that were late although they had not waited: more pods would not have mended them.

    Under a quota that stops the workers a run takes the longer the busier its pod is, which more pods do mend: there
    only pods that are mostly idle tell.
    """
    busy = measured.erlangs is None or measured.erlangs > IDLE * measured.capacity
    if measured.slowdown > 1 and busy:
        return 0.0
    delta = measured.delta
    return min(delta.answered, max(0.0, delta.alone, delta.late - delta.waited))


def _alone(before: Served, measured: Measured, unwaited: float, elapsed_s: float) -> Served:
    """The answers, and those of them that were late without having waited, with this round's."""
    keep = 0.5 ** (elapsed_s / spans.LONG_S)
    return Served(requests=before.requests * keep + measured.delta.answered, missed=before.missed * keep + unwaited)


def unreachable(policy: Policy, state: SloState, measured: Measured) -> bool:
    """Whether no number of pods keeps the objective: a run is longer, or too many are late that have not waited."""
    if measured.run_s is not None and measured.run_s > policy.objective.latency_s:
        return True
    target = error_budget.allowed(policy)
    return target > 0 and share(state.alone, target) > STUBBORN * target


def unloaded_s(policy: Policy, known: ServiceState, measured: Measured) -> float:
    """What the objective's percentile of the requests takes in a pod without load, seconds: service times and stalls.

    Latencies of the last minute have the waits of an overload in them: they say nothing of an objective in reach.
    Service times are taken for log-normal (Downey, "Lognormal and Pareto distributions in the Internet", 2005) with
    the mean and the variation that pods report.
    """
    sigma2 = math.log1p(max(0.0, known.times.scv))
    share = min(0.9999, max(0.5, policy.objective.percentile / 100))
    tail = math.exp(NormalDist().inv_cdf(share) * math.sqrt(sigma2) - sigma2 / 2)
    mean_s = measured.run_s if measured.run_s is not None else service_model.mean_s(policy, known)
    return max(1 + queueing.LEAST_WAIT, tail) * mean_s * measured.slowdown


def share(served: Served, target: float) -> float:
    """The share that missed it lately. Requests of the objective's own share are counted in: a few say little."""
    return (served.missed + EVIDENCE * target) / (served.requests + EVIDENCE)


def faded(served: Served, measured: Measured, elapsed_s: float, *, forgiven: float = 0.0) -> Served:
    """With this round in it, and what is older forgotten.

    Args:
        served: as it was before.
        measured: this round.
        elapsed_s: since the last one.
        forgiven: late answers of this round that are not counted.
    """
    keep, delta = 0.5 ** (elapsed_s / spans.MEMORY_S), measured.delta
    return Served(
        requests=served.requests * keep + delta.answered + delta.turned_away,
        missed=served.missed * keep + max(0.0, delta.late - forgiven) + delta.turned_away,
        seconds=served.seconds * keep + elapsed_s,
    )
