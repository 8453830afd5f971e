"""A stage of the reconcile: the workload gets the replicas that it is to have, by its scale subresource.

That has no other writer. Where somebody else writes too, that is said. May not recommend.
"""

import math
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from corefit_core.recommender import Decision
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.cache.freshness import confirm
from corefit_operator.cache.view import Key, View
from corefit_operator.children import writes
from corefit_operator.diagnosis.problem import Problem, described
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster
from corefit_operator.kube.workloads import Child, with_replicas
from corefit_operator.telemetry.metrics import Metrics
from corefit_operator.telemetry.recorder import Budget, Event, Recorder
from corefit_operator.workload import contention
from corefit_operator.workload.contention import Contention
from corefit_operator.workload.interface import ObservedWorkload
from corefit_operator.workload.observe import Observed

REFUSED_S: Final = 10.0
"""Seconds until replicas that were refused are tried again: a quota may have been raised, a policy changed."""


class ScaleState(msgspec.Struct, kw_only=True):
    """What is remembered of one resource's replicas, and may be lost at any time.

    Attributes:
        contention: whether somebody else writes them too.
        refused: why the API server refuses others, as long as that isn't tried again.
        until: monotonic seconds before which it isn't.
    """

    contention: Contention = msgspec.field(default_factory=Contention)
    refused: Problem | None = None
    until: float = -math.inf


class ScaleResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the replicas.

    Attributes:
        desired: what the workload is to have.
        contended: that somebody else wrote them lately, for people; empty when nobody did.
        refused: why the API server refuses them.
    """

    desired: int
    contended: str = ""
    refused: Problem | None = None


class Scaler:
    """See the module.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self, cluster: Cluster, view: View, recorder: Recorder, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self._cluster = cluster
        self._view = view
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock

    async def scale(
        self,
        key: Key,
        raw: Mapping[str, Any],
        spec: ServingSpec,
        observed: Observed,
        decision: Decision | None,
        *,
        memory: ScaleState,
        budget: Budget,
    ) -> ScaleResult:
        """Gives the workload the replicas desired, unless that is left to others.

        Raises:
            ApiError: something that a retry may mend.
        """
        target = observed.workload.scale_target
        desired = replicas(spec, decision, observed.workload, present=len(observed.pods))
        contended = self._contended(spec, target, memory.contention)
        if target is None:
            return ScaleResult(desired=desired, contended=contended)
        if contended and memory.contention.announce(self._clock()):
            said = Event(type="Warning", reason="ReplicasContended", action="Scale", note=contended)
            await self._recorder.record(spec, budget, said)
        if desired == target.spec.replicas:
            memory.contention.settle(target, desired, ours=_is_ours(spec))
            memory.refused = None
        elif memory.refused is None or self._clock() >= memory.until:
            if desired < target.spec.replicas:
                await confirm(self._cluster, self._view, key, raw)
            memory.refused = await self._write(spec, target, desired, memory, cached=observed.workload.is_cached)
            if memory.refused is None:
                self._metrics.scaled(key, target.spec.replicas, desired)
                await self._recorder.record(spec, budget, _scaled(spec, target.spec.replicas, desired, decision))
        return ScaleResult(desired=desired, contended=contended, refused=memory.refused)

    def _contended(self, spec: ServingSpec, target: Child | None, memory: Contention) -> str:
        seen = memory.look(target, self._clock(), spec.mode)
        if not seen or not _is_ours(spec):
            return ""
        return contention.message(spec, target, changed_back=memory.changed_back)

    async def _write(
        self, spec: ServingSpec, target: Child, desired: int, memory: ScaleState, *, cached: bool
    ) -> Problem | None:
        """Writes the replicas; why not when they are refused."""
        memory.contention.doubt()
        try:
            await self._rescale(target, desired, cached=cached)
        except ApiError as error:
            if not error.refused:
                raise
            memory.until = self._clock() + REFUSED_S
            return described("ScaleRefused", str(error))
        memory.contention.settle(target, desired, ours=_is_ours(spec))
        return None

    async def _rescale(self, target: Child, desired: int, *, cached: bool) -> None:
        """Provided that it still is what it was when that was decided."""
        meta, current = target.metadata, target.spec.replicas
        try:
            version = await self._cluster.scale(
                target.kind, meta.namespace, meta.name, uid=meta.uid, current=current, replicas=desired
            )
        except ApiError as error:
            if cached and error.status in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND):
                await writes.refresh(self._cluster, self._view, target)
            raise
        if cached:
            self._view.put_child(with_replicas(target, desired, version))


def replicas(spec: ServingSpec, decision: Decision | None, workload: ObservedWorkload, *, present: int) -> int:
    """The replicas that the workload is to have, by the mode: nobody's word but the one who rules counts."""
    target = workload.scale_target
    current = target.spec.replicas if target is not None else None
    if not workload.is_scalable:
        return present if current is None else current
    if spec.mode == "Manual":
        return spec.manual_replicas
    if spec.mode == "Auto" and decision is not None:
        return decision.replicas
    return current or 0


def _is_ours(spec: ServingSpec) -> bool:
    """Whether the mode makes the replicas Corefit's to write."""
    return spec.mode != "Recommend"


def _scaled(spec: ServingSpec, current: int, desired: int, decision: Decision | None) -> Event:
    decided = decision if spec.mode == "Auto" else None
    why = f"{decided.reason}: {decided.message}" if decided else f"spec.scaling.replicas is {desired}"
    return Event(reason="Scaled", action="Scale", note=f"{current} -> {desired} replicas: {why}")
