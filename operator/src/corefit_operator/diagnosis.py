"""What keeps pods from serving, in the words of the one who knows: the pod itself, the kubelet, the scheduler, quota.

Pure. Says the reason as a CamelCase word for conditions, and in the message what to do about it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from corefit_core.report import Report
from corefit_core.service import Service
from corefit_operator.objects import Child, ContainerStatus, Pod

MESSAGE_MAX: Final = 1024
"""Characters of a message that others wrote, a pod among them: status must not grow without bound."""

FIXES: Final[Mapping[str, str]] = {
    "ModelUnavailable": "Check spec.model.uri, and that the pods can reach its server.",
    "ModelFileMissing": "Check the path in spec.model.uri, and that spec.template.volumes and volumeMounts mount a "
    "volume with that file where the path says.",
    "ModelFileMissingInClaim": "Check the path after the claim's name in spec.model.uri; it begins at the root of the "
    "claim's volume.",
    "ClaimNotFound": "Create the PersistentVolumeClaim in this namespace, or correct the claim's name in "
    "spec.model.uri or spec.template.volumes.",
    "ClaimNotBound": "See why with kubectl describe pvc: a StorageClass or a PersistentVolume may be missing.",
    "ModelTooLarge": "Raise spec.resources.memory, or serve a smaller model.",
    "ChecksumMismatch": "Check spec.model.sha256 against what the message names, or leave it out.",
    "ModelInvalid": "Check that spec.model.uri is an ONNX file that onnxruntime loads.",
    "ImagePullFailed": "Check spec.image and spec.template.imagePullSecrets.",
    "Unschedulable": "Free CPU and memory on the nodes, add nodes, or lower spec.resources.",
    "OutOfMemory": "Raise spec.resources.memory.",
    "QuotaExceeded": "Raise the namespace's quota, or lower spec.resources or spec.scaling.maxReplicas.",
    "PodsRefused": "Check the namespace's policies (LimitRange, Pod Security, admission webhooks).",
    "CrashLoop": "See the pod's log: kubectl logs --previous.",
    "ContainerNotStarted": "Check spec.template: volumes, claims and secrets that the pod refers to.",
    "ResizeDeferred": "Corefit adds replicas instead, and tries again in a minute.",
    "ResizeInfeasible": "Corefit adds replicas instead. spec.resources.maxCPU may be more than a node has.",
    "ResizeIgnored": "Corefit adds replicas instead. The node's kubelet may be older than Kubernetes 1.33.",
    "ResizeNotSupported": "Corefit scales replicas only: in-place resize needs Kubernetes 1.33 or later.",
    "ResizeNotAllowed": "Corefit scales replicas only: give the operator the verb patch on pods/resize.",
    "ResizeFailed": "Corefit adds replicas instead, and tries again in a few seconds.",
    "ResizeRefused": "Corefit adds replicas instead. Check the namespace's LimitRange and admission policies.",
    "ScaleRefused": "Check the namespace's admission policies; spec.scaling.maxReplicas may be more than they allow.",
    "ProgressDeadlineExceeded": "See the Events of its pods (kubectl describe pods): a volume, claim, Secret or "
    "ConfigMap of spec.template may be missing.",
    "Evicted": "See the conditions of the node (kubectl describe node); a new pod replaces this one.",
}
"""What to do about a problem, by its reason."""
_PULLING: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_NOT_STARTED: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CreateContainerInitError"}
)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a pod doesn't serve.

    Attributes:
        reason: CamelCase.
        message: what was said, and what to do.
    """

    reason: str
    message: str


def problem(
    pods: Sequence[Pod], reports: Mapping[str, Report], deployment: Child | None, service: Service | None = None
) -> Problem | None:
    """What keeps pods from serving; None when nothing is known to.

    Models first, since their message is the most telling; then what the kubelet and the scheduler say of pods
    that are there; then why there are none.
    """
    waiting = [pod for pod in pods if pod.live and not pod.ready]
    return _first(
        [
            *(_of_report(reports.get(pod.metadata.uid), pod, service) for pod in waiting),
            *(_of_containers(pod) for pod in waiting),
            *(_of_scheduler(pod) for pod in waiting),
            *_of_deployment(deployment),
            *(_of_eviction(pod) for pod in pods if not waiting),
        ]
    )


def printable(text: str) -> str:
    """A text of a pod's without control characters, which could forge lines of a log or rewrite a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def described(reason: str, message: str, fix: str = "") -> Problem:
    """A problem with its fix (that of its reason when none is given), cut to what a status may hold."""
    fix = fix or FIXES.get(reason, "")
    text = printable(message).strip()[: MESSAGE_MAX - len(fix) - 2].rstrip()
    ended = text if text.endswith((".", "!", "?")) or not text else f"{text}."
    return Problem(reason=reason, message=f"{ended} {fix}".strip())


def _first(found: Iterable[Problem | None]) -> Problem | None:
    return next((p for p in found if p is not None), None)


def _of_report(report: Report | None, pod: Pod, service: Service | None) -> Problem | None:
    if report is None or report.state != "Failed":
        return None
    reason, message = _word(report.reason) or "ModelError", report.message
    if reason != "ModelUnavailable" or service is None:
        return described(reason, message)
    # The pod's own model: after a change of the spec older pods have another one.
    uri = pod.model_uri or service.source_uri
    if uri == service.source_uri:
        message = message.replace(service.model_uri, uri)  # of a claim the pod knows the path in the container only
    fix = {"file": "ModelFileMissing", "pvc": "ModelFileMissingInClaim"}.get(uri.partition("://")[0], reason)
    return described(reason, message, FIXES[fix])


def _word(text: str) -> str:
    """What a pod calls its reason, if it is one by the API conventions: letters and digits, and not long."""
    return text if text.isascii() and text.isalnum() and len(text) <= 64 else ""


def _of_containers(pod: Pod) -> Problem | None:
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    return _first(_of_container(pod.metadata.name, status) for status in statuses)


def _of_container(pod: str, status: ContainerStatus) -> Problem | None:
    waiting, last = status.state.waiting, status.last_state.terminated
    if (waiting or status.state.terminated) and last and last.reason == "OOMKilled":
        return described("OutOfMemory", f"pod {pod} was killed for using more than its memory limit")
    if waiting is None:
        return None
    if waiting.reason in _PULLING:
        return described("ImagePullFailed", f"pod {pod}: {waiting.reason}: {waiting.message}")
    if waiting.reason in _NOT_STARTED:
        return described("ContainerNotStarted", f"pod {pod}: {waiting.reason}: {waiting.message}")
    if waiting.reason == "CrashLoopBackOff":
        code = f" with exit code {last.exit_code}" if last else ""
        return described("CrashLoop", f"pod {pod} ended {status.restart_count} times, lately{code}")
    return None


def _of_scheduler(pod: Pod) -> Problem | None:
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            reason = _unscheduled(condition.message)
            return described(reason, f"pod {pod.metadata.name}: {condition.message}")
    return None


def _unscheduled(message: str) -> str:
    """The reason in what the scheduler says (its volumebinding plugin's words where a claim is the matter)."""
    if re.search(r'persistentvolumeclaim "[^"]*" not found', message):
        return "ClaimNotFound"
    if "unbound immediate PersistentVolumeClaims" in message or "persistent volumes to bind" in message:
        return "ClaimNotBound"
    return "Unschedulable"


def _of_deployment(deployment: Child | None) -> Iterable[Problem]:
    conditions = {c.type: c for c in deployment.status.conditions} if deployment else {}
    failure, progress = conditions.get("ReplicaFailure"), conditions.get("Progressing")
    if failure is not None and failure.status == "True":
        quota = "exceeded quota" in failure.message
        yield described("QuotaExceeded" if quota else "PodsRefused", failure.message)
    if progress is not None and progress.status == "False":
        yield described("ProgressDeadlineExceeded", progress.message)


def _of_eviction(pod: Pod) -> Problem | None:
    if pod.status.phase == "Failed" and pod.status.reason == "Evicted":
        return described("Evicted", f"pod {pod.metadata.name}: {pod.status.message}")
    return None
