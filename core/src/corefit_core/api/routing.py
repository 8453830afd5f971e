"""The part of an InferenceService that says how requests reach the pods. May not decide anything."""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from corefit_core.api.gateway import Gateway
from corefit_core.api.part import EMPTIED, Part

Balancing = Literal["Direct", "Queue", "Auto"]
QUEUE_MESSAGE: Final = (
    "balancing Queue is for pods of the runtime alone: with an application, or in mode Sidecar, use Direct or Auto"
)
ROUTING_RULE: Final = (
    "self.routing.balancing != 'Queue' || (self.mode == 'Service' && !has(self.application))",
    QUEUE_MESSAGE,
)
"""Of the whole spec: the expression that must hold, and the message when it doesn't."""


class Routing(Part, frozen=True, kw_only=True):
    """How requests reach the pods."""

    balancing: Annotated[
        Balancing,
        Meta(
            description="Direct: the Service gives each connection to some pod, and all requests of that connection go "
            "there. Queue: Corefit runs a balancer (HAProxy) behind the Service, which gives each request to the pod "
            "with the fewest requests. Auto: Queue while that saves more CPU than the balancer takes, else Direct; "
            "status.routing says how much that is. The Service keeps its name, address and port. While no balancer "
            "serves, the Service works as with Direct, and the condition BalancerReady says why."
        ),
    ] = "Direct"
    gateway: Annotated[
        Gateway | UnsetType,
        Meta(
            description="Gateways of the Gateway API that send requests to the Service: Corefit makes an HTTPRoute. "
            "The condition RouteReady says what became of it.",
            extra_json_schema=EMPTIED,
        ),
    ] = UNSET
