"""Whether one queue is worth its balancer by what was found, and what of that outlives the operator. Pure.

May not put a balancer anywhere: `balancer` does.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from corefit_core.errors import InvalidInput
from corefit_core.quantity import parse_millicores
from corefit_core.recommender import Decision, routing
from corefit_core.recommender.routing import RoutingState
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.balancer import manifests
from corefit_operator.status import resource_status
from corefit_operator.status.conditions.route import ROUTE_READY


def restored(raw: Mapping[str, Any]) -> RoutingState:
    """What an operator that has just started knows: what the status of the resource says."""
    said = resource_status.parse(raw.get("status")).routing
    if said is UNSET:
        return RoutingState()
    try:
        return RoutingState(queue=said.recommended == "Queue", saved=parse_millicores(said.saves))
    except InvalidInput:
        return RoutingState()


def says_route(raw: Mapping[str, Any]) -> bool:
    """Whether the status of the resource says that it has a route by Gateways, or is about to."""
    # By the schema's word alone: to decode a status takes longer than the rest of this stage.
    conditions = (raw.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == ROUTE_READY.type for condition in conditions)


def followed(before: RoutingState, spec: ServingSpec, decision: Decision | None, now: float) -> RoutingState:
    """With this round; as before where the load is not known, and nothing where pods save nothing."""
    if spec.mode == "Manual" or not spec.may_have_queue:
        return RoutingState()
    if decision is None or decision.load is None:
        return before
    return routing.followed(before, spec.policy, decision.load, manifests.TAKEN, now)
