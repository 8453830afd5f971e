"""The CPU that each pod can get from what its node has left. May not know of load."""

import bisect
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple


class Granted(NamedTuple):
    """A pod: where it runs, which it is, and what it is granted in millicores."""

    node: str
    uid: str
    millicores: int


def grants(
    pods: Sequence[Granted], room: Mapping[str, int], stuck: Collection[str], sizes: Sequence[int], wanted: int
) -> dict[str, int]:
    """What each pod can be brought to: `wanted`, or on a node without the room the largest size that fits.

    Args:
        pods: that are ready.
        room: millicores that each node has left; a node that is not named has none.
        stuck: pods whose resizes don't arrive: these do not grow.
        sizes: that are worth having, ascending, millicores.
        wanted: millicores.
    """
    nodes: dict[str, list[Granted]] = defaultdict(list)
    for pod in pods:
        nodes[pod.node].append(pod)
    found: dict[str, int] = {}
    for node, there in nodes.items():
        growing = [pod for pod in there if pod.uid not in stuck]
        size = _fitting(sizes, [pod.millicores for pod in growing], max(0, room.get(node, 0)), wanted)
        for pod in there:
            grows = pod.uid not in stuck and pod.millicores < size
            found[pod.uid] = size if grows else min(pod.millicores, wanted)
    return found


def _fitting(sizes: Sequence[int], granted: Sequence[int], room: int, wanted: int) -> int:
    """The largest size up to `wanted` to which the pods of one node can grow; 0 when none can."""
    for size in reversed(sizes[: bisect.bisect_right(sizes, wanted)]):
        if sum(max(0, size - now) for now in granted) <= room:
            return size
    return 0
