"""Conditions of pods of a Deployment that Corefit owns. Pure; may not say more than was found."""

from typing import Final

from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.kube.workloads import Child
from corefit_operator.workload.interface import Situation

REASONS: Final = {
    "Ready": {
        "Serving": "a pod serves, and requests reach it",
        "Starting": "no pod is ready yet",
        "ScaledToZero": "no replica is wanted",
    },
    "Progressing": {
        "Complete": "all replicas run the current spec",
        "UpgradePending": "all replicas run the current spec, but not yet the operator's newer pod template",
        "RollingOut": "pods of an older spec are being replaced",
        "Starting": "replicas are not ready yet",
    },
}
"""Reasons by type of condition, and when each is said."""
_UPGRADE_PENDING: Final = (
    "All replicas run the current spec. The operator has a newer pod template, since it was upgraded or configured "
    "anew. It rolls out a few resources at a time, and this one waits for its turn."
)


def ready(spec: ServingSpec, deployment: Child | None, serving: int, situation: Situation) -> ConditionValue:
    """The condition Ready."""
    if serving:
        message = f"{serving} of {situation.desired} replicas serve requests.{situation.outputs_note}"
        return ConditionValue("Ready", "True", "Serving", message)
    if situation.problem is not None:
        return ConditionValue("Ready", "False", situation.problem.reason, situation.problem.message)
    if deployment is None:
        return ConditionValue("Ready", "False", "Starting", "Corefit has yet to create the Deployment.")
    if situation.desired == 0:
        return ConditionValue("Ready", "False", "ScaledToZero", _at_zero(spec))
    message = "No pod is ready yet. A pod loads its model and runs it once before it is."
    return ConditionValue("Ready", "False", "Starting", message)


def progressing(deployment: Child | None, serving: int, situation: Situation) -> ConditionValue:
    """The condition Progressing."""
    problem, desired = situation.problem, situation.desired
    complete = deployment is not None and not deployment.rolling_out and serving >= desired
    if complete and situation.upgrade_waits:
        return ConditionValue("Progressing", "True", "UpgradePending", _UPGRADE_PENDING)
    if complete and not situation.refused:
        return ConditionValue("Progressing", "True", "Complete", _complete(desired))
    rolling = deployment is not None and deployment.rolling_out
    if problem is not None:
        goes_on = _goes_on(serving, desired, rolling=rolling)
        return ConditionValue("Progressing", "False", problem.reason, f"{problem.message}{goes_on}")
    if deployment is not None and rolling:
        return ConditionValue("Progressing", "True", "RollingOut", _rolling_out(deployment, situation))
    message = f"{situation.ready} of {desired} replicas are ready."
    return ConditionValue("Progressing", "True", "Starting", message)


def _rolling_out(deployment: Child, situation: Situation) -> str:
    status = deployment.status
    older = max(0, status.replicas - status.updated_replicas)
    new = min(status.updated_replicas, max(0, situation.ready - older))
    serve = "; the older pods serve until the new ones are ready" if older else ""
    return f"{new} of {situation.desired} replicas of the new spec are ready{serve}."


def _at_zero(spec: ServingSpec) -> str:
    if spec.mode == "Recommend":
        return (
            "The Deployment has 0 replicas, and mode Recommend leaves them. Set spec.scaling.mode to Auto to scale it."
        )
    return "spec.scaling.replicas is 0, so no pod runs. Set it to 1 or more to serve requests."


def _complete(replicas: int) -> str:
    if replicas == 0:
        return "No replica is wanted, and none runs."
    return "The replica runs the current spec." if replicas == 1 else f"All {replicas} replicas run the current spec."


def _goes_on(serving: int, desired: int, *, rolling: bool) -> str:
    """What serves although something is wrong."""
    if not serving:
        return ""
    if rolling:
        return " The pods of the previous spec go on serving."
    return f" {serving} of {desired} replicas go on serving."
