"""What a pod that finds no node requests, and what the node that comes nearest has free: figures for people.

Looked at once for each thing that the scheduler says of a pod, and again after a minute: a status is no meter. Only
nodes that carry Corefit's pods are known; to list all is a right that the operator has not. May not decide anything.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from corefit_core.errors import InvalidInput
from corefit_core.quantity import format_bytes, format_millicores
from corefit_operator.cache.view import View
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.pods import Pod
from corefit_operator.resize.node_headroom import Amount, Headroom, requested

LOG: Final = logging.getLogger(__name__)
AGAIN_S: Final = 60.0
"""Seconds after which the figures are looked at again."""
NODES_MAX: Final = 20
"""Nodes that are looked at: two requests each."""
_CPU_STEP: Final = 10
_MEMORY_STEP: Final = 2**20


class Shortage(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        cause: the pod, and what the scheduler says of it.
        text: the sentence.
        at: monotonic seconds.
    """

    cause: tuple[str, str]
    text: str
    at: float


class Shortages:
    """See the module.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, headroom: Headroom, view: View, clock: Callable[[], float]) -> None:
        self._headroom = headroom
        self._view = view
        self._clock = clock

    async def look(self, pods: Sequence[Pod], before: Shortage | None) -> Shortage | None:
        """The figures of the first pod that lacks a node for want of CPU or memory; None where there is none."""
        pod = next((pod for pod in pods if "Insufficient" in pod.unscheduled), None)
        if pod is None:
            return None
        cause, now = (pod.metadata.uid, pod.unscheduled), self._clock()
        if before is not None and before.cause == cause and now - before.at < AGAIN_S:
            return before
        return Shortage(cause=cause, text=await self._text(pod), at=now)

    async def _text(self, pod: Pod) -> str:
        try:
            return text(requested(msgspec.to_builtins(pod)), await self._free())
        except InvalidInput as error:
            LOG.info("pod %s: what it requests is not known: %s", pod.metadata.name, error)
            return ""

    async def _free(self) -> Mapping[str, Amount]:
        nodes = sorted({pod.spec.node_name for pod in self._view.all_pods() if pod.spec.node_name and pod.live})
        try:
            return await self._headroom.of(nodes[:NODES_MAX]) or {}
        except ApiError as error:
            LOG.info("what nodes have free is not known: %s", error)
            return {}


def text(wanted: Amount, free: Mapping[str, Amount]) -> str:
    """What is requested, and what the node that comes nearest to it has free."""
    asks = f"requests {_amount(wanted)}"
    if not free:
        return f"{asks} (kubectl describe nodes shows under Allocated resources what nodes have left)"
    node = max(sorted(free), key=lambda name: _share(free[name], wanted))
    others = f", the nearest to that of {len(free)} nodes with Corefit's pods," if len(free) > 1 else ""
    return f"{asks}; node {node}{others} has {_amount(free[node])} free"


def _share(room: Amount, wanted: Amount) -> float:
    """How much of the scarcer resource there is."""
    return min(have / max(1, need) for have, need in zip(room, wanted, strict=True))


def _amount(amount: Amount) -> str:
    """Rounded down, so that small pods of others that come and go do not change it."""
    cpu = max(0, amount.millicores) // _CPU_STEP * _CPU_STEP
    memory = max(0, amount.memory_bytes) // _MEMORY_STEP * _MEMORY_STEP
    return f"{format_millicores(cpu)} of CPU and {format_bytes(memory)} of memory"
