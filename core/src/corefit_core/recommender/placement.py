"""The CPU of each pod, where a resource gives a range of it: how many pods of which size carry the load.

A resize arrives within a second or so, a pod after its start-up. So CPU follows the load of the moment, as far as
each node has room, and pods are the fewest that can each still double: then a load that doubles, or the loss of half
of them, is carried within a second by those that are there. Fewer, larger pods share a queue better and need no
start-up; more, smaller ones would survive a node no better than that, and `min_replicas` is the floor.
What CPU can't carry by the time a pod would start (no room, the range's end, resizes that don't arrive) is asked for
in pods at once. Down: CPU after seconds, since growing again costs none; pods by the stabilization window, as without
a range, and once those that stay have the CPU.
May not do I/O, and knows nothing of the API by which a resize is asked for.
"""

import bisect
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from corefit_core import window
from corefit_core.recommender import measurement, node_room, queueing, spans
from corefit_core.recommender.quota import CORE
from corefit_core.recommender.sizes import Sizes, Workers, worth
from corefit_core.recommender.types import CpuRange, Observation, PodObservation, Policy

HOLD_S: Final = 10.0
"""CPU goes down by the highest level of so many seconds: ten resizes' time, so that noise makes none."""
STUCK_S: Final = 10.0
"""A resize takes 0.1 s, 0.4 s at worst (20 measured); one that has not arrived after 10 s is deferred or infeasible."""
ROOM_TO_GROW: Final = 2.0
"""Times what a pod carries for good that it can be grown to: for a load that doubles within a start-up, as bursts are
(`errors.BURST` and above), and for the loss of half of the pods, which is what a node is where there are two."""
SURE: Final = ((1.0, 1.0),)
"""An outlook without predictors."""


class PendingResize(msgspec.Struct, frozen=True):
    """A resize that has not arrived yet: which pod, to how much, since when."""

    uid: str
    millicores: int
    since: float


class SizesState(msgspec.Struct, frozen=True, kw_only=True):
    """What sizes rest on.

    Attributes:
        peaks: load that the CPU of a pod was sized for in the last seconds, oldest first.
        pending: resizes that have not arrived.
    """

    peaks: tuple[window.Timed, ...] = ()
    pending: tuple[PendingResize, ...] = ()


class Requirement(NamedTuple):
    """What the load needs, in Erlangs, and the share of requests that may miss the objective.

    Attributes:
        current: mean load of a start-up.
        predicted: the load when a pod asked for now serves.
        distribution: (weight, load over that) of what may come.
        silent: of pods that do not report, each taken as fully busy: more than the others' mean.
        noise: of the measurement, which scaling down leaves room for.
        miss_target: the share that may miss the objective, by pods.
        cpu_miss_target: that by CPU; this and what follows only where there is a range of it.
        at_resize: the load when a resize asked for now has arrived.
        step: the load since it rose in the last seconds; 0 where it has not.
        recent: the load of the last seconds, which CPU is held for.
    """

    current: float
    predicted: float
    distribution: Sequence[tuple[float, float]]
    silent: float
    noise: float
    miss_target: float
    cpu_miss_target: float = 0.0
    at_resize: float = 0.0
    step: float = 0.0
    recent: float = 0.0


class Placement(NamedTuple):
    """What both dimensions are decided from. The policy has a range, and at least one pod is ready.

    Attributes:
        model: the service with the workers of a pod as new ones begin, and the objective as it is.
        sizes: that are worth having.
        stuck: pods whose resizes don't arrive.
        latency_s: what CPU is to keep: the objective, unless no CPU within reach can; see `_aiming`.
        most: what each ready pod can be brought to.
    """

    policy: Policy
    state: SizesState
    now: float
    seen: Observation
    ready: Sequence[PodObservation]
    model: queueing.Service
    sizes: Sizes
    stuck: frozenset[str]
    latency_s: float
    most: Mapping[str, int] = {}


class Pods(NamedTuple):
    """Pods that the load needs, and that it needs for scaling down."""

    replicas: int
    scale_down: int


class Size(NamedTuple):
    """CPU of each pod, which pods get it now, and whether the pods that stay have enough as they are."""

    millicores: int
    grants: Mapping[str, int]
    enough: bool


def placement(policy: Policy, state: SizesState, now: float, seen: Observation, service: queueing.Service) -> Placement:
    """What both dimensions are decided from."""
    ready = [pod for pod in seen.pods if pod.ready]
    span = policy.cpu_range or CpuRange(min_millicores=1, max_millicores=1)
    sizes = worth(policy, span, service, _threads(ready))
    stuck = frozenset(each.uid for each in state.pending if _is_stuck(each, now))
    model = of_size(service, sizes.of(policy.millicores_per_pod), 1)
    model = msgspec.structs.replace(model, latency_s=policy.objective.latency_s)
    here = Placement(policy, state, now, seen, ready, model, sizes, stuck, model.latency_s)
    return here._replace(most=_granted(here, sizes.millicores[-1]))


def pods(here: Placement, need: Requirement) -> Pods:
    """The fewest pods that carry what lasts and can still grow, and what CPU can't carry one start-up from now."""
    at_most = 4 * max(1, here.policy.max_replicas)
    kept = _kept(here)
    current = _carrying(here, kept, need.current, need.miss_target, at_most)
    capacity = _capacity(here, here.most)
    predicted = _ahead(len(here.ready), capacity, here.model, need, at_most)
    # A crowd that is here already is not waited for until the means of what is predicted have filled with it.
    crowd = need._replace(predicted=need.step, distribution=SURE)
    predicted = max(predicted, _ahead(len(here.ready), capacity, here.model, crowd, at_most))
    scale_down = _carrying(here, kept, need.current + need.silent + need.noise, need.miss_target, at_most)
    replicas = max(current, predicted)
    return Pods(replicas, max(replicas, scale_down))


def size(here: Placement, need: Requirement, replicas: int) -> Size:
    """CPU for the load of the moment on so many of the pods, or on all where no size is enough for those.

    Enough is what carries the load and its standard error more. A load that wavers gets the same size: pods that would
    be enough for two errors more at most stay as they are.
    """
    stay, held = max(1, min(len(here.ready), replicas)), _held(here, need)
    noise = here.model.noise(held, spans.RECENT_S)
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


def carrying(here: Placement, need: Requirement, replicas: int) -> int:
    """The fewest of the ready pods, so many at least, that CPU within reach lets carry the load of the moment.

    Pods are planned by what all of them can be brought to on average. Those that stay may be the ones without room:
    then a few more of them stay, not all; where all are short, as many as there are.
    """
    held = _held(here, need)

    def enough(pods: int) -> bool:
        return _enough(_aiming(here, pods), need, held, pods, here.most)

    fewer = range(max(1, replicas), len(here.ready))
    return fewer.start + bisect.bisect_left(fewer, True, key=enough)


def _held(here: Placement, need: Requirement) -> float:
    return max(need.at_resize, window.highest(here.state.peaks, here.now, HOLD_S) or 0.0)


def _least(here: Placement, need: Requirement, loads: Sequence[float], pods: int) -> list[int | None]:
    """For each of the loads, in rising order, the smallest size that is enough; None when none is."""
    found: list[int | None] = []
    for each in here.sizes.millicores:
        grants = _granted(here, each)
        while len(found) < len(loads) and _enough(here, need, loads[len(found)], pods, grants):
            found.append(each)
        if len(found) == len(loads):
            break
    return found + [None] * (len(loads) - len(found))


def _enough(here: Placement, need: Requirement, erlangs: float, pods: int, grants: Mapping[str, int]) -> bool:
    """Whether so many of the ready pods carry the load with what they are granted, or as they are.

    A run that a small size stretches past the objective is what more CPU is for, so no more than that is put up with
    where there is some within reach. Where nothing comes nobody waits.
    """
    each = msgspec.structs.replace(of_size(here.model, _capacity(here, grants, pods), pods), latency_s=here.latency_s)
    return erlangs <= 0 or queueing.enough(pods, erlangs, SURE, each, need.cpu_miss_target)


def updated(here: Placement, need: Requirement, grants: Mapping[str, int]) -> SizesState:
    """With the load of this round, and the resizes upward that have not arrived."""
    before, now = {each.uid: each for each in here.state.pending}, here.now
    pending = []
    for pod in here.seen.pods:
        old, granted = before.get(pod.uid), pod.millicores or here.policy.millicores_per_pod
        if old is not None and granted < old.millicores and _is_stuck(old, now):
            pending.append(old)
        elif grants.get(pod.uid, 0) > granted:
            same = old is not None and granted < old.millicores and now - old.since <= STUCK_S
            since = old.since if same and old is not None else now
            pending.append(PendingResize(pod.uid, grants[pod.uid], since))
    return SizesState(peaks=window.pushed(here.state.peaks, now, need.recent, HOLD_S), pending=tuple(pending))


def _is_stuck(each: PendingResize, now: float) -> bool:
    return STUCK_S < now - each.since <= spans.SLOW_S


def _ahead(ready: int, capacity: Workers, model: queueing.Service, need: Requirement, at_most: int) -> int:
    """Pods that the load ahead needs, if those that are ready get all CPU within reach and others begin as new ones."""

    def enough(pods: int) -> bool:
        kept, new = min(1.0, pods / ready), max(0, pods - ready) * model.workers
        workers = Workers(capacity.effective * kept + new, capacity.running * kept + new * model.slowdown)
        return queueing.enough(pods, need.predicted, need.distribution, of_size(model, workers, pods), need.miss_target)

    return 1 + bisect.bisect_left(range(1, at_most), True, key=enough)


def _carrying(here: Placement, kept: float, erlangs: float, miss_target: float, at_most: int) -> int:
    """Pods that carry the load with so much CPU each, or with the whole cores of it where a fraction more is no gain.

    A size counts as worth having by what it computes, but the stalls of the fraction can cost more than that.
    """
    sizes = {kept, max(CORE, kept // CORE * CORE)} if kept > CORE else {kept}
    models = [of_size(here.model, here.sizes.of(size), 1) for size in sizes]
    near = here.seen.replicas
    return min(queueing.pods_needed(erlangs, SURE, model, miss_target, at_most, near=near) for model in models)


def of_size(model: queueing.Service, workers: Workers, pods: int) -> queueing.Service:
    """The service with pods that have these workers together; more of them don't shorten a run that is stretched."""
    effective = max(workers.effective / pods, 1e-3)
    slowdown = max(1.0, workers.running / pods / effective)
    latency_s = queueing.attainable(model.latency_s, model.service_s * slowdown)
    return msgspec.structs.replace(model, workers=effective, slowdown=slowdown, latency_s=latency_s)


def _aiming(here: Placement, pods: int) -> Placement:
    """The placement with what so many of the pods, the smallest, can keep with the CPU that they can be brought to."""
    reach = math.fsum(sorted(here.most[p.uid] for p in here.ready)[:pods]) / pods
    smaller = [each for each in here.sizes.millicores if each < reach]
    slowdown = min(each.running / each.effective for each in map(here.sizes.of, (*smaller, reach)))
    return here._replace(latency_s=queueing.attainable(here.model.latency_s, here.model.service_s * slowdown))


def _threads(ready: Sequence[PodObservation]) -> int:
    """Threads of a worker, as most pods have it."""
    seen = Counter(p.report.plan.threads_per_worker for p in ready if p.report is not None)
    return max(1, min(measurement.MAX_WORKERS, seen.most_common(1)[0][0] if seen else 1))


def _kept(here: Placement) -> float:
    """Millicores that a pod may need for good: so that it can still grow, in its range and in the room of its node."""
    base = here.policy.millicores_per_pod
    reach = math.fsum([here.most[p.uid] for p in here.ready]) / len(here.ready)
    return max(min(base, reach), reach / ROOM_TO_GROW)


def _capacity(here: Placement, grants: Mapping[str, int], pods: int = 0) -> Workers:
    """Workers of the ready pods together; of so many of them, the smallest, since nobody knows which go."""
    base = here.policy.millicores_per_pod
    each = sorted(here.sizes.of(grants.get(p.uid, p.millicores or base)) for p in here.ready)[: pods or None]
    return Workers(math.fsum([pod.effective for pod in each]), math.fsum([pod.running for pod in each]))


def _granted(here: Placement, wanted: int) -> dict[str, int]:
    """What each ready pod can be brought to: see `node_room.grants`."""
    base = here.policy.millicores_per_pod
    pods = [node_room.Granted(pod.node, pod.uid, pod.millicores or base) for pod in here.ready]
    return node_room.grants(pods, here.seen.headroom_millicores, here.stuck, here.sizes.millicores, wanted)
