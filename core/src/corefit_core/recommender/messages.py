"""The message of a decision: one sentence for each reason, from its numbers.

May not decide anything.
"""

from typing import Final, NamedTuple

from corefit_core.recommender import error_budget, explanation, last_minute, slo
from corefit_core.recommender.capacity import Demand
from corefit_core.recommender.measurement import Measured
from corefit_core.recommender.quota import CORE
from corefit_core.recommender.service_model import ServiceState, mean_s
from corefit_core.recommender.slo import SloState
from corefit_core.recommender.stabilization import Outcome
from corefit_core.recommender.types import Observation, Policy, Reason

VARIED: Final = 2.0
"""Squared coefficient of variation of the service times: twice that of an exponential distribution, and more."""
TIGHT: Final = 3.0
"""Runs in the time of the objective: with fewer hardly a request can wait for another."""
MANY: Final = 2.0
"""Times the replicas that the work alone fills: from there a reason is said."""


class Facts(NamedTuple):
    """What a message is made from; the window and the forecast's horizon in seconds."""

    policy: Policy
    seen: Observation
    measured: Measured
    slo: SloState
    service: ServiceState
    window_s: float
    horizon_s: float


def message(facts: Facts, outcome: Outcome) -> str:
    """What the load needs of what there is, why that is done, and what each pod gets."""
    measured, demand = facts.measured, outcome.demand
    load = measured.erlangs if demand is None or demand.withheld is not None else demand.load
    need = "" if load is None else f"{explanation.load(load, measured.capacity, measured.threads)}; "
    size = "" if outcome.size is None else f"; each pod gets {outcome.size.millicores}m of CPU"
    why = _hold(measured, outcome.reason) if demand is None else _reason(facts, outcome, demand)
    return f"{need}{why}{size}"


def unreachable(facts: Facts) -> str:
    """Why no pods keep the objective, and what would; empty where some may."""
    policy, measured = facts.policy, facts.measured
    if not slo.unreachable(policy, facts.slo, measured):
        return ""
    reached_s = slo.unloaded_s(policy, facts.service, measured)
    return explanation.unreachable(policy, measured.run_s, reached_s, measured.slowdown)


def doubtful(facts: Facts) -> str:
    """That the last minute's requests miss the objective without having waited, and what would keep it; else empty."""
    policy, minute, measured = facts.policy, facts.slo.minute, facts.measured
    unwaited = last_minute.unwaited(minute)
    if unwaited <= error_budget.allowed(policy):
        return ""
    reached_s = max(
        slo.unloaded_s(policy, facts.service, measured),
        last_minute.latency_s(minute, policy.objective.percentile) or 0.0,
    )
    return explanation.doubtful(policy, unwaited, last_minute.requests(minute), reached_s, measured.slowdown)


def _hold(measured: Measured, reason: Reason) -> str:
    if reason == "RolloutInProgress":
        return "pods are being replaced; replicas stay as they are until that is done"
    if reason == "NoReports":
        missing = f"none of {measured.ready} ready pods has sent two reports" if measured.ready else "no pod is ready"
        return f"{missing}, so the load is not known; replicas stay as they are"
    silent = f"{measured.missing} of {measured.ready} ready pods have sent no report lately"
    return f"{silent}; replicas stay as they are"


def _reason(facts: Facts, outcome: Outcome, demand: Demand) -> str:
    policy, window_s = facts.policy, facts.window_s
    match outcome.reason:
        case "ShortBurst" if demand.withheld is not None:
            why = explanation.withheld(demand.withheld)
        case "Holding" | "ErrorBudgetSpent":
            why = _kept(facts, outcome, demand)
        case "LoadDown":
            why = explanation.fell(outcome.highest, window_s)
        case "WindowFilling" | "StabilizationWindow":
            why = f"{_why(facts, demand)}, but {explanation.window(outcome.highest, window_s)}"
        case "Saturated" if outcome.tried:
            why = explanation.trial(outcome.replicas - 1)
        case "Saturated":
            why = explanation.full(outcome.replicas, policy.max_replicas)
        case "AtMaximum":
            why = f"{_why(facts, demand)}, but maxReplicas is {policy.max_replicas}"
        case "AtMinimum":
            why = f"{_why(facts, demand)}, but minReplicas is {policy.min_replicas}"
        case "GrowingFirst":
            why = explanation.growing(outcome.enough)
        case _:
            why = _why(facts, demand)
    return why


def _kept(facts: Facts, outcome: Outcome, demand: Demand) -> str:
    """Why so many replicas stay that the load of now would not need."""
    if demand.held is not None:
        return explanation.holding(demand.held, outcome.replicas, facts.measured.threads)
    seconds = demand.even_s + facts.window_s
    return explanation.overspent(_overspent(facts), outcome.as_allowed, outcome.replicas, seconds)


def _why(facts: Facts, demand: Demand) -> str:
    """Why the load needs so many replicas."""
    threads = facts.measured.threads
    if demand.held is not None:
        return explanation.holding(demand.held, demand.replicas, threads)
    most = explanation.cores(demand.highest, threads)
    higher = demand.highest > demand.load and most != explanation.cores(demand.load, threads)
    if demand.replicas_now < demand.replicas and higher:
        least = _enough(facts, demand, demand.replicas_now)
        kept = demand.load <= _carried(facts, demand.replicas_now)
        return explanation.forecast(least, demand.replicas, facts.horizon_s, most, kept=kept)
    return _enough(facts, demand, demand.replicas) + _cause(facts, demand)


def _enough(facts: Facts, demand: Demand, replicas: int) -> str:
    """That so many keep the objective, or that more than they can do is put up with."""
    if demand.load <= _carried(facts, replicas):
        return explanation.enough(_objective(facts), replicas)
    saved = demand.miss_target > error_budget.allowed(facts.policy)
    return explanation.tolerated(replicas, demand.miss_target, saved=saved)


def _carried(facts: Facts, replicas: int) -> float:
    """The most that so many pods can work, with all the CPU that they may be brought to; Erlangs."""
    policy, measured = facts.policy, facts.measured
    if policy.cpu_range is not None:
        return replicas * policy.cpu_range.max_millicores / CORE / measured.threads
    there = measured.capacity * min(1.0, replicas / measured.ready) if measured.ready else 0.0
    return there + max(0, replicas - measured.ready) * measured.workers


def _cause(facts: Facts, demand: Demand) -> str:
    """Why the load needs many more replicas than it fills."""
    per_pod = _carried(facts, 1)
    if demand.replicas <= max(1.0, MANY * demand.load / per_pod if per_pod else 0.0):
        return ""
    if demand.as_allowed is not None and demand.as_allowed.replicas < demand.replicas:
        return explanation.cause(_overspent(facts))
    if facts.service.times.scv > VARIED:
        return explanation.cause("some requests take much longer than others")
    run_s = mean_s(facts.policy, facts.service) * facts.measured.slowdown
    if facts.policy.objective.latency_s < TIGHT * run_s:
        return explanation.cause(explanation.tight(run_s, facts.policy.objective))
    return explanation.cause("requests that come together wait for each other")


def _overspent(facts: Facts) -> str:
    """That more requests missed the objective lately than it allows."""
    missed = last_minute.missed(facts.slo.minute)
    if missed is not None and missed > error_budget.allowed(facts.policy):
        return explanation.late(missed, last_minute.requests(facts.slo.minute))
    return "more requests than the objective allows were late or refused in the last hour"


def _objective(facts: Facts) -> str:
    """The objective in words; empty where no pods keep it."""
    kept = not slo.unreachable(facts.policy, facts.slo, facts.measured)
    return explanation.objective(facts.policy.objective) if kept else ""
