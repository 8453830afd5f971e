"""Counts the requests that missed the objective, and separates those that more pods could have kept in time.

Owns `SloState`. May not say how many may miss it from now on (`error_budget`), nor choose replicas.
"""

import math
from collections.abc import Callable
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

FULL: Final = 0.95
"""Above that utilisation the pods of the moment were too few, whatever the formulas say: such a round tells nothing of
them, and holding more afterwards would not bring its requests back."""
EVIDENCE: Final = 1000.0
"""Requests as good as the objective that are taken for granted: ten misses of 99 %, the least that tell a rate."""
IDLE: Final = 0.5
"""Of the pods' CPU: below it a quota hardly ever stops a worker, so that a late answer is not for want of CPU."""
STUBBORN: Final = 1.5
"""Times the share that the objective allows: with as many late answers that had not waited, no pods reach it."""


CORRECTION_AN_HOUR: Final = 1.0
"""With twice the misses that the objective allows the load is taken 1.7 % higher each minute: slower than any scaling,
so that the two don't chase each other, and fast enough to matter within minutes of a wrong formula."""
EXCESS: Final = 4.0
"""A flash crowd misses a hundred times what is planned, and says nothing of the formulas for it: count five."""
CORRECTIONS: Final = (1.0, 1.5)
"""The formulas leave too few workers where queues are not shared as they assume, and by no more than half; that they
leave too many is what `error_budget` spends."""


class SloState(msgspec.Struct, frozen=True, kw_only=True):
    """How the objective was kept.

    Attributes:
        objective: that all of this is about; None before any.
        served: in the last hour or so.
        unsaturated: in the rounds of it in which the pods were not full.
        minute: in the last minute.
        alone: answers lately, and those that were late without having waited: no number of pods mends these.
        correction: factor on the load in the formulas, by which they come to what was measured.
    """

    objective: Objective | None = None
    served: Served = Served()
    unsaturated: Served = Served()
    minute: tuple[Slot, ...] = ()
    alone: Served = Served()
    correction: float = 1.0


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
        unsaturated=_unsaturated(before.unsaturated, measured, elapsed_s),
    )


def corrected(
    policy: Policy, before: SloState, expected: Callable[[float], float], erlangs: float, elapsed_s: float
) -> SloState:
    """With the correction moved by how many requests missed the objective lately: up when it was not kept.

    Fewer misses than planned say something of the formulas as far as these expected any: with more pods than the load
    asks for none is expected and none comes, and what was learned with fewer pods still holds.

    Args:
        policy: has the objective.
        before: with the answers of this round.
        expected: the share that misses the objective at a load in Erlangs, by the formulas, with the pods of now.
        erlangs: load of the last seconds.
        elapsed_s: since the last round.
    """
    budget = error_budget.allowed(policy)
    if budget <= 0:
        return before
    missing = share(before.unsaturated, budget)
    excess = min(EXCESS, max(0.0, missing / budget - 1))
    if missing < budget:
        if before.correction <= CORRECTIONS[0]:
            return before
        excess = (missing / budget - 1) * min(1.0, expected(before.correction * erlangs) / budget)
    step = CORRECTION_AN_HOUR * excess * min(elapsed_s, policy.max_report_age_s) / 3600
    correction = min(CORRECTIONS[1], max(CORRECTIONS[0], before.correction * math.exp(step)))
    return msgspec.structs.replace(before, correction=correction)


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


def _unsaturated(served: Served, measured: Measured, elapsed_s: float) -> Served:
    """As `faded`, without the rounds in which the pods were full, and without what was late by its service time alone.

    The formulas leave the latter out, which no number of pods would change: where one in twenty runs is longer than the
    objective, that is no fault of theirs.
    """
    full = measured.erlangs is not None and measured.erlangs > FULL * measured.capacity
    keep = 0.5 ** (elapsed_s / spans.MEMORY_S)
    older = Served(requests=served.requests * keep, missed=served.missed * keep)
    if full:
        return older
    seen, delta = faded(served, measured, elapsed_s), measured.delta
    return msgspec.structs.replace(seen, missed=seen.missed - min(delta.late, delta.alone))
