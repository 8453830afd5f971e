"""Whether requests reach a resource by its Gateways, and why they don't: from what the route's status says. Pure."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from corefit_core.api.gateway import Gateway, ParentReference
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.problem import Problem, described
from corefit_operator.kube.metadata import ObjectCondition
from corefit_operator.kube.routes import ParentRef, RouteParent, RouteStatus

REASONS: Final = {
    "Accepted": "every Gateway that spec.routing.gateway names takes the route",
    "Pending": "the route is being made or taken away, or no controller has answered for a Gateway yet",
    "NotAccepted": "a Gateway refuses the route, or has no listener for it",
    "RefsNotResolved": "a Gateway does not find the Service, or may not send to it",
    "NoGatewayAPI": "the cluster has no HTTPRoutes of gateway.networking.k8s.io/v1",
    "NotAllowed": "the operator has no right to make HTTPRoutes",
}
"""Of the condition RouteReady, and when each is said; a problem has its own."""


ADVICE: Final = {
    "NotAccepted": "Correct spec.routing.gateway, or the Gateway's listeners: their hostnames and allowedRoutes.",
    "RefsNotResolved": "See the status of the HTTPRoute (kubectl describe httproute).",
}
"""What to do where a Gateway says no, by the reason that follows from it."""
_SHOWN: Final = 4
"""Names that a message lists; one may have 253 characters."""


class Routed(msgspec.Struct, frozen=True, kw_only=True):
    """What the condition RouteReady says.

    Attributes:
        ready: requests come by every Gateway.
        reason, message: of the condition.
        retry_s: when to look again.
    """

    ready: bool = False
    reason: str
    message: str
    retry_s: float | None = None


MAKING: Final = Routed(reason="Pending", message="Corefit makes the HTTPRoute.")
DETACHING: Final = Routed(
    reason="Pending", message="Corefit takes the Gateways out of the HTTPRoute, which spec.routing no longer names."
)
MISSING: Final = Routed(
    reason="NoGatewayAPI",
    message="The cluster has no HTTPRoutes of gateway.networking.k8s.io/v1. Install the Gateway API, with a controller "
    "of Gateways, or remove spec.routing.gateway. The Service works without it.",
)
FORBIDDEN: Final = Routed(
    reason="NotAllowed",
    message="Corefit's operator has no right to make HTTPRoutes. Whoever administers it can give it: set the chart's "
    "value httpRoutes to true. The Service works without a route.",
)


def by_problem(problem: Problem) -> Routed:
    """Why there is no route, or not the right one."""
    return Routed(reason=problem.reason, message=problem.message)


def by_status(spec: ServingSpec, gateway: Gateway, generation: int, status: RouteStatus) -> Routed:
    """What the Gateways' controllers say of the route as it is now.

    Args:
        spec: of the resource.
        gateway: its Gateways.
        generation: of the route; what is said of an older one counts for nothing.
        status: of the route.
    """
    for wanted in gateway.parent_refs:
        wrong = _wrong(wanted, _of(wanted, spec.namespace, status.parents), generation)
        if wrong is not None:
            return wrong
    hosts = f"for {_listed(gateway.hostnames)} " if gateway.hostnames else ""
    gateways = _listed([_name(ref) for ref in gateway.parent_refs])
    subject = f"The Gateway {gateways} sends" if len(gateway.parent_refs) == 1 else f"The Gateways {gateways} send"
    return Routed(ready=True, reason="Accepted", message=f"{subject} requests {hosts}to the Service {spec.child_name}.")


def _of(wanted: ParentReference, namespace: str, parents: Sequence[RouteParent]) -> list[RouteParent]:
    ref = ParentRef(
        name=wanted.name,
        namespace=namespace if wanted.namespace is UNSET else wanted.namespace,
        section_name="" if wanted.section_name is UNSET else wanted.section_name,
        port=0 if wanted.port is UNSET else wanted.port,
    )
    return [p for p in parents if _whole(p.parent_ref, namespace) == ref]


def _whole(ref: ParentRef, namespace: str) -> ParentRef:
    return ref if ref.namespace else msgspec.structs.replace(ref, namespace=namespace)


def _wrong(wanted: ParentReference, said: Sequence[RouteParent], generation: int) -> Routed | None:
    """What keeps one Gateway from sending requests; None where one of its controllers says that all is well."""
    found = [_by_conditions(wanted, parent, generation) for parent in said]
    if None in found:
        return None
    pending = f"No controller has answered for the Gateway {_name(wanted)} yet. If that stays so, check with kubectl "
    pending += "get gateway that it exists, and that its GatewayClass has a controller."
    return next((each for each in found if each is not None), Routed(reason="Pending", message=pending))


def _by_conditions(wanted: ParentReference, parent: RouteParent, generation: int) -> Routed | None:
    current = {c.type: c for c in parent.conditions if c.observed_generation in (0, generation)}
    for type_, reason in (("Accepted", "NotAccepted"), ("ResolvedRefs", "RefsNotResolved")):
        condition = current.get(type_)
        if condition is None:
            return Routed(reason="Pending", message=f"The Gateway {_name(wanted)} has not judged the route yet.")
        if condition.status != "True":
            return by_problem(described(reason, _refusal(wanted, condition), ADVICE[reason]))
    return None


def _refusal(wanted: ParentReference, condition: ObjectCondition) -> str:
    said = condition.message or "it gives no message"
    return f"The Gateway {_name(wanted)} says {condition.reason or condition.status}: {said}"


def _name(ref: ParentReference) -> str:
    where = "" if ref.namespace is UNSET else f"{ref.namespace}/"
    listener = "" if ref.section_name is UNSET else f" ({ref.section_name})"
    return f"{where}{ref.name}{listener}"


def _listed(names: Sequence[str]) -> str:
    """The first few: a condition's message is bounded."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
