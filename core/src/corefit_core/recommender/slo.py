"""How the objective was kept: how many requests missed it, in which rounds, and which of them pods could have mended.

May not say how many may miss it from now on (`budget`), nor choose replicas.
"""

import math
from statistics import NormalDist
from typing import Final

import msgspec

from corefit_core.recommender import budget, load, queueing
from corefit_core.recommender.state import Served, State
from corefit_core.recommender.types import Policy

FULL: Final = 0.95
"""Above that utilisation the pods of the moment were too few, whatever the formulas say: such a round tells nothing of
them, and holding more afterwards would not bring its requests back."""
EVIDENCE: Final = 1000.0
"""Requests as good as the objective that are taken for granted: ten misses of 99 %, the least that tell a rate."""
SERVED_S: Final = 3600.0
"""Seconds after which an answer counts half in how the objective was kept."""
IDLE: Final = 0.5
"""Of the pods' CPU: below it a quota hardly ever stops a worker, so that a late answer is not for want of CPU."""
SHIFTED: Final = 1.1
"""Of the correction: above it requests were late more often than the formulas expect."""
VARIED: Final = 2.0
"""Squared coefficient of variation of the service times: twice that of an exponential distribution, and more."""
STUBBORN: Final = 1.5
"""Times the share that the objective allows: with as many late answers that had not waited, no pods reach it."""


def late_alone(measured: load.Measured) -> float:
    """Answers of this round that were late although they had not waited: more pods would not have mended them.

    Under a quota that stops the workers a run takes the longer the busier its pod is, which more pods do mend: there
    only pods that are mostly idle tell.
    """
    busy = measured.erlangs is None or measured.erlangs > IDLE * measured.capacity
    if measured.stretch > 1 and busy:
        return 0.0
    delta = measured.delta
    return min(delta.answered, max(0.0, delta.alone, delta.late - delta.waited))


def alone(before: Served, measured: load.Measured, keep: float) -> Served:
    """The answers, and those of them that were late without having waited, with this round's."""
    return Served(
        requests=before.requests * keep + measured.delta.answered, missed=before.missed * keep + late_alone(measured)
    )


def unreachable(policy: Policy, state: State, measured: load.Measured) -> bool:
    """Whether no number of pods keeps the objective: a run is longer, or too many are late that have not waited."""
    if measured.run_s is not None and measured.run_s > policy.objective.latency_s:
        return True
    target = budget.objective(policy)
    return target > 0 and share(state.alone, target) > STUBBORN * target


def unloaded_s(policy: Policy, state: State, measured: load.Measured) -> float:
    """What the objective's percentile of the requests takes in a pod without load, seconds: service times and stalls.

    Latencies of the last minute have the waits of an overload in them: they say nothing of an objective in reach.
    Service times are taken for log-normal (Downey, "Lognormal and Pareto distributions in the Internet", 2005) with
    the mean and the variation that pods report.
    """
    sigma2 = math.log1p(max(0.0, state.service.scv))
    share = min(0.9999, max(0.5, policy.objective.percentile / 100))
    tail = math.exp(NormalDist().inv_cdf(share) * math.sqrt(sigma2) - sigma2 / 2)
    mean_s = measured.run_s if measured.run_s is not None else load.service_s(policy, state.service)
    return max(1 + queueing.LEAST_WAIT, tail) * mean_s * measured.stretch


def lately(policy: Policy, state: State) -> str:
    """What earlier requests say against few replicas; empty where they say nothing."""
    target = budget.objective(policy)
    if target > 0 and share(state.served, target) > target:
        return "more requests than the objective allows were late or refused in the last hour"
    if state.correction > SHIFTED:
        return "requests were late more often than this load explains"
    return "some requests take much longer than others" if state.service.scv > VARIED else ""


def missed(state: State) -> float | None:
    """The share of the last minute's requests that were late or refused; None where there were hardly any."""
    return state.recent.missed / state.recent.requests if state.recent.requests >= 1 else None


def share(served: Served, target: float) -> float:
    """The share that missed it lately. Requests of the objective's own share are counted in: a few say little."""
    return (served.missed + EVIDENCE * target) / (served.requests + EVIDENCE)


def faded(
    served: Served, measured: load.Measured, elapsed_s: float, *, half_s: float = SERVED_S, forgiven: float = 0.0
) -> Served:
    """With this round in it, and what is older forgotten.

    Args:
        served: as it was before.
        measured: this round.
        elapsed_s: since the last one.
        half_s: after so many seconds a request counts half.
        forgiven: late answers of this round that are not counted.
    """
    keep, delta = 0.5 ** (elapsed_s / half_s), measured.delta
    return Served(
        requests=served.requests * keep + delta.answered + delta.turned_away,
        missed=served.missed * keep + max(0.0, delta.late - forgiven) + delta.turned_away,
        seconds=served.seconds * keep + elapsed_s,
    )


def within(served: Served, measured: load.Measured, elapsed_s: float) -> Served:
    """As `faded`, without the rounds in which the pods were full, and without what was late by its service time alone.

    The formulas leave the latter out, which no number of pods would change: where one in twenty runs is longer than the
    objective, that is no fault of theirs.
    """
    full = measured.erlangs is not None and measured.erlangs > FULL * measured.capacity
    keep = 0.5 ** (elapsed_s / SERVED_S)
    older = Served(requests=served.requests * keep, missed=served.missed * keep)
    if full:
        return older
    seen, delta = faded(served, measured, elapsed_s), measured.delta
    return msgspec.structs.replace(seen, missed=seen.missed - min(delta.late, delta.alone))
