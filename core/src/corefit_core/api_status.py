"""The status of an InferenceService: what the operator says of it, in the form that the API server stores.

By the Kubernetes API conventions for conditions. May not decide anything.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from corefit_core.api_part import Opaque, Part

Text = Annotated[str, Meta(max_length=1024)]


class Condition(Part, frozen=True, kw_only=True):
    """metav1.Condition."""

    type: Annotated[str, Meta(max_length=316)]
    status: Literal["True", "False", "Unknown"]
    observed_generation: int = 0
    last_transition_time: Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
    reason: Annotated[str, Meta(max_length=128)]
    message: Annotated[str, Meta(max_length=4096)]


class PlanStatus(Part, frozen=True, kw_only=True, omit_defaults=False):
    """What a pod runs with: as the pods report it, and as computed from the limit before they do."""

    workers: int
    threads_per_worker: int
    queue_depth: int
    why: Text


class ModelStatus(Part, frozen=True, kw_only=True, omit_defaults=False):
    """The model that ready pods serve; while a rollout goes on or is stuck another one than spec.model names."""

    uri: Annotated[str, Meta(max_length=2048)]
    revision: Annotated[str, Meta(description="spec.model.revision of these pods.", max_length=256)] | UnsetType = UNSET
    sha256: Annotated[str, Meta(description="Of the file, where the pods agree.", max_length=64)] | UnsetType = UNSET


class CpuStatus(Part, frozen=True, kw_only=True, omit_defaults=False):
    """CPU of each pod."""

    wanted: Annotated[str, Meta(description="What each pod is to have.", max_length=32)]
    granted: Annotated[
        str, Meta(description="What the pods have: the least and the most where they differ.", max_length=32)
    ]


class LastDecision(Part, frozen=True, kw_only=True, omit_defaults=False):
    """The newest decision, and from what; mode says whether it is carried out."""

    time: Annotated[
        str,
        Meta(
            description="Since when replicas, cpu and reason have been the same.",
            extra_json_schema={"format": "date-time"},
        ),
    ]
    replicas: int
    cpu: Annotated[str, Meta(description="CPU of each pod.", max_length=32)] | UnsetType = UNSET
    uncapped: Annotated[int, Meta(description="Before bounds and windows.")] | UnsetType = UNSET
    reason: Annotated[str, Meta(max_length=128)]
    message: Text


class InferenceServiceStatus(Part, frozen=True, kw_only=True, omit_defaults=False):
    """What is there."""

    observed_generation: int = 0
    replicas: int = 0
    ready: Annotated[str, Meta(description="Ready and desired replicas, as `kubectl get` shows.", max_length=32)] = ""
    state: Annotated[
        str,
        Meta(
            description="In one word: Serving, RollingOut, or what keeps a rollout from going on; the conditions "
            "say more.",
            max_length=128,
        ),
    ] = ""
    ready_replicas: int = 0
    stale_replicas: (
        Annotated[int, Meta(description="Pods injected from an older state of the resource, or by another version.")]
        | UnsetType
    ) = UNSET
    sidecar: (
        Annotated[Opaque, Meta(description="In mode Sidecar: what pods get, as a pod template; admission copies it.")]
        | UnsetType
    ) = UNSET
    desired_replicas: Annotated[int, Meta(description="What the Deployment is to have.")] = 0
    recommended_replicas: Annotated[int, Meta(description="What the recommender would choose.")] | UnsetType = UNSET
    selector: Annotated[str, Meta(description="Label selector of the pods, for the scale subresource.")] = ""
    model: ModelStatus | UnsetType = UNSET
    plan: PlanStatus | UnsetType = UNSET
    cpu: CpuStatus | UnsetType = UNSET
    latency: (
        Annotated[str, Meta(description="Measured in about the last minute, against the objective.", max_length=64)]
        | UnsetType
    ) = UNSET
    cost_per_hour: Annotated[str, Meta(description="Of the replicas there are.", max_length=64)] | UnsetType = UNSET
    last_decision: LastDecision | UnsetType = UNSET
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(
            max_length=16, extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = ()
