"""One idempotent reconcile of one resource, whatever it was that made it dirty.

Each stage takes the results of those before it and returns one of its own; every write is one that may be repeated.
May not know how it is woken up.
"""

from collections.abc import Callable, Mapping
from typing import Any

from corefit_core.errors import InvalidInput
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.balancer.settle import Balancers
from corefit_operator.cache.view import Key, View
from corefit_operator.children import service as child_service
from corefit_operator.children.defaults import Defaults
from corefit_operator.children.settle import Children
from corefit_operator.children.upgrades import Upgrades
from corefit_operator.collect.attention import Attention
from corefit_operator.collect.collector import Collector
from corefit_operator.gateway.settle import Routes
from corefit_operator.kube.cluster import Cluster
from corefit_operator.reconcile import routing, schedule
from corefit_operator.reconcile.publish import Publisher
from corefit_operator.reconcile.recommend import Recommender
from corefit_operator.reconcile.resize import Resizes
from corefit_operator.reconcile.state import Desired, ResourceState
from corefit_operator.resize.node_headroom import Headroom
from corefit_operator.resize.resizer import Resizer
from corefit_operator.status.outcome import Outcome
from corefit_operator.telemetry.metrics import Metrics
from corefit_operator.telemetry.recorder import Recorder
from corefit_operator.workload import kinds
from corefit_operator.workload.interface import Sources
from corefit_operator.workload.observe import Observed, Observer
from corefit_operator.workload.scale import Scaler
from corefit_operator.workload.shortage import Shortages
from corefit_operator.workload.sidecars import Sidecars


class Reconciler:
    """Reconciles one resource at a time.

    Args:
        clock: monotonic seconds.
        round_s: seconds between two looks at the same pods' reports.
        upgrades: whose pods may be rolled on the operator's own account.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        view: View,
        collector: Collector,
        recorder: Recorder,
        resizer: Resizer,
        headroom: Headroom,
        sidecars: Sidecars,
        metrics: Metrics,
        defaults: Defaults,
        clock: Callable[[], float],
        round_s: float,
        upgrades: Upgrades,
        attention: Attention,
    ) -> None:
        self._view = view
        self._metrics = metrics
        self._defaults = defaults
        self._clock = clock
        self._round_s = round_s
        self._upgrades = upgrades
        self._attention = attention
        self._sources = Sources(view, sidecars)
        self._balancers = Balancers(cluster, view, defaults, clock)
        self._routes = Routes(cluster, view, clock)
        self._children = Children(cluster, view, upgrades, clock)
        self._observer = Observer(collector, self._sources, Shortages(headroom, view, clock), clock)
        self._recommender = Recommender(resizer, clock, round_s)
        self._resizes = Resizes(resizer, recorder)
        self._scaler = Scaler(cluster, view, recorder, metrics, clock)
        self._publisher = Publisher(cluster, view, recorder, metrics, clock)
        self._states: dict[Key, ResourceState] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Brings the cluster nearer to what the resource asks for.

        Returns:
            Seconds until it is to be looked at again; None when only a change makes that necessary.

        Raises:
            ApiError: something that a retry may mend.
        """
        raw = self._view.service(key)
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            await self._forget(key)
            return None
        self._attention.pause(key)
        state = self._state(key, raw)
        try:
            desired = state.desired(raw, self._defaults)
        except InvalidInput as error:
            self._leave_alone(key)
            await self._publisher.publish_unreadable(key, raw, error, state)
            return None
        if desired.spec.paused:
            self._leave_alone(key)
            return None
        holder = self._view.holder(key)
        if holder not in (key, None):
            desired = desired.without_names(holder)
        return await self._reconcile(key, raw, desired, state)

    async def _reconcile(self, key: Key, raw: Mapping[str, Any], desired: Desired, state: ResourceState) -> float:
        """The stages: children, balancer, observe, recommend, resize, scale, route, publish."""
        spec, workload = desired.spec, kinds.of(desired.spec, self._defaults)
        pods = self._observer.pods(key, workload)
        balancing = None
        if desired.wanted:
            balancing = self._balancers.look(key, spec, state.balancer, worth=state.routing.queue)
        routed = balancing is not None and balancing.queue
        wanted = child_service.to_balancer(spec, desired.wanted) if routed else desired.wanted
        children = await self._children.settle(key, raw, spec, wanted, pods=pods, memory=state.children)
        if balancing is not None:
            await self._balancers.settle(key, raw, spec, balancing, memory=state.balancer)
        await workload.offer(self._sources)
        observed = await self._observer.observe(
            key, workload, allowed=desired.violation is None, memory=state.observation
        )
        recommended = await self._recommender.recommend(spec, observed, state.recommender, state.resizes)
        state.recommender, looked_at = recommended.state, self._clock()
        decision = recommended.decision
        state.routing = routing.followed(state.routing, spec, decision, looked_at)
        cpu = await self._resizes.resize(key, workload, observed, decision, state.resizes)
        scaled = await self._scaler.scale(key, raw, spec, observed, decision, memory=state.scaling, budget=state.budget)
        said, forbidden = routing.says_route(raw), desired.violation or children.taken
        route = await self._routes.settle(key, raw, spec, said=said, violation=forbidden, memory=state.route)
        outcome = Outcome(
            violation=desired.violation,
            children=children,
            balancing=balancing,
            routing=state.routing,
            route=route,
            observed=observed,
            decision=decision,
            cpu=cpu,
            scaled=scaled,
        )
        await self._publisher.publish(key, raw, workload, outcome, state)
        self._attend(key, spec, observed, looked_at)
        return schedule.again_s(spec, outcome, self._round_s)

    def _attend(self, key: Key, spec: ServingSpec, observed: Observed, looked_at: float) -> None:
        """What can be grown within a tenth of a second is not left to wait for a round."""
        if spec.mode == "Auto" and spec.policy.cpu_range is not None:
            self._attention.watch(key, [pod for pod in observed.pods if pod.ready and pod.status.pod_ip], looked_at)
        else:
            self._attention.forget(key)

    def _leave_alone(self, key: Key) -> None:
        """A resource for which nothing is done now holds up no others."""
        self._upgrades.forget(key)
        self._attention.forget(key)

    async def _forget(self, key: Key) -> None:
        self._states.pop(key, None)
        self._metrics.forget(key)
        self._leave_alone(key)
        await self._sources.sidecars.keep_list()

    def _state(self, key: Key, raw: Mapping[str, Any]) -> ResourceState:
        known, uid = self._states.get(key), str(raw["metadata"].get("uid", ""))
        if known is None or known.uid != uid:
            known = self._states[key] = ResourceState(uid=uid, routing=routing.restored(raw))
        return known
