"""Finds what keeps pods from serving, in the words of the pod itself, the kubelet, the scheduler or a quota.

Pure. Says the reason as a CamelCase word for conditions, and in the message what to do about it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from corefit_core.report import Report
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.problem import FIXES, Problem, described
from corefit_operator.kube.pods import ContainerStatus, Pod
from corefit_operator.kube.workloads import Child

_PULLING: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_NOT_STARTED: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CreateContainerInitError"}
)


def problem(
    pods: Sequence[Pod],
    reports: Mapping[str, Report],
    deployment: Child | None,
    spec: ServingSpec | None = None,
    lacks: str = "",
) -> Problem | None:
    """What keeps pods from serving; None when nothing is known to.

    Models first, since their message is the most telling; then what the kubelet and the scheduler say of pods
    that are there; then why there are none. `lacks` says what the first pod without a node requests and what nodes
    have free; it is empty where that is not known.
    """
    waiting = [pod for pod in pods if pod.live and not pod.ready]
    return _first(
        [
            *(_of_report(reports.get(pod.metadata.uid), pod, spec) for pod in waiting),
            *(_of_containers(pod) for pod in waiting),
            *(_of_scheduler(pod, lacks) for pod in waiting),
            of_deployment(deployment),
            *(_of_eviction(pod) for pod in pods if not waiting),
        ]
    )


def _first(found: Iterable[Problem | None]) -> Problem | None:
    return next((p for p in found if p is not None), None)


def _of_report(report: Report | None, pod: Pod, spec: ServingSpec | None) -> Problem | None:
    if report is None or report.state != "Failed":
        return None
    reason, message = _word(report.reason) or "ModelError", report.message
    if reason != "ModelUnavailable" or spec is None:
        return described(reason, message)
    # The pod's own model: after a change of the spec older pods have another one.
    uri = pod.model_uri or spec.model.source_uri
    if uri == spec.model.source_uri:
        message = message.replace(spec.model.uri, uri)  # of a claim the pod knows the path in the container only
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
        code = f", the last time with exit code {last.exit_code}" if last else ""
        return described("CrashLoop", f"pod {pod} has exited {status.restart_count} times{code}")
    return None


def _of_scheduler(pod: Pod, lacks: str) -> Problem | None:
    said = pod.unscheduled
    if not said:
        return None
    reason, fix = _unscheduled(said)
    figures = f" {lacks}" if "Insufficient" in said and lacks else ""
    return described(reason, f"pod {pod.metadata.name}{figures}: {said}", fix)


def _unscheduled(message: str) -> tuple[str, str]:
    """The reason in what the scheduler says (its plugins' words where a claim is the matter), and what to do."""
    if re.search(r'persistentvolumeclaim "[^"]*" not found', message):
        return "ClaimNotFound", ""
    if "unbound immediate PersistentVolumeClaims" in message or "persistent volumes to bind" in message:
        return "ClaimNotBound", ""
    rules = ("node affinity", "untolerated taint", "topology spread constraints", "anti-affinity", "were unschedulable")
    if "Insufficient" not in message and any(rule in message for rule in rules):
        return "Unschedulable", FIXES["UnschedulableByRules"]
    return "Unschedulable", FIXES["UnschedulableByGates" if "scheduling gates" in message else "Unschedulable"]


def of_deployment(deployment: Child | None) -> Problem | None:
    """What keeps a Deployment from having its pods; None when nothing is known to."""
    conditions = {c.type: c for c in deployment.status.conditions} if deployment else {}
    failure, progress = conditions.get("ReplicaFailure"), conditions.get("Progressing")
    if failure is not None and failure.status == "True":
        quota = "exceeded quota" in failure.message
        return described("QuotaExceeded" if quota else "PodsRefused", failure.message)
    if progress is not None and progress.status == "False":
        return described("ProgressDeadlineExceeded", progress.message)
    return None


def _of_eviction(pod: Pod) -> Problem | None:
    if pod.status.phase == "Failed" and pod.status.reason == "Evicted":
        return described("Evicted", f"pod {pod.metadata.name}: {pod.status.message}")
    return None
