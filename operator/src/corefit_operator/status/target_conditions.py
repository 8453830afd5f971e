"""What is said of a resource of mode Sidecar: its pods belong to others. Pure; may not say more than was found."""

from typing import Final

from corefit_core import naming
from corefit_core.service import Service
from corefit_operator.diagnosis.problem import Problem
from corefit_operator.workload.target import ObservedTarget, Offer

ConditionValue = tuple[str, str, str, str]
"""Type, status, reason, message of a condition."""
OFFERS: Final[dict[Offer, str]] = {
    "AtAdmission": f"Pods labelled {naming.LABEL_INJECT} get the sidecar when they are created.",
    "NotServed": "The cluster does not serve MutatingAdmissionPolicy v1 (Kubernetes 1.36): "
    "put the sidecar into manifests with `corefit inject`.",
    "NotInstalled": "The chart's admission policies are not installed (injection.install): "
    "install them, or put the sidecar into manifests with `corefit inject`.",
}


def ready(service: Service, serving: int, present: int, trouble: Problem | None) -> ConditionValue:
    """The condition Ready."""
    if serving:
        return "Ready", "True", "Serving", f"The sidecar serves in {serving} of {present} pods."
    if trouble:
        return "Ready", "False", trouble.reason, trouble.message
    if not present:
        named = f"{naming.LABEL_INJECT}: {naming.label_value(service.name)}"
        return "Ready", "False", "NoPods", f"No pod is labelled {named} yet."
    return "Ready", "False", "Starting", "No pod is ready yet; the sidecar loads its model first."


def progressing(beside: ObservedTarget, present: int, trouble: Problem | None) -> ConditionValue:
    """The condition Progressing."""
    if trouble:
        return "Progressing", "False", trouble.reason, trouble.message
    if beside.stale:
        renew = "Restart their workload to replace them: kubectl rollout restart."
        older = f"{beside.stale} of {present} pods run an older sidecar"
        return "Progressing", "True", "StalePods", f"{older} than the current spec gives. {renew}"
    if not present:
        return "Progressing", "True", "Complete", "No pod has the sidecar yet."
    return "Progressing", "True", "Complete", f"The current sidecar runs in every pod that has one ({present})."


def injectable(beside: ObservedTarget) -> ConditionValue:
    """The condition Injectable."""
    if beside.template is None:
        return "Injectable", "False", "PolicyViolation", "No new pod gets the sidecar: see the condition Progressing."
    status = "True" if beside.offer == "AtAdmission" else "False"
    return "Injectable", status, beside.offer, OFFERS[beside.offer]


def not_scaling(service: Service, beside: ObservedTarget) -> ConditionValue | None:
    """The condition ScalingActive where nothing is scaled because of how things are; None where that isn't so."""
    target = service.target
    if target is None:
        return (
            "ScalingActive",
            "False",
            "NoTarget",
            "spec.scaling.targetRef is not set, so Corefit only recommends replicas, in status.recommendedReplicas.",
        )
    named = f"{target.kind} {target.name}"
    if not beside.consents:
        return "ScalingActive", "False", "TargetNotConsenting", _consent(service, named)
    if beside.workload is None:
        return (
            "ScalingActive",
            "False",
            "TargetNotFound",
            f"spec.scaling.targetRef names {named}, which does not exist in this namespace.",
        )
    if beside.autoscaler:
        already = f"HorizontalPodAutoscaler {beside.autoscaler} scales {named} already, so Corefit does not scale it."
        mend = "Delete that HorizontalPodAutoscaler, or remove spec.scaling.targetRef."
        return "ScalingActive", "False", "OtherAutoscaler", f"{already} {mend}"
    return None


def _consent(service: Service, named: str) -> str:
    label = f"{naming.LABEL_INJECT}: {naming.label_value(service.name)}"
    annotation = f"{naming.ANNOTATION_SCALED_BY}: {service.name}"
    return (
        f"{named} does not name this InferenceService, so Corefit does not scale it. Add the label {label} to its pod "
        f"template, or the annotation {annotation} to its metadata."
    )
