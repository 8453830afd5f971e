"""What is said of a resource of mode Sidecar: its pods belong to others. Pure; may not say more than was found."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from corefit_core import naming
from corefit_core.manifest import Manifest
from corefit_core.service import Service
from corefit_operator.diagnosis import Problem
from corefit_operator.objects import Child, Pod

Statement = tuple[str, str, str, str]
"""Type, status, reason, message of a condition."""
Offer = Literal["AtAdmission", "NotServed", "NotInstalled"]
OFFERS: Final[dict[Offer, str]] = {
    "AtAdmission": f"Pods labelled {naming.LABEL_INJECT} get the sidecar when they are created.",
    "NotServed": "The cluster does not serve MutatingAdmissionPolicy v1 (Kubernetes 1.36): "
    "put the sidecar into manifests with `corefit inject`.",
    "NotInstalled": "The chart's admission policies are not installed (injection.install): "
    "install them, or put the sidecar into manifests with `corefit inject`.",
}


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What was found around a resource of mode Sidecar.

    Attributes:
        template: what goes into pods; None where the platform's policy forbids it.
        offer: how pods come by it.
        stale: live pods that were injected from an older state of the resource, or by another version.
        workload: what scaling.targetRef names; None when it names none, or one that isn't there or doesn't consent.
        consents: False when the workload is there and doesn't name the resource.
        autoscaler: the HorizontalPodAutoscaler that scales it already; empty when there is none.
    """

    template: Manifest | None
    offer: Offer
    stale: int = 0
    workload: Child | None = None
    consents: bool = True
    autoscaler: str = ""

    @property
    def scalable(self) -> bool:
        """Whether there is a workload that nobody else scales."""
        return self.workload is not None and not self.autoscaler


def consents(workload: Child, service: Service) -> bool:
    """Whether whoever owns a workload lets the resource scale it.

    Whoever may create a resource could otherwise stop any workload of the namespace, and read its figures.
    """
    injects = workload.spec.template.metadata.labels.get(naming.LABEL_INJECT) == naming.label_value(service.name)
    return injects or workload.metadata.annotations.get(naming.ANNOTATION_SCALED_BY) == service.name


def stale(pods: Sequence[Pod], stamp: str) -> int:
    """How many of the pods bear another stamp than what would be put into them now."""
    return sum(pod.metadata.annotations.get(naming.ANNOTATION_INJECTED) != stamp for pod in pods)


def ready(service: Service, serving: int, present: int, trouble: Problem | None) -> Statement:
    """The condition Ready."""
    if serving:
        return "Ready", "True", "Serving", f"The sidecar serves in {serving} of {present} pods."
    if trouble:
        return "Ready", "False", trouble.reason, trouble.message
    if not present:
        named = f"{naming.LABEL_INJECT}: {naming.label_value(service.name)}"
        return "Ready", "False", "NoPods", f"No pod is labelled {named} yet."
    return "Ready", "False", "Starting", "No pod is ready yet; the sidecar loads its model first."


def progressing(beside: Beside, present: int, trouble: Problem | None) -> Statement:
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


def injectable(beside: Beside) -> Statement:
    """The condition Injectable."""
    if beside.template is None:
        return "Injectable", "False", "PolicyViolation", "No new pod gets the sidecar: see the condition Progressing."
    status = "True" if beside.offer == "AtAdmission" else "False"
    return "Injectable", status, beside.offer, OFFERS[beside.offer]


def not_scaling(service: Service, beside: Beside) -> Statement | None:
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
