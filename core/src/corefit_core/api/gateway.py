"""The part of an InferenceService that makes a Gateway of the Gateway API send requests to it. May not decide anything.

Fields and limits are those of `HTTPRoute` (gateway.networking.k8s.io/v1) that have the same names.
"""

from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from corefit_core.api.part import EMPTIED, ObjectName, Part, matching, rules

NAMESPACE: Final = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
HOSTNAME: Final = r"^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
ADDRESS: Final = "^[0-9.]+$"
DURATION: Final = "^([0-9]{1,5}(h|m|s|ms)){1,4}$"
"""GEP-2257."""
SIDECAR_MESSAGE: Final = "routing.gateway is for mode Service only: in mode Sidecar there is no Service to route to"
GATEWAY_RULE: Final = ("!has(self.routing.gateway) || self.mode == 'Service'", SIDECAR_MESSAGE)
"""Of the whole spec: the expression that must hold, and the message when it doesn't."""

_BOTH: Final = "has(self.request) && has(self.backendRequest) && duration(self.request) > duration('0s')"
TIMEOUTS_RULE: Final = (
    f"!({_BOTH}) || duration(self.backendRequest) <= duration(self.request)",
    "backendRequest must not be longer than request",
)
"""Of the timeouts; a request timeout of 0 is none."""

Namespace = Annotated[
    str,
    matching(
        NAMESPACE,
        "must be the name of a namespace: lower-case letters, digits and '-'",
        most=63,
        description="The namespace of the Gateway. Without a value, that of the resource. A Gateway of another "
        "namespace takes the route only if its listeners' allowedRoutes say so.",
    ),
]
Hostname = Annotated[
    str,
    matching(
        HOSTNAME,
        "must be a DNS name such as models.example.com or *.example.com, in lower case, and no IP address",
        most=253,
        never=ADDRESS,
    ),
]
Duration = Annotated[
    str,
    matching(DURATION, "must be a duration of h, m, s and ms, such as 500ms, 10s or 1m30s", least=2, most=28),
]


class ParentReference(Part, frozen=True, kw_only=True):
    """A Gateway, or one of its listeners."""

    name: Annotated[ObjectName, Meta(description="The name of the Gateway.")]
    namespace: Namespace | UnsetType = UNSET
    section_name: (
        Annotated[ObjectName, Meta(description="The name of one listener. Without a value: all that fit.")] | UnsetType
    ) = UNSET
    port: (
        Annotated[int, Meta(ge=1, le=65535, description="The port of the listeners. Without a value: any.")] | UnsetType
    ) = UNSET


class Timeouts(Part, frozen=True, kw_only=True):
    """How long requests may take at the Gateway."""

    request: Annotated[Duration, Meta(description="From a request to the end of its answer.")] | UnsetType = UNSET
    backend_request: (
        Annotated[Duration, Meta(description="Of each try, where the Gateway tries again.")] | UnsetType
    ) = UNSET


class Gateway(Part, frozen=True, kw_only=True):
    """Corefit makes an HTTPRoute from this, which sends requests to the Service."""

    parent_refs: Annotated[
        tuple[ParentReference, ...],
        Meta(description="The Gateways that are to take the route.", min_length=1, max_length=8),
    ]
    hostnames: Annotated[
        tuple[Hostname, ...],
        Meta(
            description="The host names of the requests. Without a value: those of the Gateway's listeners. Several "
            "resources may have the same one: /v2/models/NAME leads to the resource that serves this model.",
            max_length=16,
        ),
    ] = ()
    timeouts: (
        Annotated[
            Timeouts,
            Meta(
                description="How long requests may take at the Gateway. Without a value: what the Gateway does.",
                extra_json_schema=EMPTIED | rules(TIMEOUTS_RULE),
            ),
        ]
        | UnsetType
    ) = UNSET
