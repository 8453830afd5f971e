"""The second dimension: CPU of each pod, for services whose policy allows a range.

A resize arrives within a second or so, a pod after its start-up. So CPU follows the load of the moment, as far as
each node has room, and replicas follow the load that has lasted for a start-up, at the size that new pods begin with:
there they have room to grow, and more, smaller pods survive the loss of a node. What CPU can't carry by the time a
pod would start (no room, the range's end, resizes that don't arrive) is asked for in pods at once.
Down: CPU after seconds, since growing again costs none; pods by the stabilisation window, as without a range.
May not do I/O, and knows nothing of the API by which a resize is asked for.
"""

import bisect
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from corefit_core import sizing, window
from corefit_core.recommender import growth, load, queueing
from corefit_core.recommender.state import Asked, Sample, State
from corefit_core.recommender.types import CpuRange, Observation, PodObservation, Policy

STEP_MILLICORES: Final = 250
"""Sizes between whole cores: finer ones save less than a resize a second is worth watching."""
MAX_SIZES: Final = 64
"""Sixteen cores by quarters; wider ranges get wider steps."""
RECENT_S: Final = 5.0
"""Seconds whose mean is the load of the moment: at ten Erlangs of 50 ms its standard error is 3 %."""
HOLD_S: Final = 10.0
"""CPU goes down by the highest need of so many seconds: ten resizes' time, so that noise makes none."""
STUCK_S: Final = 10.0
"""A resize takes 0.1 s, 0.4 s at worst (20 measured); one that has not arrived after 10 s is deferred or infeasible."""
RETRY_S: Final = 60.0
"""What was refused is asked for again each minute: nodes free up when other pods end, which takes minutes."""
SURE: Final = ((1.0, 1.0),)
"""An outlook without growth."""


class Need(NamedTuple):
    """What the load asks for.

    Attributes:
        soon: Erlangs when a resize asked for now has arrived.
        lasting: Erlangs that have lasted for a start-up.
        ahead, outlook: Erlangs predicted for when a pod asked for now serves, and the chances of more.
        floor: of `lasting`, every silent pod taken as fully busy.
        allowed: the share of requests that may miss the objective.
    """

    soon: float
    lasting: float
    ahead: float
    outlook: Sequence[tuple[float, float]]
    floor: float
    allowed: float


class Grown(NamedTuple):
    """The answer: CPU of each pod, which pods get it now, pods that the load asks for, and the least for going down."""

    millicores: int
    grants: Mapping[str, int]
    replicas: int
    floor: int


class _Workers(NamedTuple):
    """Workers of a pod or of several: those that can compute at once at full speed, and those that run."""

    able: float
    run: int | float


class _Sizes(NamedTuple):
    """Sizes that are worth having, ascending, and the workers of a pod in each."""

    millicores: tuple[int, ...]
    workers: tuple[_Workers, ...]

    def of(self, millicores: int) -> _Workers:
        """Workers of a pod that is granted so much: those of the next smaller size worth having."""
        index = bisect.bisect_right(self.millicores, millicores) - 1
        least = self.workers[0]
        return self.workers[index] if index >= 0 else _Workers(least.able * millicores / self.millicores[0], least.run)


def soon(samples: Sequence[Sample], service: queueing.Service, surge: float, seconds: float) -> float:
    """The load in so many seconds: the mean of the last ones, or a surge, drawn out as far as it surely goes on.

    A surge is what arrives: full pods work no more than they can, and then more than arrives, until none waits.
    """
    last = samples[-1]
    level = growth.mean(samples, last.at, RECENT_S)
    if surge <= level:
        return level
    # No further than twice: what doubles within a round is no line.
    return min(2 * surge, surge + seconds * _rising(samples[-3:], service))


def _rising(samples: Sequence[Sample], service: queueing.Service) -> float:
    """Erlangs a second by which the load is surely rising: the lesser of the last two rises, each less its chance.

    One rise can't be told from a step, which ends there; and the counts of two rounds differ by chance: 32 requests a
    second are 46 in one of a hundred seconds. What rises twice in a row by more than a standard error goes on.
    """
    if len(samples) < 3:
        return 0.0
    return max(0.0, min(_rise(a, b, service) for a, b in itertools.pairwise(samples)))


def _rise(before: Sample, after: Sample, service: queueing.Service) -> float:
    """Erlangs a second from one round to the next, less the standard error of the difference of two Poisson counts."""
    span_s = after.at - before.at
    if span_s <= 0:
        return 0.0
    noise = math.sqrt((before.arriving + after.arriving) * service.service_s * (1 + service.scv) / span_s)
    return (after.arriving - before.arriving - noise) / span_s


def grown(policy: Policy, state: State, seen: Observation, model: queueing.Service, need: Need) -> Grown:
    """CPU and pods for the need. `model` is the service with the workers of a pod as new ones begin.

    The policy has a range, and at least one pod is ready.
    """
    ready = [pod for pod in seen.pods if pod.ready]
    sizes = _sizes(policy, policy.cpu_range or CpuRange(min_millicores=1, max_millicores=1), model, _threads(ready))
    stuck = {asked.uid for asked in state.asked if _is_stuck(asked, state.at or 0.0)}
    model = _with(model, sizes.of(policy.millicores_per_pod), 1)
    options = [_granted(policy, seen, sizes, stuck, millicores) for millicores in sizes.millicores]
    held = max(need.soon, window.highest(state.peaks, state.at or 0.0, HOLD_S) or 0.0)

    def enough(grants: Mapping[str, int]) -> bool:
        each = _with(model, _capacity(policy, ready, sizes, grants), len(ready))
        return queueing.enough(len(ready), held, SURE, each, need.allowed)

    chosen = next((i for i, grants in enumerate(options) if enough(grants)), len(options) - 1)
    at_most = 4 * max(1, policy.max_replicas)
    lasting = queueing.pods_needed(need.lasting, SURE, model, need.allowed, at_most, near=seen.replicas)
    ahead = _ahead(len(ready), _capacity(policy, ready, sizes, options[-1]), model, need, at_most)
    floor = queueing.pods_needed(need.floor, SURE, model, need.allowed, at_most, near=lasting)
    replicas = max(lasting, ahead)
    return Grown(sizes.millicores[chosen], options[chosen], replicas, max(replicas, floor))


def asked(policy: Policy, state: State, seen: Observation, grants: Mapping[str, int], now: float) -> tuple[Asked, ...]:
    """The resizes upward that have not arrived, with the times since when they are waited for."""
    before = {each.uid: each for each in state.asked}
    waiting = []
    for pod in seen.pods:
        old, granted = before.get(pod.uid), pod.millicores or policy.millicores_per_pod
        if old is not None and granted < old.millicores and _is_stuck(old, now):
            waiting.append(old)
        elif grants.get(pod.uid, 0) > granted:
            same = old is not None and granted < old.millicores and now - old.since <= STUCK_S
            waiting.append(Asked(pod.uid, grants[pod.uid], old.since if same and old is not None else now))
    return tuple(waiting)


def _is_stuck(each: Asked, now: float) -> bool:
    return STUCK_S < now - each.since <= RETRY_S


def _ahead(ready: int, capacity: _Workers, model: queueing.Service, need: Need, at_most: int) -> int:
    """Pods that the load ahead needs, if those that are ready get all CPU within reach and others begin as new ones."""

    def enough(pods: int) -> bool:
        kept, new = min(1.0, pods / ready), max(0, pods - ready) * model.workers
        workers = _Workers(capacity.able * kept + new, capacity.run * kept + new * model.stretch)
        return queueing.enough(pods, need.ahead, need.outlook, _with(model, workers, pods), need.allowed)

    return 1 + bisect.bisect_left(range(1, at_most), True, key=enough)


def _with(model: queueing.Service, workers: _Workers, pods: int) -> queueing.Service:
    """The service with pods that have these workers together."""
    able = max(workers.able / pods, 1e-3)
    return msgspec.structs.replace(model, workers=able, stretch=max(1.0, workers.run / pods / able))


def _threads(ready: Sequence[PodObservation]) -> int:
    """Threads of a worker, as most pods have it."""
    seen = Counter(p.report.plan.threads_per_worker for p in ready if p.report is not None)
    return max(1, min(load.MAX_WORKERS, seen.most_common(1)[0][0] if seen else 1))


def _sizes(policy: Policy, span: CpuRange, model: queueing.Service, threads: int) -> _Sizes:
    """The sizes of the range in which more workers compute at once than in the next smaller one.

    A fraction of a core is worth having where the plan rounds it up: where the stall that throttling makes is small
    against what the objective leaves for waiting. Rounded down, it would lie idle.
    """
    low, high = max(1, span.min_millicores), max(1, span.min_millicores, span.max_millicores)
    step = STEP_MILLICORES * max(1, -(-(high - low) // (STEP_MILLICORES * MAX_SIZES)))
    steps = range(-(-low // step) * step, high, step)
    millicores: list[int] = []
    workers: list[_Workers] = []
    for size in sorted({low, high, *steps}):
        cores = sizing.whole_cores(size, policy.objective.latency_s, model.service_s)[0]
        run = max(1, cores // threads)
        able = min(run, size / 1000 / threads)
        if not workers or able > workers[-1].able + 1e-9:
            millicores.append(size)
            workers.append(_Workers(able, run))
    return _Sizes(tuple(millicores), tuple(workers))


def _capacity(policy: Policy, ready: Sequence[PodObservation], sizes: _Sizes, grants: Mapping[str, int]) -> _Workers:
    pods = [sizes.of(grants.get(p.uid, p.millicores or policy.millicores_per_pod)) for p in ready]
    return _Workers(math.fsum([pod.able for pod in pods]), math.fsum([pod.run for pod in pods]))


def _granted(policy: Policy, seen: Observation, sizes: _Sizes, stuck: set[str], wanted: int) -> dict[str, int]:
    """What each ready pod can be brought to: `wanted`, or on a node without the room the largest size that fits."""
    nodes: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for pod in seen.pods:
        if pod.ready:
            nodes[pod.node].append((pod.uid, pod.millicores or policy.millicores_per_pod))
    grants: dict[str, int] = {}
    for node, pods in nodes.items():
        room = max(0, seen.headroom_millicores.get(node, 0))
        growing = [(uid, now) for uid, now in pods if uid not in stuck]
        size = _fitting(sizes.millicores, [now for _, now in growing], room, wanted)
        grants.update({uid: min(now, wanted) if now >= size else size for uid, now in growing})
        grants.update({uid: min(now, wanted) for uid, now in pods if uid in stuck})
    return grants


def _fitting(sizes: Sequence[int], granted: Sequence[int], room: int, wanted: int) -> int:
    """The largest size up to `wanted` to which the pods of one node can grow; 0 when none can."""
    for size in reversed(sizes[: bisect.bisect_right(sizes, wanted)]):
        if sum(max(0, size - now) for now in granted) <= room:
            return size
    return 0
