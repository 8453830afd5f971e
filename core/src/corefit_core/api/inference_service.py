"""The InferenceService resource as the API server stores it: the structs that its schema is generated from.

One source for types, defaults, rules and descriptions; `corefit_core.api.crd` turns it into the CRD, and
`corefit_core.spec` into numbers. Strings such as quantities stay strings here. May not decide anything.
"""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType, field

from corefit_core import environment, naming
from corefit_core.api.application import MODE_RULES, SERVICE_MODE, Application, ServiceMode, TargetRef
from corefit_core.api.calibration import Calibration
from corefit_core.api.gateway import GATEWAY_RULE
from corefit_core.api.model import MODEL_RULES, Model, Named
from corefit_core.api.part import EMPTIED, ObjectName, Opaque, Part, keyed, own_keys, rules
from corefit_core.api.resources import RESOURCES_RULES, STARTUP_RULES, Resources, Startup
from corefit_core.api.routing import ROUTING_RULE, Routing
from corefit_core.api.status import InferenceServiceStatus
from corefit_core.defaults import DOWN_STABILIZATION_S

RESERVED_VOLUMES: Final = ("models", "tmp", "model-source", "model-credentials")
MOUNT_PATH: Final = "^/mnt/[A-Za-z0-9_][A-Za-z0-9._-]*$"
"""Where a resource may mount its volumes: directly in /mnt. Elsewhere a mount could replace code of the runtime or of
its libraries: `/opt/corefit`, `/usr`, `/etc/ld.so.preload`. So could a mount inside another one, since container
runtimes follow a symbolic link that the outer volume has at that place."""
RESERVED_MOUNT: Final = "^/mnt/model-(source|credentials)$"
MOUNT_RULE: Final = (
    "mountPath must be /mnt/NAME, such as /mnt/my-model, with a NAME of letters, digits, '.', '_' and '-' that begins "
    "with a letter, a digit or '_'; /mnt/model-source and /mnt/model-credentials are Corefit's own"
)

Replicas = Annotated[int, Meta(ge=1, le=1000)]


class Objective(Part, frozen=True, kw_only=True):
    """The latency objective: how long an answer may take, its time in the queue included."""

    percentile: Annotated[
        float,
        Meta(
            ge=50,
            le=99,
            description="The percentage of requests that must meet the latency, such as 99 or 97.5. It is 99 at most: "
            "of 99.9 a service would need thousands of requests a minute to show that it is missed. For a stricter "
            "objective lower latencyMilliseconds.",
        ),
    ] = 99
    latency_milliseconds: Annotated[
        int, Meta(ge=1, le=60_000, description="The time from the arrival of a request to its answer, in milliseconds.")
    ] = 100


Mode = Literal["Auto", "Recommend", "Manual"]


class Scaling(Part, frozen=True, kw_only=True):
    """How many pods run, and who decides it."""

    mode: Annotated[
        Mode,
        Meta(
            description="Auto: Corefit sets the number of replicas. Recommend: Corefit writes its recommendation into "
            "status and changes nothing. Manual: you set spec.scaling.replicas, or an HPA or KEDA sets it through the "
            "scale subresource."
        ),
    ] = "Auto"
    min_replicas: Annotated[Replicas, Meta(description="The fewest replicas in mode Auto.")] = 1
    max_replicas: Annotated[Replicas, Meta(description="The most replicas in mode Auto.")] = 10
    replicas: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="The number of replicas in mode Manual. The API server refuses to change it in the other "
            "modes. Set it together with mode: it refuses a change of mode to Manual that leaves this number and would "
            "so end pods.",
        ),
    ] = 1
    down_stabilization_seconds: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=3600,
                description="Corefit removes a pod only when no recommendation of the last so many seconds needed it, "
                f"as stabilizationWindowSeconds of an HPA. Without a value: {DOWN_STABILIZATION_S:g}, or twice the "
                "start-up time of a pod where that is longer.",
            ),
        ]
        | UnsetType
    ) = UNSET
    target_ref: Annotated[
        TargetRef | UnsetType,
        Meta(
            description="In mode Sidecar, the workload that Corefit scales. Without it Corefit writes its "
            "recommendation into status and scales nothing. The workload must consent: by the label "
            f"{naming.LABEL_INJECT}: NAME on its pod template, or by the annotation {naming.ANNOTATION_SCALED_BY}: "
            "NAME on itself."
        ),
    ] = UNSET


MANUAL_RULE: Final = {
    "rule": "self.spec.scaling.mode != 'Manual' || oldSelf.spec.scaling.mode == 'Manual' "
    "|| self.spec.scaling.replicas != oldSelf.spec.scaling.replicas "
    "|| (self.spec.mode == 'Sidecar' && !has(self.spec.scaling.targetRef)) "
    "|| !has(self.status) || !has(self.status.desiredReplicas) "
    "|| self.spec.scaling.replicas >= self.status.desiredReplicas",
    "message": "mode Manual with the number of replicas left as it is would end pods: set replicas in the same change, "
    "such as to status.desiredReplicas, which keeps them; kubectl scale may lower it afterwards",
    "fieldPath": ".spec.scaling.replicas",
}
"""Of the whole resource, since status says what there is. The default of replicas, and a number that was left there,
would take effect with the mode; and a missing number can't be told from the default, which autoscalers need, since they
read the scale subresource."""


_DECIMAL: Final = rules(
    ("self.matches('^[0-9]{1,6}([.][0-9]{1,9})?$')", "a price must be a decimal number such as 0.04048")
)


class Price(Part, frozen=True, kw_only=True):
    """The prices that costs are computed with. Default: AWS Fargate, Linux/x86, us-east-1."""

    core_hour: Annotated[
        str, Meta(description="The price of one core for one hour.", max_length=16, extra_json_schema=_DECIMAL)
    ] = "0.04048"
    gib_hour: Annotated[
        str, Meta(description="The price of one GiB of memory for one hour.", max_length=16, extra_json_schema=_DECIMAL)
    ] = "0.004445"
    currency: Annotated[
        str,
        Meta(
            description="The currency, as a code of ISO 4217.",
            max_length=3,
            extra_json_schema=rules(("self.matches('^[A-Z]{3}$')", "currency must be three capital letters, as USD")),
        ),
    ] = "USD"


ServiceAccountName = Annotated[
    ObjectName, Meta(description="Your ServiceAccount, which replaces the one that Corefit creates.")
]


class PodTemplate(Part, frozen=True, kw_only=True):
    """What Corefit adds to the pods. Corefit passes fields of core/v1 types on unchanged."""

    labels: Annotated[
        dict[str, str],
        Meta(description="Labels that Corefit adds to the pods.", max_length=64, extra_json_schema=own_keys("labels")),
    ] = field(default_factory=dict)
    annotations: Annotated[
        dict[str, str],
        Meta(
            description="Annotations that Corefit adds to the pods.",
            max_length=64,
            extra_json_schema=own_keys("annotations"),
        ),
    ] = field(default_factory=dict)
    node_selector: Annotated[
        dict[str, str],
        Meta(description="Labels that a node must have to run the pods.", max_length=64, extra_json_schema=EMPTIED),
    ] = field(default_factory=dict)
    tolerations: Annotated[
        tuple[Opaque, ...], Meta(description="Tolerations of the pods (core/v1).", max_length=64)
    ] = ()
    affinity: (
        Annotated[Opaque, Meta(description="Affinity of the pods (core/v1).", extra_json_schema=EMPTIED)] | UnsetType
    ) = UNSET
    topology_spread_constraints: Annotated[
        tuple[Opaque, ...], Meta(description="Topology spread constraints of the pods (core/v1).", max_length=16)
    ] = ()
    priority_class_name: Annotated[ObjectName, Meta(description="The PriorityClass of the pods.")] | UnsetType = UNSET
    service_account_name: ServiceAccountName | UnsetType = UNSET
    image_pull_secrets: Annotated[tuple[Named, ...], keyed("name", "Secrets with which the kubelet pulls images.")] = ()
    env: Annotated[
        tuple[Opaque, ...],
        keyed(
            "name",
            "Environment variables of the runtime's container (core/v1).",
            (
                f"self.all(e, !e.name.startsWith('{environment.PREFIX}'))",
                f"names that begin with {environment.PREFIX} are set by Corefit: use the fields of spec instead",
            ),
        ),
    ] = ()
    volumes: Annotated[
        tuple[Opaque, ...],
        keyed(
            "name",
            "Volumes of the pods (core/v1).",
            (
                f"self.all(v, !(v.name in {list(RESERVED_VOLUMES)!r}))",
                f"the volumes {', '.join(RESERVED_VOLUMES)} are Corefit's own: choose another name",
            ),
        ),
    ] = ()
    volume_mounts: Annotated[
        tuple[Opaque, ...],
        keyed(
            "mountPath",
            "Volume mounts of the runtime's container (core/v1).",
            (
                f"self.all(m, m.mountPath.matches('{MOUNT_PATH}') && !m.mountPath.matches('{RESERVED_MOUNT}'))",
                MOUNT_RULE,
            ),
        ),
    ] = ()


Image = Annotated[
    str,
    Meta(
        description="The image of the runtime. Without a value, the operator's default.",
        max_length=512,
        extra_json_schema=rules(("self.matches('^[^\\\\s]+$')", "image must not be empty or contain spaces")),
    ),
]


class InferenceServiceSpec(Part, frozen=True, kw_only=True):
    """The desired state."""

    mode: Annotated[ServiceMode, SERVICE_MODE] = "Service"
    model: Annotated[
        Model,
        Meta(
            description="The model, and where it comes from.",
            extra_json_schema=rules(*MODEL_RULES),
        ),
    ]
    resources: Annotated[
        Resources,
        Meta(
            description="CPU and memory of each pod.",
            extra_json_schema=rules(*RESOURCES_RULES),
        ),
    ] = Resources()
    startup: Annotated[
        Startup | UnsetType, Meta(description="What a pod gets while it starts.", extra_json_schema=EMPTIED)
    ] = UNSET
    objective: Annotated[
        Objective,
        Meta(description="The latency objective: how long an answer may take, its time in the queue included."),
    ] = Objective()
    scaling: Annotated[
        Scaling,
        Meta(
            description="How many pods run, and who decides it.",
            extra_json_schema=rules(
                ("self.minReplicas <= self.maxReplicas", "minReplicas must not be above maxReplicas"),
                (
                    "self.mode == 'Manual' || oldSelf.mode == 'Manual' || self.replicas in [1, oldSelf.replicas]",
                    "replicas and kubectl scale are for mode Manual: set that mode, or minReplicas and maxReplicas",
                ),
            ),
        ),
    ] = Scaling()
    routing: Annotated[Routing, Meta(description="How requests reach the pods.")] = Routing()
    calibration: Annotated[
        Calibration | UnsetType,
        Meta(description="How the runtime measures the model when it starts.", extra_json_schema=EMPTIED),
    ] = UNSET
    price: Annotated[Price, Meta(description="The prices that costs are computed with.")] = Price()
    image: Image | UnsetType = UNSET
    image_pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"], Meta(description="When the kubelet pulls the image of the runtime.")
    ] = "IfNotPresent"
    template: Annotated[
        PodTemplate | UnsetType, Meta(description="What Corefit adds to the pods.", extra_json_schema=EMPTIED)
    ] = UNSET
    application: Annotated[
        Application | UnsetType,
        Meta(
            description="Your application. It runs in the pods together with the runtime, and the Service routes to it."
        ),
    ] = UNSET


class InferenceService(Part, frozen=True, kw_only=True):
    """A model that Corefit serves on CPUs. Pods size themselves to their CPU; their reports drive the scaling."""

    spec: Annotated[
        InferenceServiceSpec,
        Meta(
            description="The desired state.",
            extra_json_schema=rules(*STARTUP_RULES, *MODE_RULES, ROUTING_RULE, GATEWAY_RULE),
        ),
    ]
    status: Annotated[InferenceServiceStatus | UnsetType, Meta(description="The observed state.")] = UNSET
