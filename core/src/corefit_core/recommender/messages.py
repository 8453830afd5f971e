"""The message of a decision: one sentence for each reason, from its numbers.

May not decide anything.
"""

import math
from typing import NamedTuple

from corefit_core.recommender import error_budget, explanation, last_minute, slo
from corefit_core.recommender.capacity import Demand
from corefit_core.recommender.measurement import Measured
from corefit_core.recommender.service_model import ServiceState
from corefit_core.recommender.slo import SloState
from corefit_core.recommender.stabilization import Outcome
from corefit_core.recommender.types import Observation, Policy, Reason


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
    measured, erlangs = facts.measured, facts.measured.erlangs
    need = "" if erlangs is None else f"{explanation.load(erlangs, measured.capacity, measured.threads)}; "
    size = "" if outcome.size is None else f"; each pod gets {outcome.size.millicores}m of CPU"
    demand = outcome.demand
    why = _hold(measured, outcome.reason) if demand is None else _reason(facts, outcome, demand)
    return f"{need}{why}{size}"


def unreachable(facts: Facts) -> str:
    """Why no pods keep the objective, and what would; empty where some may."""
    policy, measured = facts.policy, facts.measured
    if not slo.unreachable(policy, facts.slo, measured):
        return ""
    reached_s = slo.unloaded_s(policy, facts.service, measured)
    return explanation.unreachable(policy, measured.run_s, reached_s, quota=measured.slowdown > 1)


def _hold(measured: Measured, reason: Reason) -> str:
    if reason == "RolloutInProgress":
        return "pods are being replaced; replicas stay as they are until that is done"
    if reason == "NoReports":
        missing = f"none of {measured.ready} ready pods has sent two reports" if measured.ready else "no pod is ready"
        return f"{missing}, so the load is not known; replicas stay as they are"
    silent = f"{measured.missing} of {measured.ready} ready pods have sent no report lately"
    return f"{silent}; replicas stay as they are"


def _reason(facts: Facts, outcome: Outcome, demand: Demand) -> str:
    policy, threads, window_s = facts.policy, facts.measured.threads, facts.window_s
    match outcome.reason:
        case "ShortBurst" if demand.withheld is not None:
            why = explanation.withheld(demand.withheld)
        case "Holding" if demand.held is not None:
            why = explanation.holding(demand.held, outcome.replicas, threads)
        case "LoadDown":
            why = explanation.fell(outcome.highest, window_s)
        case "WindowFilling" | "StabilizationWindow":
            why = f"{_enough(facts, demand)}, but {explanation.window(outcome.highest, window_s)}"
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


def _enough(facts: Facts, demand: Demand) -> str:
    return explanation.enough(_objective(facts), demand.replicas)


def _why(facts: Facts, demand: Demand) -> str:
    """Why the load needs so many replicas."""
    threads = facts.measured.threads
    if demand.held is not None:
        return explanation.holding(demand.held, demand.replicas, threads)
    if demand.replicas_now < demand.replicas:
        most = explanation.cores(demand.highest, threads)
        counts = demand.replicas, demand.replicas_now
        return explanation.forecast(_objective(facts), *counts, facts.horizon_s, most)
    return _enough(facts, demand) + _cause(facts, demand)


def _cause(facts: Facts, demand: Demand) -> str:
    """Why the load needs more than twice the replicas that it fills."""
    policy, measured = facts.policy, facts.measured
    erlangs = measured.erlangs or 0.0
    plain = max(1, math.ceil(erlangs * max(1, measured.ready) / measured.capacity)) if measured.capacity else 1
    missed = last_minute.missed(facts.slo.minute)
    most = explanation.cores(demand.highest, measured.threads) if demand.highest > 1.5 * erlangs else ""
    count = last_minute.requests(facts.slo.minute)
    late = ""
    if missed is not None and missed > error_budget.allowed(policy):
        late = explanation.late(missed, count)
    return explanation.cause(demand.replicas, plain, late, slo.lately(policy, facts.slo, facts.service), most)


def _objective(facts: Facts) -> str:
    """The objective in words; empty where no pods keep it."""
    kept = not slo.unreachable(facts.policy, facts.slo, facts.measured)
    return explanation.objective(facts.policy.objective) if kept else ""
