"""The second dimension: CPU of each pod, for services whose policy allows a range.

A resize arrives within a second or so, a pod after its start-up. So CPU follows the load of the moment, as far as
each node has room, and pods are the fewest that can each still double: then a load that doubles, or the loss of half
of them, is carried within a second by those that are there. Fewer, larger pods share a queue better and need no
start-up; more, smaller ones would survive a node no better than that, and `min_replicas` is the floor.
What CPU can't carry by the time a pod would start (no room, the range's end, resizes that don't arrive) is asked for
in pods at once. Down: CPU after seconds, since growing again costs none; pods by the stabilisation window, as without
a range, and once those that stay have the CPU.
May not do I/O, and knows nothing of the API by which a resize is asked for.
"""

import bisect
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from corefit_core import window
from corefit_core.recommender import growth, load, queueing
from corefit_core.recommender.quota import CORE
from corefit_core.recommender.sizes import Sizes, Workers, worth
from corefit_core.recommender.state import Asked, State
from corefit_core.recommender.types import CpuRange, Observation, PodObservation, Policy

HOLD_S: Final = 10.0
"""CPU goes down by the highest level of so many seconds: ten resizes' time, so that noise makes none."""
STUCK_S: Final = 10.0
"""A resize takes 0.1 s, 0.4 s at worst (20 measured); one that has not arrived after 10 s is deferred or infeasible."""
RETRY_S: Final = 60.0
"""What was refused is asked for again each minute: nodes free up when other pods end, which takes minutes."""
ROOM_TO_GROW: Final = 2.0
"""Times what a pod carries for good that it can be grown to: for a load that doubles within a start-up, as bursts are
(`errors.BURST` and above), and for the loss of half of the pods, which is what a node is where there are two."""
SURE: Final = ((1.0, 1.0),)
"""An outlook without growth."""


class Need(NamedTuple):
    """What the load asks for.

    Attributes:
        lasting: Erlangs that have lasted for a start-up.
        ahead, outlook: Erlangs predicted for when a pod asked for now serves, and the chances of more.
        floor: of `lasting`, every silent pod taken as fully busy.
        allowed: the share of requests that may miss the objective, by pods.
        within: the share of those that may miss it by CPU; this and what follows only where there is a range of it.
        soon: Erlangs when a resize asked for now has arrived.
        risen: Erlangs since the load rose in the last seconds; 0 where it has not.
        level: Erlangs of the last seconds, which CPU is held for.
    """

    lasting: float
    ahead: float
    outlook: Sequence[tuple[float, float]]
    floor: float
    allowed: float
    within: float = 0.0
    soon: float = 0.0
    risen: float = 0.0
    level: float = 0.0


class Scene(NamedTuple):
    """What both dimensions are decided from. The policy has a range, and at least one pod is ready.

    Attributes:
        model: the service with the workers of a pod as new ones begin, and the objective as it is.
        sizes: that are worth having.
        stuck: pods whose resizes don't arrive.
        latency_s: what CPU is to keep: the objective, unless no CPU within reach can; see `_aiming`.
        most: what each ready pod can be brought to.
    """

    policy: Policy
    state: State
    seen: Observation
    ready: Sequence[PodObservation]
    model: queueing.Service
    sizes: Sizes
    stuck: frozenset[str]
    latency_s: float
    most: Mapping[str, int] = {}


class Pods(NamedTuple):
    """Pods that the load asks for, and the least for going down."""

    replicas: int
    floor: int


class Size(NamedTuple):
    """CPU of each pod, which pods get it now, and whether the pods that stay have enough as they are."""

    millicores: int
    grants: Mapping[str, int]
    there: bool


def scene(policy: Policy, state: State, seen: Observation, service: queueing.Service) -> Scene:
    """The scene; see there."""
    ready = [pod for pod in seen.pods if pod.ready]
    span = policy.cpu_range or CpuRange(min_millicores=1, max_millicores=1)
    sizes = worth(policy, span, service, _threads(ready))
    stuck = frozenset(asked.uid for asked in state.asked if _is_stuck(asked, state.at or 0.0))
    model = _with(service, sizes.of(policy.millicores_per_pod), 1)
    model = msgspec.structs.replace(model, latency_s=policy.objective.latency_s)
    here = Scene(policy, state, seen, ready, model, sizes, stuck, model.latency_s)
    return here._replace(most=_granted(here, sizes.millicores[-1]))


def pods(here: Scene, need: Need) -> Pods:
    """The fewest pods that carry what lasts and can still grow, and what CPU can't carry one start-up from now."""
    at_most = 4 * max(1, here.policy.max_replicas)
    kept = _kept(here)
    lasting = _carrying(here, kept, need.lasting, need.allowed, at_most)
    capacity = _capacity(here, here.most)
    ahead = _ahead(len(here.ready), capacity, here.model, need, at_most)
    # A crowd that is here already is not waited for until the means of what is predicted have filled with it.
    crowd = need._replace(ahead=need.risen, outlook=SURE)
    ahead = max(ahead, _ahead(len(here.ready), capacity, here.model, crowd, at_most))
    floor = _carrying(here, kept, need.floor, need.allowed, at_most)
    replicas = max(lasting, ahead)
    return Pods(replicas, max(replicas, floor))


def size(here: Scene, need: Need, replicas: int) -> Size:
    """CPU for the load of the moment on so many of the pods, or on all where no size is enough for those.

    Enough is what carries the load and its standard error more. A load that wavers gets the same size: pods that would
    be enough for two errors more at most stay as they are.
    """
    stay, held = max(1, min(len(here.ready), replicas)), _held(here, need)
    noise = here.model.noise(held, growth.RECENT_S)
    loads = (held + noise, held + 2 * noise)
    largest = here.sizes.millicores[-1]
    all_of_them, here = _aiming(here, len(here.ready)), _aiming(here, stay)
    wanted, most = _least(here, need, loads, stay)
    as_is = max([p.millicores or here.policy.millicores_per_pod for p in here.ready])
    if wanted is not None and wanted <= as_is <= (most or largest):
        wanted = as_is
    elif wanted is None and stay < len(here.ready):
        wanted = _least(all_of_them, need, loads[:1], len(here.ready))[0]
    wanted = wanted or largest
    return Size(wanted, _granted(here, wanted), _enough(here, need, held, stay, {}))


def carrying(here: Scene, need: Need, replicas: int) -> int:
    """The fewest of the ready pods, so many at least, that CPU within reach lets carry the load of the moment.

    Pods are planned by what all of them can be brought to on average. Those that stay may be the ones without room:
    then a few more of them stay, not all; where all are short, as many as there are.
    """
    held = _held(here, need)

    def enough(pods: int) -> bool:
        return _enough(_aiming(here, pods), need, held, pods, here.most)

    fewer = range(max(1, replicas), len(here.ready))
    return fewer.start + bisect.bisect_left(fewer, True, key=enough)


def _held(here: Scene, need: Need) -> float:
    return max(need.soon, window.highest(here.state.peaks, here.state.at or 0.0, HOLD_S) or 0.0)


def _least(here: Scene, need: Need, loads: Sequence[float], pods: int) -> list[int | None]:
    """For each of the loads, in rising order, the smallest size that is enough; None when none is."""
    found: list[int | None] = []
    for each in here.sizes.millicores:
        grants = _granted(here, each)
        while len(found) < len(loads) and _enough(here, need, loads[len(found)], pods, grants):
            found.append(each)
        if len(found) == len(loads):
            break
    return found + [None] * (len(loads) - len(found))


def _enough(here: Scene, need: Need, erlangs: float, pods: int, grants: Mapping[str, int]) -> bool:
    """Whether so many of the ready pods carry the load with what they are granted, or as they are.

    A run that a small size stretches past the objective is what more CPU is for, so no more than that is put up with
    where there is some within reach. Where nothing comes nobody waits.
    """
    each = msgspec.structs.replace(_with(here.model, _capacity(here, grants, pods), pods), latency_s=here.latency_s)
    return erlangs <= 0 or queueing.enough(pods, erlangs, SURE, each, need.within)


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


def _ahead(ready: int, capacity: Workers, model: queueing.Service, need: Need, at_most: int) -> int:
    """Pods that the load ahead needs, if those that are ready get all CPU within reach and others begin as new ones."""

    def enough(pods: int) -> bool:
        kept, new = min(1.0, pods / ready), max(0, pods - ready) * model.workers
        workers = Workers(capacity.able * kept + new, capacity.run * kept + new * model.stretch)
        return queueing.enough(pods, need.ahead, need.outlook, _with(model, workers, pods), need.allowed)

    return 1 + bisect.bisect_left(range(1, at_most), True, key=enough)


def _carrying(here: Scene, kept: float, erlangs: float, allowed: float, at_most: int) -> int:
    """Pods that carry the load with so much CPU each, or with the whole cores of it where a fraction more is no gain.

    A size counts as worth having by what it computes, but the stalls of the fraction can cost more than that.
    """
    sizes = {kept, max(CORE, kept // CORE * CORE)} if kept > CORE else {kept}
    models = [_with(here.model, here.sizes.of(size), 1) for size in sizes]
    near = here.seen.replicas
    return min(queueing.pods_needed(erlangs, SURE, model, allowed, at_most, near=near) for model in models)


def _with(model: queueing.Service, workers: Workers, pods: int) -> queueing.Service:
    """The service with pods that have these workers together; more of them don't shorten a run that is stretched."""
    able = max(workers.able / pods, 1e-3)
    stretch = max(1.0, workers.run / pods / able)
    latency_s = queueing.attainable(model.latency_s, model.service_s * stretch)
    return msgspec.structs.replace(model, workers=able, stretch=stretch, latency_s=latency_s)


def _aiming(here: Scene, pods: int) -> Scene:
    """The scene with what so many of the pods, the smallest, can keep with the CPU that they can be brought to."""
    reach = math.fsum(sorted(here.most[p.uid] for p in here.ready)[:pods]) / pods
    within = [each for each in here.sizes.millicores if each < reach]
    stretch = min(each.run / each.able for each in map(here.sizes.of, (*within, reach)))
    return here._replace(latency_s=queueing.attainable(here.model.latency_s, here.model.service_s * stretch))


def _threads(ready: Sequence[PodObservation]) -> int:
    """Threads of a worker, as most pods have it."""
    seen = Counter(p.report.plan.threads_per_worker for p in ready if p.report is not None)
    return max(1, min(load.MAX_WORKERS, seen.most_common(1)[0][0] if seen else 1))


def _kept(here: Scene) -> float:
    """Millicores that a pod may need for good: so that it can still grow, in its range and in the room of its node."""
    base = here.policy.millicores_per_pod
    reach = math.fsum([here.most[p.uid] for p in here.ready]) / len(here.ready)
    return max(min(base, reach), reach / ROOM_TO_GROW)


def _capacity(here: Scene, grants: Mapping[str, int], pods: int = 0) -> Workers:
    """Workers of the ready pods together; of so many of them, the smallest, since nobody knows which go."""
    base = here.policy.millicores_per_pod
    each = sorted(here.sizes.of(grants.get(p.uid, p.millicores or base)) for p in here.ready)[: pods or None]
    return Workers(math.fsum([pod.able for pod in each]), math.fsum([pod.run for pod in each]))


def _granted(here: Scene, wanted: int) -> dict[str, int]:
    """What each ready pod can be brought to: `wanted`, or on a node without the room the largest size that fits."""
    nodes: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for pod in here.ready:
        nodes[pod.node].append((pod.uid, pod.millicores or here.policy.millicores_per_pod))
    grants: dict[str, int] = {}
    for node, pods in nodes.items():
        room = max(0, here.seen.headroom_millicores.get(node, 0))
        growing = [(uid, now) for uid, now in pods if uid not in here.stuck]
        size = _fitting(here.sizes.millicores, [now for _, now in growing], room, wanted)
        grants.update({uid: min(now, wanted) if now >= size else size for uid, now in growing})
        grants.update({uid: min(now, wanted) for uid, now in pods if uid in here.stuck})
    return grants


def _fitting(sizes: Sequence[int], granted: Sequence[int], room: int, wanted: int) -> int:
    """The largest size up to `wanted` to which the pods of one node can grow; 0 when none can."""
    for size in reversed(sizes[: bisect.bisect_right(sizes, wanted)]):
        if sum(max(0, size - now) for now in granted) <= room:
            return size
    return 0
