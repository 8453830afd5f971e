"""The last stage of the reconcile: status, Events and gauges say what came of it. May not decide what is the case."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from corefit_core.api.status import InferenceServiceStatus
from corefit_core.errors import InvalidInput
from corefit_operator.cache.freshness import confirm
from corefit_operator.cache.view import Key, View
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster
from corefit_operator.reconcile.state import ResourceState
from corefit_operator.status import events, gauges, resource_status
from corefit_operator.status.outcome import Outcome
from corefit_operator.telemetry.metrics import Metrics
from corefit_operator.telemetry.recorder import Recorder
from corefit_operator.workload.interface import Workload

FIGURES_S: Final = 10.0
"""Seconds between writes of a status in which only figures changed: 500 resources are then 50 writes a second at
most, and a person watching `kubectl get -w` still sees it move."""


class Publisher:
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

    async def publish(
        self, key: Key, raw: Mapping[str, Any], workload: Workload, outcome: Outcome, memory: ResourceState
    ) -> None:
        """Writes the status if it changed, and Events for the conditions that did.

        Raises:
            ApiError: something that a retry may mend.
        """
        before = resource_status.parse(raw.get("status"))
        new = resource_status.of(workload, outcome, before, _timestamp())
        if self._is_due(new, before, memory):
            await self._write(key, raw, new, memory)
            for said in (*events.changes(before, new), *events.ignored_replicas(workload.spec, before)):
                await self._recorder.record(workload.spec, memory.budget, said)
        gauges.publish(self._metrics, key, workload.spec, outcome)

    async def publish_unreadable(
        self, key: Key, raw: Mapping[str, Any], error: InvalidInput, memory: ResourceState
    ) -> None:
        """Writes the status of a resource that can't be read.

        Raises:
            ApiError: something that a retry may mend.
        """
        before = resource_status.parse(raw.get("status"))
        generation = int(raw["metadata"].get("generation", 0))
        new = resource_status.of_unreadable(error, generation, before, _timestamp())
        if new != before:
            await self._write(key, raw, new, memory)

    def _is_due(self, new: InferenceServiceStatus, before: InferenceServiceStatus, memory: ResourceState) -> bool:
        if new == before:
            return False
        return resource_status.urgent(new, before) or self._clock() - memory.status_at >= FIGURES_S

    async def _write(
        self, key: Key, raw: Mapping[str, Any], new: InferenceServiceStatus, memory: ResourceState
    ) -> None:
        encoded = resource_status.encode(new)
        try:
            version = await self._cluster.apply_status(raw, encoded)
        except ApiError as error:
            if error.status == HTTPStatus.CONFLICT:
                await confirm(self._cluster, self._view, key, raw)
            raise
        memory.status_at = self._clock()
        self._view.put_status(raw, version, encoded)


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
