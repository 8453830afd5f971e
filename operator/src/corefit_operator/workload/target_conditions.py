"""Conditions of a workload of others that has the runtime as a sidecar. Pure; may not say more than was found."""

from typing import Final

from corefit_core import naming
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.workload.interface import Situation
from corefit_operator.workload.sidecars import Offer, Surroundings

REASONS: Final = {
    "Ready": {
        "Serving": "the sidecar serves in a pod",
        "NoPods": "no pod bears the label by which it gets the sidecar",
        "Starting": "no pod is ready yet",
    },
    "Progressing": {
        "Complete": "the current sidecar runs in every pod that has one",
        "StalePods": "pods run an older sidecar than the current spec gives",
    },
    "Injectable": {
        "AtAdmission": "pods with the label get the sidecar when they are created",
        "NotServed": "the cluster has no MutatingAdmissionPolicy",
        "NotInstalled": "the chart's admission policies are not installed",
        "PolicyViolation": "the platform's policy forbids what the resource says",
    },
    "ScalingActive": {
        "NoTarget": "spec.scaling.targetRef names no workload",
        "TargetNotConsenting": "the workload does not name the resource",
        "TargetNotFound": "the workload does not exist",
        "OtherAutoscaler": "a HorizontalPodAutoscaler scales the workload",
    },
}
"""Reasons by type of condition, and when each is said."""
OFFERS: Final[dict[Offer, str]] = {
    "AtAdmission": f"Pods labelled {naming.LABEL_INJECT} get the sidecar when they are created.",
    "NotServed": "The cluster does not serve MutatingAdmissionPolicy v1 (Kubernetes 1.36): "
    "put the sidecar into manifests with `corefit inject`.",
    "NotInstalled": "The chart's admission policies are not installed (injection.install): "
    "install them, or put the sidecar into manifests with `corefit inject`.",
}
_NO_TARGET: Final = (
    "spec.scaling.targetRef is not set, so Corefit only recommends replicas, in status.recommendedReplicas."
)


def ready(spec: ServingSpec, situation: Situation) -> ConditionValue:
    """The condition Ready."""
    serving, present, problem = situation.ready, situation.present, situation.problem
    if serving:
        message = f"The sidecar serves in {serving} of {present} pods."
        return ConditionValue("Ready", "True", "Serving", message)
    if problem is not None:
        return ConditionValue("Ready", "False", problem.reason, problem.message)
    if not present:
        message = f"No pod has the label {_label(spec)}. Add it to the pod template that is to have the sidecar."
        return ConditionValue("Ready", "False", "NoPods", message)
    message = "No pod is ready yet. The sidecar loads its model and runs it once before it is."
    return ConditionValue("Ready", "False", "Starting", message)


def progressing(stale: int, situation: Situation) -> ConditionValue:
    """The condition Progressing."""
    present, problem = situation.present, situation.problem
    if problem is not None:
        return ConditionValue("Progressing", "False", problem.reason, problem.message)
    if stale:
        renew = "Restart their workload to replace them: kubectl rollout restart."
        message = f"{stale} of {present} pods run an older sidecar than the current spec gives. {renew}"
        return ConditionValue("Progressing", "True", "StalePods", message)
    if not present:
        return ConditionValue("Progressing", "True", "Complete", "No pod has the sidecar yet.")
    message = f"The current sidecar runs in every pod that has one ({present})."
    return ConditionValue("Progressing", "True", "Complete", message)


def injectable(offer: Offer, *, allowed: bool) -> ConditionValue:
    """The condition Injectable."""
    if not allowed:
        message = "No new pod gets the sidecar. The condition Progressing says why."
        return ConditionValue("Injectable", "False", "PolicyViolation", message)
    return ConditionValue("Injectable", "True" if offer == "AtAdmission" else "False", offer, OFFERS[offer])


def not_scaling(spec: ServingSpec, around: Surroundings) -> ConditionValue | None:
    """The condition ScalingActive where nothing is scaled because of how things are; None where that isn't so."""
    target = spec.target
    if target is None:
        return ConditionValue("ScalingActive", "False", "NoTarget", _NO_TARGET)
    name = f"{target.kind} {target.name}"
    if not around.consents:
        return ConditionValue("ScalingActive", "False", "TargetNotConsenting", _consent(spec, name))
    if around.workload is None:
        message = f"spec.scaling.targetRef names {name}, which does not exist in this namespace."
        return ConditionValue("ScalingActive", "False", "TargetNotFound", message)
    if around.autoscaler:
        already = f"HorizontalPodAutoscaler {around.autoscaler} scales {name} already, so Corefit does not scale it."
        mend = "Delete that HorizontalPodAutoscaler, or remove spec.scaling.targetRef."
        return ConditionValue("ScalingActive", "False", "OtherAutoscaler", f"{already} {mend}")
    return None


def _consent(spec: ServingSpec, name: str) -> str:
    annotation = f"{naming.ANNOTATION_SCALED_BY}: {spec.name}"
    return (
        f"{name} does not name this InferenceService, so Corefit does not scale it. Add the label {_label(spec)} to "
        f"its pod template, or the annotation {annotation} to its metadata."
    )


def _label(spec: ServingSpec) -> str:
    return f"{naming.LABEL_INJECT}: {naming.label_value(spec.name)}"
