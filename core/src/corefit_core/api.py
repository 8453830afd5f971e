"""The InferenceService resource as the API server stores it: the structs that its schema is generated from.

One source for types, defaults, rules and descriptions; `corefit_core.crd` turns it into the CRD, and
`corefit_core.service` into numbers. Strings such as quantities stay strings here. May not decide anything.
"""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType, field

from corefit_core import naming
from corefit_core.api_application import MODE_RULES, SERVICE_MODE, Application, ServiceMode, TargetRef
from corefit_core.api_calibration import Calibration
from corefit_core.api_model import MODEL_RULES, Model, Named
from corefit_core.api_part import EMPTIED, ObjectName, Opaque, Part, keyed, own_keys, rules
from corefit_core.api_resources import RESOURCES_RULES, STARTUP_RULES, Resources, Startup
from corefit_core.api_status import InferenceServiceStatus

RESERVED_ENV_PREFIX: Final = "COREFIT_"
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
    """What an answer may take, queueing included."""

    percentile: Annotated[int, Meta(ge=50, le=99, description="Percent of requests that the latency holds for.")] = 99
    latency_milliseconds: Annotated[int, Meta(ge=1, le=60_000, description="Milliseconds from arrival to answer.")] = (
        100
    )


Mode = Literal["Auto", "Recommend", "Manual"]


class Scaling(Part, frozen=True, kw_only=True):
    """How many pods there are, and who says so."""

    mode: Annotated[
        Mode,
        Meta(
            description="Auto: Corefit scales. Recommend: it writes what it would do into status only. "
            "Manual: spec.scaling.replicas rules, by hand or by an HPA or KEDA on the scale subresource."
        ),
    ] = "Auto"
    min_replicas: Annotated[Replicas, Meta(description="Lower bound in mode Auto.")] = 1
    max_replicas: Annotated[Replicas, Meta(description="Upper bound in mode Auto.")] = 10
    replicas: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="Replicas in mode Manual, and refused in another mode. Set it together with the mode: its "
            "default of 1 takes the others away.",
        ),
    ] = 1
    down_stabilization_seconds: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=3600,
                description="Replicas go down to the most that were needed within so many seconds. Unset: 60, or two "
                "start-ups of a pod where those are longer.",
            ),
        ]
        | UnsetType
    ) = UNSET
    target_ref: Annotated[
        TargetRef | UnsetType,
        Meta(
            description="In mode Sidecar: the workload that is scaled; without it status only says what would be. It "
            f"must consent: by the label {naming.LABEL_INJECT}: NAME on its pod template, or by the annotation "
            f"{naming.ANNOTATION_SCALED_BY}: NAME on itself."
        ),
    ] = UNSET


_DECIMAL: Final = rules(
    ("self.matches('^[0-9]{1,6}([.][0-9]{1,9})?$')", "a price must be a decimal number such as 0.04048")
)


class Price(Part, frozen=True, kw_only=True):
    """What a core and a GiB cost an hour. Default: AWS Fargate, Linux/x86, us-east-1."""

    core_hour: Annotated[
        str, Meta(description="Price of one core for one hour.", max_length=16, extra_json_schema=_DECIMAL)
    ] = "0.04048"
    gib_hour: Annotated[
        str, Meta(description="Price of one GiB of memory for one hour.", max_length=16, extra_json_schema=_DECIMAL)
    ] = "0.004445"
    currency: Annotated[
        str,
        Meta(
            description="ISO 4217 code of the currency.",
            max_length=3,
            extra_json_schema=rules(("self.matches('^[A-Z]{3}$')", "currency must be three capital letters, as USD")),
        ),
    ] = "USD"


ServiceAccountName = Annotated[
    ObjectName, Meta(description="A ServiceAccount of your own instead of the generated one.")
]


class PodTemplate(Part, frozen=True, kw_only=True):
    """What is added to the runtime's pods. Fields of core/v1 types are passed through as they are."""

    labels: Annotated[
        dict[str, str], Meta(description="Labels of the pods.", max_length=64, extra_json_schema=own_keys("labels"))
    ] = field(default_factory=dict)
    annotations: Annotated[
        dict[str, str],
        Meta(description="Annotations of the pods.", max_length=64, extra_json_schema=own_keys("annotations")),
    ] = field(default_factory=dict)
    node_selector: Annotated[
        dict[str, str], Meta(description="Labels that a node must have.", max_length=64, extra_json_schema=EMPTIED)
    ] = field(default_factory=dict)
    tolerations: Annotated[tuple[Opaque, ...], Meta(description="core/v1 tolerations.", max_length=64)] = ()
    affinity: Annotated[Opaque, Meta(description="core/v1 affinity.", extra_json_schema=EMPTIED)] | UnsetType = UNSET
    topology_spread_constraints: Annotated[
        tuple[Opaque, ...], Meta(description="core/v1 topology spread constraints.", max_length=16)
    ] = ()
    priority_class_name: Annotated[ObjectName, Meta(description="PriorityClass.")] | UnsetType = UNSET
    service_account_name: ServiceAccountName | UnsetType = UNSET
    image_pull_secrets: Annotated[tuple[Named, ...], keyed("name", "Secrets that the kubelet pulls images with.")] = ()
    env: Annotated[
        tuple[Opaque, ...],
        keyed(
            "name",
            "core/v1 environment variables of the runtime.",
            (
                f"self.all(e, !e.name.startsWith('{RESERVED_ENV_PREFIX}'))",
                f"names that begin with {RESERVED_ENV_PREFIX} are set by Corefit: use the fields of spec instead",
            ),
        ),
    ] = ()
    volumes: Annotated[
        tuple[Opaque, ...],
        keyed(
            "name",
            "core/v1 volumes.",
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
            "core/v1 volume mounts of the runtime.",
            (
                f"self.all(m, m.mountPath.matches('{MOUNT_PATH}') && !m.mountPath.matches('{RESERVED_MOUNT}'))",
                MOUNT_RULE,
            ),
        ),
    ] = ()


Image = Annotated[
    str,
    Meta(
        description="Image of the runtime; the operator's default when it is left out.",
        max_length=512,
        extra_json_schema=rules(("self.matches('^[^\\\\s]+$')", "image must not be empty or contain spaces")),
    ),
]


class InferenceServiceSpec(Part, frozen=True, kw_only=True):
    """What is asked for."""

    mode: Annotated[ServiceMode, SERVICE_MODE] = "Service"
    model: Annotated[
        Model,
        Meta(
            description="Which model is served.",
            extra_json_schema=rules(*MODEL_RULES),
        ),
    ]
    resources: Annotated[
        Resources,
        Meta(
            description="What each pod is granted.",
            extra_json_schema=rules(*RESOURCES_RULES),
        ),
    ] = Resources()
    startup: Annotated[Startup | UnsetType, Meta(description="How a pod starts.", extra_json_schema=EMPTIED)] = UNSET
    objective: Annotated[Objective, Meta(description="What an answer may take, queueing included.")] = Objective()
    scaling: Annotated[
        Scaling,
        Meta(
            description="How many pods there are, and who says so.",
            extra_json_schema=rules(
                ("self.minReplicas <= self.maxReplicas", "minReplicas must not be above maxReplicas"),
                (
                    "self.mode == 'Manual' || oldSelf.mode == 'Manual' || self.replicas in [1, oldSelf.replicas]",
                    "replicas counts in mode Manual only: set minReplicas and maxReplicas, or mode together with it",
                ),
            ),
        ),
    ] = Scaling()
    calibration: Annotated[
        Calibration | UnsetType,
        Meta(description="How the model is measured before it serves.", extra_json_schema=EMPTIED),
    ] = UNSET
    price: Annotated[Price, Meta(description="What a core and a GiB cost an hour.")] = Price()
    image: Image | UnsetType = UNSET
    image_pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"], Meta(description="When the kubelet pulls the image.")
    ] = "IfNotPresent"
    template: Annotated[
        PodTemplate | UnsetType, Meta(description="What is added to the runtime's pods.", extra_json_schema=EMPTIED)
    ] = UNSET
    application: Annotated[
        Application | UnsetType,
        Meta(description="An application of yours in the pods, beside the runtime; the Service routes to it."),
    ] = UNSET


class InferenceService(Part, frozen=True, kw_only=True):
    """A model served on CPUs, sized to the cores that it is granted and scaled by what its pods report."""

    spec: Annotated[
        InferenceServiceSpec,
        Meta(
            description="What is asked for.",
            extra_json_schema=rules(*STARTUP_RULES, *MODE_RULES),
        ),
    ]
    status: Annotated[InferenceServiceStatus | UnsetType, Meta(description="What is there.")] = UNSET
