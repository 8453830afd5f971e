"""ScalingActive: whether Corefit scales, and why so many replicas. Pure."""

from typing import Final

from corefit_core.quantity import format_millicores
from corefit_core.recommender import Decision, explanation
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.status.conditions.condition_type import ConditionType
from corefit_operator.status.outcome import Outcome
from corefit_operator.workload import kinds

_HOLDING: Final = frozenset({"NoReports", "StaleReports"})
"""Decisions that are none: the recommender doesn't know and therefore holds."""
_WAITING: Final = _HOLDING | {"RolloutInProgress"}
"""Decisions that wait for pods; a problem of these says more."""


def ignored_replicas(spec: ServingSpec) -> str:
    """That the mode does not look at a number of replicas that is there; empty where there is none.

    The API server refuses to change it in such a mode, so it came with the resource, or was left by mode Manual.
    """
    if spec.mode == "Manual" or spec.manual_replicas == 1:
        return ""
    return (
        f"spec.scaling.replicas is {spec.manual_replicas} and has no effect in mode {spec.mode}. "
        "It takes effect when mode becomes Manual; remove it if that is not meant."
    )


def _value(spec: ServingSpec, outcome: Outcome) -> ConditionValue:
    found, ignored = _by_mode(spec, outcome), ignored_replicas(spec)
    return found._replace(message=_joined(_ended(found.message), ignored)) if ignored else found


def _by_mode(spec: ServingSpec, outcome: Outcome) -> ConditionValue:
    hindered = outcome.observed.workload.not_scaling()
    if hindered is not None:
        return hindered
    decision, problem, contended = outcome.decision, outcome.problem, outcome.scaled.contended
    if spec.mode == "Manual":
        return ConditionValue("ScalingActive", "False", "Manual", _joined(_manual(spec), contended))
    if spec.mode == "Recommend":
        return ConditionValue("ScalingActive", "False", "RecommendOnly", _recommended(spec, decision))
    if problem is not None and (decision is None or decision.reason in _WAITING):
        message = f"Corefit does not scale until this is solved: {problem.message}"
        return ConditionValue("ScalingActive", "False", problem.reason, message)
    if decision is None:
        message = "Corefit decides when the first pod has reported."
        return ConditionValue("ScalingActive", "Unknown", "NotDecided", message)
    message = _joined(_ended(decision.message), contended) if contended else decision.message
    return ConditionValue("ScalingActive", "False" if decision.reason in _HOLDING else "True", decision.reason, message)


def _ended(message: str) -> str:
    return message if message.endswith(".") else f"{message}."


def _joined(sentence: str, other: str) -> str:
    return f"{sentence} {other}" if other else sentence


def _manual(spec: ServingSpec) -> str:
    return (
        f"In mode Manual the number of replicas is spec.scaling.replicas ({spec.manual_replicas}). "
        "Set spec.scaling.mode to Auto to let Corefit scale."
    )


def _recommended(spec: ServingSpec, decision: Decision | None) -> str:
    apply = "Set spec.scaling.mode to Auto to apply what Corefit recommends."
    if decision is None:
        return f"In mode Recommend Corefit changes nothing, and it has no recommendation yet. {apply}"
    cpu = f" with {format_millicores(decision.millicores)} of CPU each" if decision.millicores is not None else ""
    replicas = f"{explanation.pods(decision.replicas)}{cpu}"
    price = f"{decision.cost_per_hour:.4f} {spec.policy.price.currency} an hour"
    return f"In mode Recommend Corefit changes nothing. It recommends {replicas} ({price}): {decision.message}. {apply}"


SCALING_ACTIVE: Final = ConditionType(
    type="ScalingActive",
    value=_value,
    reasons={
        **kinds.reasons("ScalingActive"),
        "Manual": "the mode leaves the replicas to spec.scaling.replicas",
        "RecommendOnly": "the mode leaves the replicas to others",
        "NotDecided": "no pod has reported yet",
    },
    from_problems=True,
    from_decisions=True,
    unreadable=True,
    follows_measurements=True,
)
