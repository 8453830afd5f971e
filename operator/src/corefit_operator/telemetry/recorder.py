"""Kubernetes Events for people: what changed, said once, and never so often that they hurt the API server.

An Event that can't be written is counted and forgotten: nothing depends on one. May not decide what happened.
"""

import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from corefit_core.naming import FIELD_MANAGER, GROUP, KIND, VERSION
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster

LOG: Final = logging.getLogger(__name__)
BURST: Final = 10.0
"""Events of one resource at once; client-go's recorder allows 25."""
REFILL_PER_S: Final = 1 / 60
"""Events of one resource per second in the long run: one a minute; client-go's allows one in 5 minutes."""
NOTE_MAX: Final = 1024
"""Characters: the API's limit of an Event's note."""

Type = Literal["Normal", "Warning"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What an Event says, in the words of the events.k8s.io API."""

    type: Type = "Normal"
    reason: str
    action: str
    note: str


class Budget(msgspec.Struct):
    """A token bucket: how many Events a resource may still have."""

    tokens: float = BURST
    at: float = 0.0

    def take(self, now: float) -> bool:
        """Whether one more is allowed now."""
        self.tokens = min(BURST, self.tokens + max(0.0, now - self.at) * REFILL_PER_S)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Recorder:
    """Writes Events.

    Args:
        cluster: where to.
        instance: which operator says it, usually the pod's name.
        clock: monotonic seconds, for the budget.
    """

    def __init__(self, cluster: Cluster, instance: str, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._instance = instance
        self._clock = clock

    async def record(self, spec: ServingSpec, budget: Budget, said: Event) -> None:
        """Records one Event about a resource, within its budget."""
        LOG.info("%s/%s: %s: %s", spec.namespace, spec.name, said.reason, said.note)
        if not budget.take(self._clock()):
            return
        try:
            await self._cluster.create("Event", self._event(spec, said))
        except ApiError as error:
            LOG.warning("no Event for %s/%s: %s", spec.namespace, spec.name, error)

    def _event(self, spec: ServingSpec, said: Event) -> dict[str, Any]:
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{spec.child_name}.{uuid.uuid4().hex[:12]}", "namespace": spec.namespace},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": f"{GROUP}/{FIELD_MANAGER}",
            "reportingInstance": self._instance[:128],
            "type": said.type,
            "reason": said.reason,
            "action": said.action,
            "note": said.note[:NOTE_MAX],
            "regarding": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": KIND,
                "namespace": spec.namespace,
                "name": spec.name,
                "uid": spec.uid,
            },
        }
