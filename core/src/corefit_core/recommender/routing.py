"""What one queue in front of all pods saves, and whether that is worth a balancer. Pure; `now` is an argument.

Behind a Service each pod has a queue of its own, since the Service picks pods blindly; behind a balancer all pods share
one. The same formulas count the pods for both (`queueing`, with a pooling of 0 and of 1). Clients with connections that
never end do worse than blindly: what they would gain is left out.
Owns `RoutingState`. May not know what balances now, nor what stops a balancer from being there.
"""

import bisect
from typing import Final, NamedTuple

import msgspec

from corefit_core import window
from corefit_core.recommender import error_budget, placement, queueing, sizes
from corefit_core.recommender.quota import CORE
from corefit_core.recommender.sizes import READABLE
from corefit_core.recommender.types import CpuRange, Load, Policy
from corefit_core.window import Timed

UP_S: Final = 60.0
"""Seconds that a saving has to last. Connections that are open when a balancer comes stay with their pods for about a
minute (`--connection-age`): a shorter burst would be over before it gained anything."""
DOWN_WINDOWS: Final = 10.0
"""Stabilization windows over which one queue has to save less than the balancer takes until that goes: ten minutes,
where nothing else is set. Two pods of 25m then have taken 30 core-seconds, as a pod of 250m in two minutes, and a load
that comes back within that time finds them serving."""
WORTH: Final = 2.0
"""Times what it takes that a balancer must save to come. It goes when it saves less than it takes; in between all stays
as it is. Its memory is not counted: 256 MiB, which by the default prices cost half of what its CPU does."""
LOOK_S: Final = 10.0
"""Seconds between two comparisons: six in the shortest window. One takes 0.2 ms of CPU, and 1 ms with a range of it."""
BLIND: Final = 0.0
SHARED: Final = 1.0
"""The pooling of pods that a Service picks from, and of pods behind one queue: see `queueing.Service`."""


class Balancer(NamedTuple):
    """What a balancer takes.

    Attributes:
        millicores: that its pods request together.
        most: millicores that one of its pods can use: it carries all requests while another one is replaced.
        request_s: CPU that it uses for a request, in seconds.
    """

    millicores: int
    most: int
    request_s: float


class RoutingState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of what one queue saves. The first two fields outlive the operator, in the resource's status.

    Attributes:
        queue: one queue is worth its balancer.
        saved: millicores that it saves, as far as that lasts: it rises to the least of the last minute, and falls to
            the most of the last windows, so that a load that wavers leaves it as it is.
        known_since: since when the load is known without a gap; None when it isn't.
        known_at: when the last comparison was made.
        most, least: what was saved in the last windows; `least` with the sign changed, for `window` keeps maxima.
    """

    queue: bool = False
    saved: int = 0
    known_since: float | None = None
    known_at: float | None = None
    most: tuple[Timed, ...] = ()
    least: tuple[Timed, ...] = ()


def saves(policy: Policy, load: Load, balancer: Balancer) -> int:
    """Millicores that one queue saves at this load, less those that the balancer uses beyond its requests.

    0 where the balancer can't carry so many requests.
    """
    used = CORE * balancer.request_s * load.erlangs / load.service.service_s
    if used > balancer.most:
        return 0
    blind, shared = (_millicores(policy, load, pooling) for pooling in (BLIND, SHARED))
    saved = blind - shared - max(0.0, used - balancer.millicores)
    return max(0, round(saved / READABLE) * READABLE)


def followed(before: RoutingState, policy: Policy, load: Load, balancer: Balancer, now: float) -> RoutingState:
    """With the load of this round."""
    if before.known_at is not None and now < before.known_at:
        before = RoutingState(queue=before.queue, saved=before.saved)
    if before.known_at is not None and now - before.known_at < LOOK_S:
        return before
    if before.known_at is None or now - before.known_at > LOOK_S + policy.max_report_age_s:
        before = RoutingState(queue=before.queue, saved=before.saved, known_since=now)
    return _with(before, saves(policy, load, balancer), balancer, max(UP_S, DOWN_WINDOWS * load.window_s), now)


def _with(before: RoutingState, saved: int, balancer: Balancer, down_s: float, now: float) -> RoutingState:
    most, least = window.pushed(before.most, now, saved, down_s), window.pushed(before.least, now, -saved, UP_S)
    known_s = now - (now if before.known_since is None else before.known_since)
    after = msgspec.structs.replace(before, known_at=now, most=most, least=least)
    if known_s >= UP_S:
        lasts = -round(max(each.value for each in least))
        queue = after.queue or lasts >= WORTH * balancer.millicores
        after = msgspec.structs.replace(after, queue=queue, saved=max(after.saved, lasts))
    if known_s >= down_s:
        at_most = round(max(each.value for each in most))
        queue = after.queue and at_most >= balancer.millicores
        after = msgspec.structs.replace(after, queue=queue, saved=min(after.saved, at_most))
    return after


def _millicores(policy: Policy, load: Load, pooling: float) -> float:
    """CPU of the pods that keep the objective, within the bounds of the resource."""
    service = msgspec.structs.replace(load.service, pooling=pooling)
    if policy.cpu_range is None:
        return policy.millicores_per_pod * _pods(policy, load, service)
    return _resized(policy, policy.cpu_range, load, service)


def _resized(policy: Policy, span: CpuRange, load: Load, service: queueing.Service) -> float:
    """With a range of CPU: the fewest pods that can still grow, each of the smallest size that is enough.

    As `placement` plans it, on nodes with room for all of them.
    """
    steps = sizes.worth(policy, span, service, max(1, round(load.threads)))
    kept = max(policy.millicores_per_pod, steps.millicores[-1] / placement.ROOM_TO_GROW)
    pods = _pods(policy, load, placement.of_size(service, steps.of(kept), 1))

    def enough(millicores: int) -> bool:
        sized = placement.of_size(service, steps.of(millicores), 1)
        return queueing.enough(pods, load.erlangs, placement.SURE, sized, error_budget.allowed(policy))

    smallest = bisect.bisect_left(steps.millicores, True, key=enough)
    return pods * steps.millicores[min(smallest, len(steps.millicores) - 1)]


def _pods(policy: Policy, load: Load, service: queueing.Service) -> int:
    allowed, at_most = error_budget.allowed(policy), max(policy.min_replicas, policy.max_replicas)
    return queueing.pods_needed(
        load.erlangs, placement.SURE, service, allowed, at_most, least=max(1, policy.min_replicas)
    )
