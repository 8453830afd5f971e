"""A stage of the reconcile: the HTTPRoute is brought in order, and its status is read. May not decide what that means.

The cluster may have no HTTPRoutes, so nothing watches them: the route is looked at each half minute, and sooner after
a change. That there is one is known by the condition RouteReady, which says so before it is made and for as long as
Gateways are in it, so that an operator that has just started takes away what its predecessor made.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import msgspec

from corefit_core.manifest import Manifest
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.cache.freshness import confirm
from corefit_operator.cache.view import Key, View
from corefit_operator.children import apply
from corefit_operator.children.apply import ApplyResult, ApplyState
from corefit_operator.diagnosis.problem import Problem
from corefit_operator.gateway import manifests, routed
from corefit_operator.gateway.routed import Routed
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster
from corefit_operator.kube.routes import decode_status
from corefit_operator.kube.workloads import Child, decode_child

AGAIN_S: Final = 30.0
"""Seconds between two looks at a route: 500 resources with one are 17 requests a second."""
FIRST_S: Final = 2.0
"""Seconds until a route that is not ready is looked at again, doubled with each look: controllers take about one."""
AT_ONCE_S: Final = 0.1


class RouteState(ApplyState, kw_only=True):
    """What is remembered of one resource's route, and may be lost at any time.

    Attributes:
        look_at: monotonic seconds of the next look.
        wait_s: seconds after which a route that is not ready is looked at again.
        result: of the last look; None where there is to be no route, and none has Gateways.
    """

    look_at: float = -math.inf
    wait_s: float = FIRST_S
    result: Routed | None = None

    def changed(self) -> None:
        """The resource has changed: forgets what was refused, and what was waited for."""
        self.until = self.look_at = -math.inf
        self.wait_s = FIRST_S
        self.result = None


class Routes:
    """See the module.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, cluster: Cluster, view: View, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._view = view
        self._clock = clock

    async def settle(
        self,
        key: Key,
        raw: Mapping[str, Any],
        spec: ServingSpec,
        *,
        said: bool,
        violation: Problem | None,
        memory: RouteState,
    ) -> Routed | None:
        """Brings the route in order.

        Args:
            key: of the resource.
            raw: the resource.
            spec: the same, decoded.
            said: whether its status has the condition RouteReady.
            violation: why it may have no route: no children, or one whose name is somebody else's. What there is of a
                route stays.
            memory: what is remembered of its route.

        Raises:
            ApiError: the view is behind, and nothing may be decided from it.
        """
        if spec.gateway is None and not said:
            memory.result = None
            return None
        if spec.gateway is not None and violation is not None:
            return routed.by_problem(violation)
        if not said:
            return msgspec.structs.replace(routed.MAKING, retry_s=AT_ONCE_S)
        now = self._clock()
        if now >= memory.look_at:
            memory.result = await self._looked(_Look(key=key, raw=raw, spec=spec, memory=memory))
            memory.look_at = now + self._pause_s(memory)
        if memory.result is None:
            return None
        return msgspec.structs.replace(memory.result, retry_s=max(AT_ONCE_S, memory.look_at - now))

    @staticmethod
    def _pause_s(memory: RouteState) -> float:
        """Until the next look."""
        if memory.result is None:
            return 0.0
        pause_s = AGAIN_S if memory.result.ready else memory.wait_s
        memory.wait_s = FIRST_S if memory.result.ready else min(AGAIN_S, 2 * memory.wait_s)
        return pause_s

    async def _looked(self, look: "_Look") -> Routed | None:
        try:
            found = await self._cluster.get(manifests.KIND, look.key.namespace, look.spec.child_name)
            served = found is not None or await self._cluster.serves(manifests.KIND)
        except ApiError as error:
            if error.status == HTTPStatus.FORBIDDEN:
                return routed.FORBIDDEN
            return look.memory.result or look.under_way  # As it was, until the API server answers.
        child = decode_child(manifests.KIND, found) if found is not None else None
        if look.spec.gateway is None and (child is None or not child.owned_by(look.spec.uid)):
            return None
        return await self._settled(look, found, child) if served else routed.MISSING

    async def _settled(self, look: "_Look", found: Mapping[str, Any] | None, child: Child | None) -> Routed | None:
        applied, gateway = await self._applied(look, child), look.spec.gateway
        if applied.refused is not None:
            return routed.by_problem(applied.refused)
        if found is None or child is None or applied.retry_s is not None:
            return look.under_way
        if gateway is None:
            return None
        if applied.written:
            return routed.MAKING
        return routed.by_status(look.spec, gateway, child.metadata.generation, decode_status(found))

    async def _applied(self, look: "_Look", child: Child | None) -> ApplyResult:
        seen = View()  # Of this look alone: a view that nobody keeps up to date would be believed.
        seen.put_service(look.raw)
        if child is not None:
            seen.put_child(child)
        return await apply.settle(
            self._cluster,
            seen,
            look.spec,
            [look.manifest],
            memory=look.memory,
            confirm=partial(confirm, self._cluster, self._view, look.key, look.raw),
            now=self._clock(),
        )


class _Look(msgspec.Struct, frozen=True, kw_only=True):
    """The resource of one look."""

    key: Key
    raw: Mapping[str, Any]
    spec: ServingSpec
    memory: RouteState

    @property
    def manifest(self) -> Manifest:
        """What its route is to be."""
        gateway = self.spec.gateway
        return manifests.detached(self.spec) if gateway is None else manifests.desired(self.spec, gateway)

    @property
    def under_way(self) -> Routed:
        """That this is not so yet."""
        return routed.DETACHING if self.spec.gateway is None else routed.MAKING
