"""One idempotent reconcile of one resource, whatever it was that made it dirty.

Decode, bring the children in order, ask the pods, decide, scale, say so. Each step reads from the view or from the
last one's result; every write is one that may be repeated. May not know how it is woken up.
"""

import logging
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import msgspec

from corefit_core.api.status import InferenceServiceStatus
from corefit_core.errors import InvalidInput
from corefit_core.recommender import Decision, decide
from corefit_core.service import Service
from corefit_operator.cache.freshness import confirm
from corefit_operator.cache.view import Key, View
from corefit_operator.children import apply, deployment
from corefit_operator.children import service as child_service
from corefit_operator.children.defaults import Defaults
from corefit_operator.children.upgrades import Upgrades
from corefit_operator.collect import burst_window
from corefit_operator.collect.attention import Attention
from corefit_operator.collect.collector import Collector
from corefit_operator.diagnosis import pod_problems
from corefit_operator.diagnosis.problem import Problem, described
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster
from corefit_operator.kube.pods import Pod
from corefit_operator.kube.workloads import Child
from corefit_operator.reconcile import recommender_input
from corefit_operator.reconcile.state import Desired, ResourceState
from corefit_operator.resize import sizes
from corefit_operator.resize.resizer import Blocked, Resizer
from corefit_operator.resize.sizes import SizingInput
from corefit_operator.status import conditions, events, gauges, resource_status
from corefit_operator.status.result import Result
from corefit_operator.telemetry.metrics import Metrics
from corefit_operator.telemetry.recorder import Event, Recorder
from corefit_operator.workload import scale
from corefit_operator.workload.injection import Sidecars
from corefit_operator.workload.target import ObservedTarget

LOG: Final = logging.getLogger(__name__)
FIGURES_S: Final = 10.0
"""Seconds between writes of a status in which only figures changed: 500 resources are then 50 writes a second at
most, and a person watching `kubectl get -w` still sees it move."""
IDLE_S: Final = 10.0
"""Seconds between two looks at a resource of mode Sidecar without pods and without a workload to scale: the first pod
wakes it, so that only a workload which comes, or begins to consent, is seen so late."""
VERTICAL_ROUND_S: Final = 1.0
"""Seconds between two looks at pods that may be grown in place: a resize takes a tenth of that, so a longer round would
be most of the answer's delay; a shorter one sees too few requests to tell a step from chance."""


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
        sidecars: Sidecars,
        metrics: Metrics,
        defaults: Defaults,
        clock: Callable[[], float],
        round_s: float,
        upgrades: Upgrades,
        attention: Attention,
    ) -> None:
        self._cluster = cluster
        self._view = view
        self._collector = collector
        self._recorder = recorder
        self._resizer = resizer
        self._sidecars = sidecars
        self._metrics = metrics
        self._defaults = defaults
        self._clock = clock
        self._round_s = round_s
        self._upgrades = upgrades
        self._attention = attention
        self._remembered: dict[Key, ResourceState] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Brings the cluster nearer to what the resource asks for.

        Returns:
            Seconds until it is to be looked at again; None when only a change makes that necessary.

        Raises:
            ApiError: something that a retry may mend.
        """
        raw = self._view.service(key)
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            self._remembered.pop(key, None)
            self._metrics.forget(key)
            self._upgrades.forget(key)
            self._attention.forget(key)
            await self._sidecars.keep_list()
            return None
        self._attention.pause(key)
        remembered = self._memory(key, str(raw["metadata"].get("uid", "")))
        try:
            desired = remembered.desired(raw, self._defaults)
        except InvalidInput as error:
            self._upgrades.forget(key)
            self._attention.forget(key)
            await self._say_unreadable(key, raw, remembered, error)
            return None
        if desired.service.paused:
            self._upgrades.forget(key)
            self._attention.forget(key)
            return None
        holder = self._view.holder(key)
        if holder not in (key, None):
            desired = desired.without_names(holder)
        return await self._bring_in_order(key, raw, desired, remembered)

    async def _bring_in_order(
        self, key: Key, raw: Mapping[str, Any], desired: Desired, remembered: ResourceState
    ) -> float:
        service = desired.service
        wanted = child_service.reachable(service, desired.wanted, self._pods(key, service))
        if not wanted:
            self._upgrades.forget(key)
        waits = bool(wanted) and self._upgrades.waits(key, wanted[-1], self._deployment(key, service))
        outcome = await apply.settle(
            self._cluster,
            self._view,
            service,
            wanted[:-1] if waits else wanted,
            memory=remembered.settling,
            confirm=partial(confirm, self._cluster, self._view, key, raw),
            now=self._clock(),
        )
        if service.injected:
            await self._sidecars.keep_list()
        found, looked_at = await self._look(key, desired, remembered), self._clock()
        found = msgspec.structs.replace(found, refused=desired.violation or outcome.refused, upgrade_waits=waits)
        found = await self._resize(key, service, found, remembered)
        unscaled = await self._scale(key, raw, service, found, remembered)
        found = msgspec.structs.replace(found, refused=found.refused or unscaled)
        await self._say(key, raw, service, found, remembered)
        gauges.publish(self._metrics, key, service, found)
        self._attend(key, service, found, looked_at)
        if outcome.refused and not found.pods and outcome.retry_s is not None:
            return outcome.retry_s
        again_s = IDLE_S if _idle(service, found) else self._round(service)
        return min(again_s, outcome.retry_s if outcome.retry_s is not None else math.inf)

    def _attend(self, key: Key, service: Service, found: Result, looked_at: float) -> None:
        """What can be grown within a tenth of a second is not left to wait for a round."""
        if service.mode == "Auto" and service.policy.cpu_range is not None:
            self._attention.watch(key, [pod for pod in found.pods if pod.ready and pod.status.pod_ip], looked_at)
        else:
            self._attention.forget(key)

    def _round(self, service: Service) -> float:
        return self._round_s if service.policy.cpu_range is None else min(self._round_s, VERTICAL_ROUND_S)

    def _memory(self, key: Key, uid: str) -> ResourceState:
        remembered = self._remembered.get(key)
        if remembered is None or remembered.uid != uid:
            remembered = self._remembered[key] = ResourceState(uid=uid)
        return remembered

    def _pods(self, key: Key, service: Service) -> list[Pod]:
        """Its own: of its Deployment, whoever else bears the label; in mode Sidecar those of others."""
        return [pod for pod in self._view.pods(key) if service.injected or pod.made_by(service.child_name)]

    def _deployment(self, key: Key, service: Service) -> Child | None:
        return self._view.children(key).get(("Deployment", service.child_name))

    async def _look(self, key: Key, desired: Desired, remembered: ResourceState) -> Result:
        """Asks the pods and decides."""
        service = desired.service
        pods = self._pods(key, service)
        live = [pod for pod in pods if pod.live]
        reports = await self._collector.collect(live)
        now = self._clock()
        self._resizer.arrived(key, reports, remembered.resizes)
        live_uids = {pod.metadata.uid for pod in live}
        remembered.reports.update((uid, (now, report)) for uid, report in reports.items())
        remembered.reports = {uid: kept for uid, kept in remembered.reports.items() if uid in live_uids}
        around = await self._sidecars.look(service, live) if service.injected else None
        if around is not None and desired.violation is not None:
            around = msgspec.structs.replace(around, template=None)
        deployment = around.workload if around is not None else self._deployment(key, service)
        decision = await self._decide(service, remembered, live, deployment)
        replicas = _desired(service, decision, deployment, around, len(live))
        contended = remembered.contention.look(deployment, now, service.mode)
        return Result(
            deployment=deployment,
            pods=tuple(live),
            reports=reports,
            decision=decision,
            desired=replicas,
            contended=contended,
            changed_back=remembered.contention.changed_back,
            beside=around,
            burst=burst_window.look(reports, remembered.lent, now) if service.burst_millicores is not None else None,
            problem=pod_problems.problem(pods, reports, deployment, service),
        )

    async def _decide(
        self, service: Service, remembered: ResourceState, pods: list[Pod], deployment: Child | None
    ) -> Decision | None:
        if deployment is None and not service.injected:
            return None
        policy = msgspec.structs.replace(service.policy, round_s=self._round(service))
        if policy.cpu_range is not None and not await self._resizer.able():
            policy = msgspec.structs.replace(policy, cpu_range=None)
        room = await self._resizer.room(service, pods, remembered.resizes)
        now = self._clock()
        observation = recommender_input.observation(pods, remembered.reports, deployment, room, now)
        decision, remembered.state = decide(policy, remembered.state, observation, now)
        if service.mode != "Auto":
            # Nobody carries it out: what it would give to pods must not count as asked for and not arrived.
            remembered.state = msgspec.structs.replace(
                remembered.state, sizes=msgspec.structs.replace(remembered.state.sizes, pending=())
            )
        return decision

    async def _resize(self, key: Key, service: Service, found: Result, remembered: ResourceState) -> Result:
        """Makes the pods have the CPU that they are to have; CPU before replicas, since it is there at once."""
        start = deployment.start_millicores(service, self._defaults)
        if service.policy.cpu_range is None and start == service.millicores:
            return found
        pods = sizes.started(found.pods, found.reports)
        scene = SizingInput(service=service, pods=pods, decision=found.decision, start=start)
        sized = await self._resizer.resize(key, scene, remembered.resizes)
        for said in events.resizes(sized.steps, found.decision):
            await self._recorder.record(service, remembered.resizes.budget, said)
        return msgspec.structs.replace(found, cpu=sized)

    async def _scale(
        self, key: Key, raw: Mapping[str, Any], service: Service, found: Result, remembered: ResourceState
    ) -> Problem | None:
        """Makes the workload have the replicas desired, unless that is left to others; or says why it may not."""
        refused = remembered.scale_refused
        if found.deployment is None:
            return None
        ours = service.mode != "Recommend"
        if found.contended and ours and remembered.contention.announce(self._clock()):
            note = conditions.contended(service, found)
            said = Event(type="Warning", reason="ReplicasContended", action="Scale", note=note)
            await self._recorder.record(service, remembered.budget, said)
        current = found.deployment.spec.replicas
        if found.desired == current:
            remembered.contention.settle(found.deployment, current, ours=ours)
            remembered.scale_refused = None
            return None
        if refused is not None and self._clock() < refused.until:
            return refused.problem
        if found.desired < current:
            await confirm(self._cluster, self._view, key, raw)
        remembered.contention.doubt()
        try:
            await scale.rescale(self._cluster, self._view, service, found.deployment, found.desired)
        except ApiError as error:
            if not error.refused:
                raise
            refused = Blocked(until=self._clock() + apply.REFUSED_S, problem=described("ScaleRefused", str(error)))
            remembered.scale_refused = refused
            return refused.problem
        remembered.scale_refused = None
        remembered.contention.settle(found.deployment, found.desired, ours=ours)
        self._metrics.scaled(key, current, found.desired)
        decided = found.decision if service.mode == "Auto" else None
        why = f"{decided.reason}: {decided.message}" if decided else f"spec.scaling.replicas is {found.desired}"
        note = f"{current} -> {found.desired} replicas: {why}"
        await self._recorder.record(service, remembered.budget, Event(reason="Scaled", action="Scale", note=note))
        return None

    async def _say(
        self, key: Key, raw: Mapping[str, Any], service: Service, found: Result, remembered: ResourceState
    ) -> None:
        """Writes the status if it changed, and Events for the conditions that did."""
        before = resource_status.parse(raw.get("status"))
        new = resource_status.of(service, found, before, _timestamp())
        if not self._due(new, before, remembered):
            return
        await self._write_status(key, raw, new, remembered)
        for said in (*events.changes(before, new), *events.ignored_replicas(service, before)):
            await self._recorder.record(service, remembered.budget, said)

    async def _say_unreadable(
        self, key: Key, raw: Mapping[str, Any], remembered: ResourceState, error: InvalidInput
    ) -> None:
        before = resource_status.parse(raw.get("status"))
        generation = int(raw["metadata"].get("generation", 0))
        new = resource_status.of_unreadable(error, generation, before, _timestamp())
        if new != before:
            await self._write_status(key, raw, new, remembered)

    def _due(self, new: InferenceServiceStatus, before: InferenceServiceStatus, remembered: ResourceState) -> bool:
        if new == before:
            return False
        return resource_status.urgent(new, before) or self._clock() - remembered.status_at >= FIGURES_S

    async def _write_status(
        self, key: Key, raw: Mapping[str, Any], new: InferenceServiceStatus, remembered: ResourceState
    ) -> None:
        try:
            encoded = resource_status.encode(new)
            version = await self._cluster.apply_status(raw, encoded)
        except ApiError as error:
            if error.status == HTTPStatus.CONFLICT:
                await confirm(self._cluster, self._view, key, raw)
            raise
        remembered.status_at = self._clock()
        self._view.put_status(raw, version, encoded)


def _desired(
    service: Service, decision: Decision | None, deployment: Child | None, around: ObservedTarget | None, present: int
) -> int:
    """The replicas that the workload is to have, by the mode: nobody's word but the one who rules counts."""
    if around is not None and not around.scalable:
        return deployment.spec.replicas if deployment else present
    if service.mode == "Manual":
        return service.manual_replicas
    if service.mode == "Auto" and decision is not None:
        return decision.replicas
    return deployment.spec.replicas if deployment is not None else 0


def _idle(service: Service, found: Result) -> bool:
    """Whether there is nothing to look at: three hundred such resources took the time of others' changes."""
    return service.injected and not found.pods and not (found.beside is not None and found.beside.scalable)


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
