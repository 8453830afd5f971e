"""What the operator remembers of a resource between two reconciles, all of which it may lose at any time.

May not do I/O, and may not hold what only the cluster can know.
"""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from corefit_core import platform_policy
from corefit_core.errors import InvalidInput
from corefit_core.manifest import Manifest
from corefit_core.platform_policy import PolicyViolation
from corefit_core.recommender import State
from corefit_core.recommender.routing import RoutingState
from corefit_core.spec.decode import decode
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.balancer.settle import BalancerState
from corefit_operator.cache.view import Key, spec_version
from corefit_operator.children.apply import ApplyState
from corefit_operator.children.defaults import Defaults
from corefit_operator.diagnosis.problem import Problem, described
from corefit_operator.gateway.settle import RouteState
from corefit_operator.kube.transform import TOO_LARGE
from corefit_operator.resize.resizer import ResizeState
from corefit_operator.telemetry.recorder import Budget
from corefit_operator.workload import kinds
from corefit_operator.workload.observe import ObservationState
from corefit_operator.workload.scale import ScaleState


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """What a resource asks for, decoded, and its children: the same from round to round, so worked out once.

    Attributes:
        version: of the spec that it was made from, as `view.spec_version` gives it.
        violation: what the platform's policy forbids of it; it then has no children to bring in order.
    """

    version: tuple[object, ...]
    spec: ServingSpec
    wanted: tuple[Manifest, ...]
    violation: Problem | None = None

    def without_names(self, holder: Key | None) -> "Desired":
        """The same where another resource has the names of its children: it has neither children nor a target."""
        name = self.spec.child_name
        taken = f"InferenceService {holder.name if holder else ''} uses the name {name} for its children already. "
        problem = described("NameTaken", taken + "Create this InferenceService under another name.")
        spec = msgspec.structs.replace(self.spec, target=None)
        return msgspec.structs.replace(self, spec=spec, wanted=(), violation=problem)


class ResourceState(msgspec.Struct, kw_only=True):
    """Of one resource.

    Attributes:
        uid: of the resource; another one under the same name starts from nothing.
        desired_before: what it asked for at the last reconcile.
        children: what was applied, and when refused ones are tried again.
        balancer: likewise of the balancer's objects.
        route: likewise of the HTTPRoute, and what its status said.
        observation: what the pods said.
        recommender: what the recommender remembers.
        routing: what is known of what one queue saves.
        resizes: what was requested for pods, and where there was no room.
        scaling: whether somebody else writes the replicas too, and whether they are refused.
        status_at: when the status was written last.
        budget: of Events.
    """

    uid: str
    desired_before: Desired | None = None
    children: ApplyState = msgspec.field(default_factory=ApplyState)
    balancer: BalancerState = msgspec.field(default_factory=BalancerState)
    route: RouteState = msgspec.field(default_factory=RouteState)
    observation: ObservationState = msgspec.field(default_factory=ObservationState)
    recommender: State = State()
    routing: RoutingState = RoutingState()
    resizes: ResizeState = msgspec.field(default_factory=ResizeState)
    scaling: ScaleState = msgspec.field(default_factory=ScaleState)
    status_at: float = 0.0
    budget: Budget = msgspec.field(default_factory=Budget)

    def desired(self, raw: Mapping[str, Any], defaults: Defaults) -> Desired:
        """What the resource asks for now.

        Raises:
            InvalidInput: it can't be read.
        """
        version = (*spec_version(raw), raw.get(TOO_LARGE))
        if TOO_LARGE in raw:
            self.desired_before = None
            raise InvalidInput(raw[TOO_LARGE])
        if self.desired_before is None or self.desired_before.version != version:
            spec = decode(raw)
            violation = _violation(spec, defaults)
            wanted = kinds.of(spec, defaults).children if violation is None else ()
            self.desired_before = Desired(version=version, spec=spec, wanted=wanted, violation=violation)
            self.children.until = self.balancer.until = -math.inf
            self.route.changed()
        return self.desired_before


def _violation(spec: ServingSpec, defaults: Defaults) -> Problem | None:
    """What the platform's policy forbids of a resource, for its conditions."""
    try:
        platform_policy.check(spec, defaults.policy, defaults.image)
    except PolicyViolation as error:
        return described(error.reason, str(error))
    return None
