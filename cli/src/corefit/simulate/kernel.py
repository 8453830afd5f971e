"""The simulator's inner loop: one request after the other into a pod's queue, compiled by numba.

A request that is let in gets its worker and its start at once: queues are first in, first out and service times
are drawn beforehand, so nothing that comes later can change them. May not scale, and allocates nothing.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

from corefit_core.histogram import BOUNDS_S

_Function = TypeVar("_Function", bound=Callable[..., Any])

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

CENTRAL: Final = 0
RANDOM: Final = 1
LEAST: Final = 2

BUCKETS: Final = len(BOUNDS_S) + 1
ARRIVED, REJECTED, SERVED = 0, 1, 2
SERVICE, WAIT, TOTAL = 0, 1, 2

_FIRST: Final = BOUNDS_S[0]
_STEPS: Final = 4.0 / float(np.log(2.0))


def _compiled(function: _Function) -> _Function:
    """Compiled without numba's counting of references.

    Nothing is allocated here, and each call would count up and down every array that it is handed, which took nine
    tenths of the time. Division by zero gives infinity, as numpy's does.
    """
    decorate: Callable[[_Function], _Function] = njit(
        cache=True,
        error_model="numpy",
        _nrt=False,  # type: ignore[call-overload]  # numba's own option, left out of its stubs
    )
    return decorate(function)


class Rows(NamedTuple):
    """All pods, one to a row; a row is used again after its pod is gone.

    free: when each worker is. width, depth, cores: how many workers run, how many requests may wait, and how many
    workers the CPU lets compute at once. starts: a ring of when the waiting requests begin; ends: its head and tail.
    counts: arrived, rejected, served. sums, squares, buckets: of service time, wait and total time.
    work: what was let in takes of a worker at full speed; work_squares: of each request, squared.
    """

    free: Floats
    width: Ints
    depth: Ints
    cores: Floats
    starts: Floats
    ends: Ints
    counts: Ints
    sums: Floats
    squares: Floats
    buckets: Ints
    work: Floats
    work_squares: Floats


class Load(NamedTuple):
    """All requests: when they arrive, their work, and what became of them (see `requests.Requests`)."""

    arrivals: Floats
    services: Floats
    latencies: Singles
    concurrency: Floats
    random: Words
    balancing: int


@_compiled
def _bucket(seconds: float) -> int:
    if seconds <= _FIRST:
        return 0
    return min(BUCKETS - 1, int(np.ceil(np.log(seconds / _FIRST) * _STEPS - 1e-9)))


@_compiled
def _draw(state: Words, below: int) -> int:
    """A number below `below`, by xorshift64: a balancer needs to be fair, not unpredictable."""
    x = state[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    state[0] = x
    return int((x >> np.uint64(11)) % np.uint64(below))


@_compiled
def _waiting(rows: Rows, slot: int, now: float) -> int:
    """Requests of a pod that have not begun; what has begun is dropped from the ring."""
    size = rows.starts.shape[1]
    head, tail = rows.ends[slot, 0], rows.ends[slot, 1]
    while head < tail and rows.starts[slot, head % size] <= now:
        head += 1
    rows.ends[slot, 0] = head
    return int(tail - head)


@_compiled
def _in_flight(rows: Rows, slot: int, now: float) -> int:
    workers = rows.width[slot]
    busy = 0
    for worker in range(workers):
        busy += rows.free[slot, worker] > now
    return busy if busy < workers else busy + _waiting(rows, slot, now)


@_compiled
def _least(rows: Rows, ready: Ints, now: float, offset: int) -> int:
    """The pod with the fewest requests in it; ties go to the first after a random place."""
    best, fewest = ready[offset], 1 << 60
    for step in range(len(ready)):
        slot = ready[(offset + step) % len(ready)]
        count = _in_flight(rows, slot, now)
        if count < fewest:
            best, fewest = slot, count
            if count == 0:
                break
    return int(best)


@_compiled
def _soonest(rows: Rows, ready: Ints, now: float, offset: int) -> int:
    """The pod whose worker is free first: what one queue in front of all workers comes to."""
    best, soonest = ready[offset], np.inf
    for step in range(len(ready)):
        slot = ready[(offset + step) % len(ready)]
        for worker in range(rows.width[slot]):
            if rows.free[slot, worker] < soonest:
                best, soonest = slot, rows.free[slot, worker]
        if soonest <= now:
            break
    return int(best)


@_compiled
def _choose(load: Load, rows: Rows, ready: Ints, now: float) -> int:
    offset = _draw(load.random, len(ready))
    if load.balancing == RANDOM:
        return int(ready[offset])
    if load.balancing == LEAST:
        return _least(rows, ready, now, offset)
    return _soonest(rows, ready, now, offset)


@_compiled
def _full(load: Load, rows: Rows, ready: Ints, slot: int, now: float) -> bool:
    if load.balancing != CENTRAL:
        return bool(_waiting(rows, slot, now) >= rows.depth[slot])
    waiting = depth = 0
    for other in ready:
        waiting += _waiting(rows, other, now)
        depth += rows.depth[other]
    return bool(waiting >= depth)


@_compiled
def _spread(concurrency: Floats, begin: float, end: float) -> None:
    """Add a request's presence to the seconds that it was present in."""
    second = int(begin)
    while begin < end and second < len(concurrency):
        until = min(end, second + 1.0)
        concurrency[second] += until - begin
        begin = until
        second += 1


@_compiled
def _slowdown(rows: Rows, slot: int, begin: float) -> float:
    """How much longer a run takes when more workers run than the CPU lets compute at once: throttling, spread out."""
    width = rows.width[slot]
    if rows.cores[slot] >= width:
        return 1.0
    busy = 1
    for worker in range(width):
        busy += rows.free[slot, worker] > begin
    return float(max(1.0, min(busy, width) / rows.cores[slot]))


@_compiled
def _admit(load: Load, rows: Rows, ready: Ints, slot: int, number: int) -> float:
    """When the request is answered; infinite when it is turned away."""
    now, service = load.arrivals[number], load.services[number]
    rows.counts[slot, ARRIVED] += 1
    worker = int(np.argmin(rows.free[slot, : rows.width[slot]]))
    begin = max(now, rows.free[slot, worker])
    if begin > now:
        if _full(load, rows, ready, slot, now):
            rows.counts[slot, REJECTED] += 1
            return float(np.inf)
        _waiting(rows, slot, now)
        rows.starts[slot, rows.ends[slot, 1] % rows.starts.shape[1]] = begin
        rows.ends[slot, 1] += 1
    rows.work[slot] += service
    rows.work_squares[slot] += service * service
    service *= _slowdown(rows, slot, begin)
    end = float(begin + service)
    rows.free[slot, worker] = end
    rows.counts[slot, SERVED] += 1
    for kind, seconds in ((SERVICE, service), (WAIT, begin - now), (TOTAL, end - now)):
        rows.sums[slot, kind] += seconds
        rows.squares[slot, kind] += seconds * seconds
        rows.buckets[slot, kind, _bucket(seconds)] += 1
    return end


@_compiled
def serve(load: Load, rows: Rows, ready: Ints, first: int, upto: float) -> int:
    """Let in, or turn away, every request from number `first` on that arrives before `upto`; return the next one."""
    i = first
    while i < len(load.arrivals) and load.arrivals[i] < upto:
        now = load.arrivals[i]
        if len(ready) > 0:
            end = _admit(load, rows, ready, _choose(load, rows, ready, now), i)
            load.latencies[i] = end - now
            if end < np.inf:
                _spread(load.concurrency, now, end)
        i += 1
    return i
