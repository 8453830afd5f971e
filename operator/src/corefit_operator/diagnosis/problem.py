"""A problem: why something is not as it should be, as a reason and a message that says what to do about it. Pure."""

from collections.abc import Mapping
from typing import Final

import msgspec

MESSAGE_MAX: Final = 1024
"""Characters of a message that others wrote, a pod among them: status must not grow without bound."""

FIXES: Final[Mapping[str, str]] = {
    "ModelUnavailable": "Check spec.model.uri, and that the pods can reach its server. The pods go on trying.",
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
    "UnschedulableByRules": "Compare nodeSelector, affinity, tolerations and topologySpreadConstraints of "
    "spec.template with the labels and taints of the nodes (kubectl describe nodes), and see whether one is cordoned.",
    "UnschedulableByGates": "What has set the pod's scheduling gates, such as a queue of jobs, removes them when it "
    "lets the pod start.",
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


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a pod doesn't serve.

    Attributes:
        reason: CamelCase.
        message: what was said, and what to do.
    """

    reason: str
    message: str


def printable(text: str) -> str:
    """A text of a pod's without control characters, which could forge lines of a log or rewrite a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def described(reason: str, message: str, fix: str = "") -> Problem:
    """A problem with its fix (that of its reason when none is given), cut to what a status may hold."""
    fix = fix or FIXES.get(reason, "")
    text = printable(message).strip()[: MESSAGE_MAX - len(fix) - 2].rstrip()
    ended = text if text.endswith((".", "!", "?")) or not text else f"{text}."
    return Problem(reason=reason, message=f"{ended} {fix}".strip())
