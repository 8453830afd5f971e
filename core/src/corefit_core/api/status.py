"""The status of an InferenceService: what the operator says of it, in the form that the API server stores.

By the Kubernetes API conventions for conditions. May not decide anything.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from corefit_core.api.part import Opaque, Part

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
    """The sizes that a pod runs with. Until pods report them, the sizes that the CPU limit gives."""

    workers: Annotated[int, Meta(description="How many requests a pod runs at the same time.")]
    threads_per_worker: Annotated[int, Meta(description="How many threads one run of the model uses.")]
    queue_depth: Annotated[int, Meta(description="How many requests may wait in a pod.")]
    why: Annotated[Text, Meta(description="What these sizes follow from.")]


class ModelStatus(Part, frozen=True, kw_only=True, omit_defaults=False):
    """The model that ready pods serve. It differs from spec.model until a rollout is complete."""

    uri: Annotated[str, Meta(description="The uri of the model that these pods serve.", max_length=2048)]
    revision: (
        Annotated[str, Meta(description="The revision of the model that these pods serve.", max_length=256)] | UnsetType
    ) = UNSET
    sha256: (
        Annotated[str, Meta(description="The SHA-256 of the model, if it is the same in all pods.", max_length=64)]
        | UnsetType
    ) = UNSET


class CpuStatus(Part, frozen=True, kw_only=True, omit_defaults=False):
    """CPU of each pod."""

    wanted: Annotated[str, Meta(description="The CPU that Corefit wants each pod to have.", max_length=32)]
    granted: Annotated[
        str, Meta(description="The CPU that the pods have. Where pods differ: the least and the most.", max_length=32)
    ]


Balances = Literal["Direct", "Queue"]
"""What balances: the Service by itself, connection by connection, or a balancer, request by request."""


class RoutingStatus(Part, frozen=True, kw_only=True, omit_defaults=False):
    """What one queue in front of all pods saves, whatever balances now."""

    recommended: Annotated[
        Balances,
        Meta(description="What takes less CPU for the load. With balancing Auto, Corefit carries it out."),
    ]
    saves: Annotated[
        str,
        Meta(
            description="The CPU of pods that one queue saves, as far as the load has needed it for a minute.",
            max_length=32,
        ),
    ]
    takes: Annotated[str, Meta(description="The CPU that the pods of the balancer request together.", max_length=32)]
    reason: Annotated[str, Meta(description="The reason in one word, in CamelCase.", max_length=128)]
    message: Annotated[Text, Meta(description="The reason in a sentence, with its figures.")]


class LastDecision(Part, frozen=True, kw_only=True, omit_defaults=False):
    """The newest scaling decision. In mode Recommend, Corefit does not carry it out."""

    time: Annotated[
        str,
        Meta(
            description="The time since which replicas, cpu and reason are unchanged.",
            extra_json_schema={"format": "date-time"},
        ),
    ]
    replicas: Annotated[int, Meta(description="The number of replicas.")]
    cpu: Annotated[str, Meta(description="The CPU of each pod.", max_length=32)] | UnsetType = UNSET
    uncapped: (
        Annotated[
            int,
            Meta(
                description="The number of replicas before minReplicas, maxReplicas and the stabilization window apply."
            ),
        ]
        | UnsetType
    ) = UNSET
    reason: Annotated[str, Meta(description="The reason in one word, in CamelCase.", max_length=128)]
    message: Annotated[Text, Meta(description="The reason in a sentence, with its figures.")]


class InferenceServiceStatus(Part, frozen=True, kw_only=True, omit_defaults=False):
    """The observed state."""

    observed_generation: Annotated[
        int, Meta(description="The metadata.generation of the resource that this status describes.")
    ] = 0
    replicas: Annotated[int, Meta(description="The number of pods.")] = 0
    ready: Annotated[
        str, Meta(description="Ready and desired replicas in the form READY/DESIRED, for kubectl get.", max_length=32)
    ] = ""
    state: Annotated[
        str,
        Meta(
            description="The state in one word: Serving, RollingOut, or what stops a rollout. Conditions say more.",
            max_length=128,
        ),
    ] = ""
    ready_replicas: Annotated[int, Meta(description="The number of ready pods.")] = 0
    stale_replicas: (
        Annotated[
            int,
            Meta(description="In mode Sidecar, the number of pods whose sidecar is of an older state of the resource."),
        ]
        | UnsetType
    ) = UNSET
    sidecar: (
        Annotated[
            Opaque, Meta(description="In mode Sidecar, the part of a pod template that admission copies into pods.")
        ]
        | UnsetType
    ) = UNSET
    desired_replicas: Annotated[
        int, Meta(description="The number of replicas that Corefit sets in the Deployment.")
    ] = 0
    recommended_replicas: (
        Annotated[int, Meta(description="The number of replicas that Corefit recommends.")] | UnsetType
    ) = UNSET
    selector: Annotated[str, Meta(description="The label selector of the pods, for the scale subresource.")] = ""
    model: ModelStatus | UnsetType = UNSET
    plan: PlanStatus | UnsetType = UNSET
    cpu: CpuStatus | UnsetType = UNSET
    balancing: (
        Annotated[
            Balances,
            Meta(
                description="What balances requests now: the Service by itself, connection by connection (Direct), or "
                "the balancer, request by request (Queue)."
            ),
        ]
        | UnsetType
    ) = UNSET
    routing: RoutingStatus | UnsetType = UNSET
    latency: (
        Annotated[
            str,
            Meta(
                description="The latency of the last minute and the objective, with the minutes that it covers.",
                max_length=64,
            ),
        ]
        | UnsetType
    ) = UNSET
    cost_per_hour: Annotated[str, Meta(description="What the pods cost an hour.", max_length=64)] | UnsetType = UNSET
    last_decision: LastDecision | UnsetType = UNSET
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(
            max_length=16, extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = ()
