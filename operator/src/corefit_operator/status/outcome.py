"""What one reconcile came to: the result of each of its stages, from which status and metrics are made. Pure."""

import msgspec

from corefit_core.recommender import Decision
from corefit_core.recommender.routing import RoutingState
from corefit_operator.balancer.balancing import Balancing
from corefit_operator.children.settle import ChildrenResult
from corefit_operator.diagnosis.problem import Problem
from corefit_operator.gateway.routed import Routed
from corefit_operator.resize.sizes import Sized
from corefit_operator.workload.observe import Observed
from corefit_operator.workload.scale import ScaleResult


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The results of the stages, in their order.

    Attributes:
        violation: what the platform's policy forbids of the resource, or who has the name of its children.
        balancing: what balances; None for a resource without children.
        routing: what one queue saves.
        route: what comes of the resource's Gateways; None where it has none.
        decision: the recommender's; None where there was nothing to decide of.
        cpu: of the pods; None where it never changes in place.
    """

    violation: Problem | None
    children: ChildrenResult
    balancing: Balancing | None = None
    routing: RoutingState = RoutingState()
    route: Routed | None = None
    observed: Observed
    decision: Decision | None
    cpu: Sized | None
    scaled: ScaleResult

    @property
    def balancers(self) -> int:
        """Pods of the balancer, serving or not."""
        return self.balancing.pods if self.balancing is not None else 0

    @property
    def refused(self) -> Problem | None:
        """What the platform's policy or the API server refuses."""
        return self.violation or self.children.refused or self.scaled.refused

    @property
    def problem(self) -> Problem | None:
        """What is refused, else what keeps pods from serving."""
        return self.refused or self.observed.problem
