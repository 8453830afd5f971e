"""The CPU and memory that each node has left to request, as far as the operator may look; a cache that ages.

Two requests for a node, at most every `FRESH_S`, and only for nodes that carry pods which may grow, or while a pod
finds no node: no watch of all pods of the cluster, and no other right than to get nodes. Where that is not given,
nothing is known, and the kubelet's answer to a resize has to tell. May not decide what to do with it.
"""

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec

from corefit_core.errors import InvalidInput
from corefit_core.quantity import bounded_bytes, bounded_millicores
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster

LOG: Final = logging.getLogger(__name__)
FRESH_S: Final = 10.0
"""Seconds for which a look at a node is good: a list of its pods, 110 at most, is up to a megabyte; what changes
meanwhile the kubelet knows, and answers Deferred."""
FORBIDDEN_S: Final = 600.0
"""Seconds until a look that was forbidden is tried again: rights may be given while the operator runs."""


class Amount(NamedTuple):
    """CPU in millicores and memory in bytes: of a node, what it has left; of a pod, what it requests."""

    millicores: int
    memory_bytes: int


NOTHING: Final = Amount(0, 0)


class _Seen(msgspec.Struct):
    """One node's room, and when it was looked at."""

    room: Amount
    at: float


class Headroom:
    """See the module.

    Args:
        clock: monotonic seconds.
        allowed: whether it is to be tried at all: an operator of some namespaces has no right to nodes.
    """

    def __init__(self, cluster: Cluster, clock: Callable[[], float], *, allowed: bool = True) -> None:
        self._cluster = cluster
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._looking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._forbidden_until = 0.0 if allowed else math.inf

    async def of(self, nodes: Iterable[str]) -> Mapping[str, Amount] | None:
        """What is left on each node; None where the operator may not look.

        Raises:
            ApiError: the API server can't be reached, or is overloaded.
        """
        if self._clock() < self._forbidden_until:
            return None
        found: dict[str, Amount] = {}
        try:
            for node in sorted(set(nodes)):
                async with self._looking[node]:
                    found[node] = await self._look(node)
        except ApiError as error:
            if error.status not in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED):
                raise
            LOG.info("the nodes' head-room is not known, the kubelets have to tell: %s", error)
            self._forbidden_until = self._clock() + FORBIDDEN_S
            return None
        return found

    def take(self, node: str, millicores: int) -> None:
        """Counts what was just requested (or given back, below zero) until the next look."""
        if node in self._seen:
            room = self._seen[node].room
            self._seen[node].room = room._replace(millicores=room.millicores - millicores)

    async def _look(self, node: str) -> Amount:
        seen = self._seen.get(node)
        if seen is None or self._clock() - seen.at > FRESH_S:
            self._seen[node] = seen = _Seen(await self._read(node), self._clock())
        return seen.room

    async def _read(self, node: str) -> Amount:
        """What the API server says of one node; nothing where that makes no sense."""
        try:
            raw = await self._cluster.get("Node", None, node)
            return left(raw, await self._cluster.pods_on(node)) if raw else NOTHING
        except InvalidInput as error:
            LOG.warning("node %s: no room is counted on: %s", node, error)
            return NOTHING


def left(node: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> Amount:
    """What a node has to give beyond what its pods ask for; below zero when it is overcommitted."""
    there, taken = _amount(node.get("status", {}).get("allocatable", {})), _sum(map(requested, pods))
    return Amount(there.millicores - taken.millicores, there.memory_bytes - taken.memory_bytes)


def requested(pod: Mapping[str, Any]) -> Amount:
    """What a pod counts for on its node, as the scheduler does it (k8s.io/component-helpers, resource.PodRequests).

    The containers and the sidecars together, or the hungriest step of the initialisation when that is more; the
    overhead on top. In the midst of a resize the larger of what is asked and what the kubelet has allocated.
    """
    spec, held = pod.get("spec", {}), _allocated(pod.get("status", {}))
    running = _sum(_most(_requests(c), held.get(c.get("name"), NOTHING)) for c in spec.get("containers", ()))
    sidecars = hungriest = NOTHING
    for container in spec.get("initContainers", ()):
        if container.get("restartPolicy") == "Always":
            sidecars = _sum((sidecars, _most(_requests(container), held.get(container.get("name"), NOTHING))))
            hungriest = _most(hungriest, sidecars)
        else:
            hungriest = _most(hungriest, _sum((sidecars, _requests(container))))
    whole, parts = _requests(spec), _most(_sum((running, sidecars)), hungriest)
    counted = Amount(whole.millicores or parts.millicores, whole.memory_bytes or parts.memory_bytes)
    return _sum((counted, _amount(spec.get("overhead", {}))))


def _sum(amounts: Iterable[Amount]) -> Amount:
    millicores = memory_bytes = 0
    for each in amounts:
        millicores += each.millicores
        memory_bytes += each.memory_bytes
    return Amount(millicores, memory_bytes)


def _most(one: Amount, other: Amount) -> Amount:
    return Amount(max(one.millicores, other.millicores), max(one.memory_bytes, other.memory_bytes))


def _allocated(status: Mapping[str, Any]) -> Mapping[str | None, Amount]:
    """What the kubelet holds for each container that stays, sidecars among them; by then the others have ended."""
    statuses = (*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ()))
    return {each.get("name"): _amount(each.get("allocatedResources", {})) for each in statuses}


def _requests(of: Mapping[str, Any]) -> Amount:
    return _amount(of.get("resources", {}).get("requests", {}))


def _amount(resources: Mapping[str, Any]) -> Amount:
    if not resources:
        return NOTHING
    return Amount(bounded_millicores(resources.get("cpu", 0)), bounded_bytes(resources.get("memory", 0)))
