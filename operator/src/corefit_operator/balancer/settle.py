"""A stage of the reconcile: a balancer is put in front of the pods, or taken away. May not decide what balances."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from corefit_core import naming
from corefit_core.manifest import Manifest
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.balancer import balancing, manifests
from corefit_operator.balancer.balancing import Balancing, Sight
from corefit_operator.cache.freshness import confirm
from corefit_operator.cache.view import Key, View
from corefit_operator.children import apply
from corefit_operator.children import service as child_service
from corefit_operator.children.apply import ApplyState
from corefit_operator.children.defaults import Defaults
from corefit_operator.kube.cluster import Cluster
from corefit_operator.kube.workloads import Child


class BalancerState(ApplyState, kw_only=True):
    """What is remembered of one resource's balancer, and may be lost at any time.

    Attributes:
        made_of: what `made` is of; a resource that doesn't change keeps its serving spec from round to round.
        made: the balancer's manifests, which take longer to make and hash than the rest of a calm round.
    """

    made_of: ServingSpec | None = None
    made: tuple[Manifest, ...] = ()

    def manifests(self, spec: ServingSpec, defaults: Defaults) -> tuple[Manifest, ...]:
        """Those of the balancer, made once."""
        if self.made_of is not spec:
            self.made_of, self.made = spec, manifests.desired(spec, defaults)
        return self.made

    def forget(self) -> None:
        """There is to be no balancer."""
        self.refused, self.made_of, self.made = None, None, ()


class Balancers:
    """See the module.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, cluster: Cluster, view: View, defaults: Defaults, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._view = view
        self._defaults = defaults
        self._clock = clock

    def look(self, key: Key, spec: ServingSpec, memory: ApplyState, *, worth: bool) -> Balancing:
        """What balances now, whether one queue is worth its balancer by the load or not."""
        children = self._view.children(key)
        pods = children.get(("Deployment", spec.child_name))
        deployment = self._deployment(key, spec)
        sight = Sight(
            deployment=deployment,
            serving=pods is not None and pods.status.available_replicas > 0,
            routed=deployment is not None and self._routed(key, spec),
            refused=memory.refused,
            worth=worth,
        )
        return balancing.look(spec, sight, self._defaults)

    async def settle(
        self,
        key: Key,
        raw: Mapping[str, Any],
        spec: ServingSpec,
        current: Balancing,
        *,
        memory: BalancerState,
    ) -> None:
        """Brings the balancer's objects in order, after the resource's own children.

        Raises:
            ApiError: the view is behind, and nothing may be decided from it.
        """
        wanted = self._wanted(key, spec, current, memory)
        if not wanted:
            memory.forget()
            return
        await apply.settle(
            self._cluster,
            self._view,
            spec,
            wanted,
            memory=memory,
            confirm=partial(confirm, self._cluster, self._view, key, raw),
            now=self._clock(),
        )

    def _wanted(self, key: Key, spec: ServingSpec, current: Balancing, memory: BalancerState) -> Sequence[Manifest]:
        if current.wanted:
            return memory.manifests(spec, self._defaults)
        deployment = self._deployment(key, spec)
        if deployment is None or not deployment.spec.replicas or not self._defaults.balancer_image:
            return ()
        # Its pods go once the Service sends to the pods of the service: they end what they have, and nothing new comes.
        return () if self._routed(key, spec) else (manifests.idle(spec, self._defaults),)

    def _routed(self, key: Key, spec: ServingSpec) -> bool:
        child = self._view.children(key).get(("Service", spec.child_name))
        return child is not None and child_service.sends_to_balancer(spec, child)

    def _deployment(self, key: Key, spec: ServingSpec) -> Child | None:
        return self._view.children(key).get(("Deployment", naming.balancer_name(spec.name)))
