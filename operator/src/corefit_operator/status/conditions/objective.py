"""ObjectiveMet and ObjectiveReachable: whether requests are answered in time, and could be. Pure."""

from typing import Final

from corefit_core.figures import figure, milliseconds
from corefit_core.recommender import explanation
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.status.conditions.condition_type import ConditionType
from corefit_operator.status.outcome import Outcome


def _met(spec: ServingSpec, outcome: Outcome) -> ConditionValue:
    decision = outcome.decision
    if decision is None or decision.missed is None:
        kept = f"{explanation.objective(spec.objective)} is kept"
        message = f"There were no requests in the last minute, so it is not known whether {kept}."
        return ConditionValue("ObjectiveMet", "Unknown", "NoRequests", message)
    missed, allowed = 100 * decision.missed, _allowed(spec)
    share = explanation.share_of_the_last_minute(decision.missed, decision.requests)
    late = f"{share} were refused or took more than {milliseconds(spec.objective.latency_s)}"
    message = f"{late}; the objective allows {figure(allowed, 4)} %."
    if missed <= allowed:
        return ConditionValue("ObjectiveMet", "True", "Met", message)
    return ConditionValue("ObjectiveMet", "False", "Missed", message)


def _reachable(spec: ServingSpec, outcome: Outcome) -> ConditionValue:
    decision = outcome.decision
    if decision is not None and decision.unreachable:
        return ConditionValue("ObjectiveReachable", "False", "TooShort", decision.unreachable)
    if decision is None or decision.reason == "NoReports" or not outcome.observed.ready:
        message = "Corefit has not measured the model yet."
        return ConditionValue("ObjectiveReachable", "Unknown", "NotMeasured", message)
    if decision.doubtful:
        return ConditionValue("ObjectiveReachable", "Unknown", "LateWithoutWaiting", decision.doubtful)
    if decision.missed is not None and 100 * decision.missed > _allowed(spec):
        late = "Most of the requests that were late or refused in the last minute waited for a worker"
        message = f"{late}, or found the queue full. More replicas can keep {explanation.objective(spec.objective)}."
    else:
        message = f"The model is fast enough for {explanation.objective(spec.objective)}, by all that was measured."
    return ConditionValue("ObjectiveReachable", "True", "Reachable", message)


def _allowed(spec: ServingSpec) -> float:
    """Percent of the requests."""
    return max(0.0, 100 - spec.objective.percentile)


OBJECTIVE_MET: Final = ConditionType(
    type="ObjectiveMet",
    value=_met,
    reasons={
        "Met": "no more of the last minute's requests were refused or late than the objective allows",
        "Missed": "more of them were",
        "NoRequests": "there were no requests in the last minute",
    },
    follows_measurements=True,
)
OBJECTIVE_REACHABLE: Final = ConditionType(
    type="ObjectiveReachable",
    value=_reachable,
    reasons={
        "Reachable": "nothing is known that keeps pods from the objective",
        "TooShort": "no replicas keep it",
        "LateWithoutWaiting": "more requests of the last minute than it allows were late although they had not waited",
        "NotMeasured": "no pod is ready",
    },
    follows_measurements=True,
)
