"""What one round of reports adds to what `decide` remembers, and what the memory says of the next round.

May not choose replicas.
"""

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

import msgspec

from corefit_core.recommender import budget, errors, growth, load, queueing, slo
from corefit_core.recommender.state import Compared, Moments, Prediction, Sample, Served, State, Waits
from corefit_core.recommender.types import Policy
from corefit_core.report import Histogram
from corefit_core.sizing import ASSUMED_SERVICE_SHARE

CORRECTION_AN_HOUR: Final = 1.0
"""With twice the misses that the objective allows the load is taken 1.7 % higher each minute: slower than any scaling,
so that the two don't chase each other, and fast enough to matter within minutes of a wrong formula."""
EXCESS: Final = 4.0
"""A flash crowd misses a hundred times what is planned, and says nothing of the formulas for it: count five."""
CORRECTIONS: Final = (1.0, 1.5)
"""The formulas leave too few workers where queues are not shared as they assume, and by no more than half; that they
leave too many is what `budget` spends."""
FINE: Final = 100
"""Fading counts become whole ones in hundredths: what has faded below that is no request any more."""
MAX_AHEAD_S: Final = 600.0
"""No start-up is planned for that takes longer: such a pod is broken, and predictions so far ahead are idle."""
POOLING_REQUESTS: Final = 50
"""Answers, of as many rounds as it takes, that tell the share of those that waited to within 0.07."""
POOLING_BUSY: Final = (0.2, 0.95)
"""Utilisations between which the share of waiting requests tells shared queues from separate ones."""
POOLING_STEP: Final = 0.1
"""Of each estimate: settled after a thousand answers or two, a minute of 5 s rounds."""
MEMORY_S: Final = 300.0
"""Seconds after which a service time counts half: a new input mix shows within minutes."""
LEAST_WINDOW_S: Final = 60.0
"""A minute, Knative's stable window: load that comes and goes within it is noise."""
LATENCY_S: Final = 60.0
"""Seconds after which a total time counts half in the percentile that is shown: a person's glance back."""


def remembered(policy: Policy, state: State, measured: load.Measured, now: float) -> State:
    """The state with this round in it."""
    elapsed_s = 0.0 if state.at is None else now - state.at
    alone = slo.late_alone(measured)
    forgiven = alone if slo.unreachable(policy, state, measured) else 0.0
    state = msgspec.structs.replace(
        state,
        at=now,
        pods=measured.pods,
        samples=tuple(s for s in state.samples if now - growth.SLOW_S < s.at),
        service=_aged(state.service, measured, elapsed_s),
        served=slo.faded(state.served, measured, elapsed_s, forgiven=forgiven),
        recent=slo.faded(state.recent, measured, elapsed_s, half_s=LATENCY_S),
        alone=slo.alone(state.alone, measured, 0.5 ** (elapsed_s / MEMORY_S)),
        within=slo.within(state.within, measured, elapsed_s),
        startup_s=measured.startup_s or state.startup_s,
        latencies=_summed(state.latencies, measured.total, 0.5 ** (elapsed_s / LATENCY_S)),
    )
    if measured.erlangs is None:
        return state
    sample = Sample(
        at=now,
        erlangs=measured.erlangs,
        ceiling=measured.ceiling,
        arriving=measured.arriving,
        waiting=measured.waiting,
    )
    state = msgspec.structs.replace(state, samples=(*state.samples, sample))
    return _taught(policy, state, measured, elapsed_s, now)


def _taught(policy: Policy, state: State, measured: load.Measured, elapsed_s: float, now: float) -> State:
    """The state with what this round says of the predictions that are due, and of how pods share their load."""
    span_s = ahead_s(policy, state)
    # What is asked for serves a start-up later, and is let go when the window that began with the asking has passed.
    held_s = max(errors.LEAST_S, window_s(policy, state) - span_s)
    due = [p for p in state.predictions if state.judged_at < p.at <= now - span_s]
    holding = [errors.held(state.predictions, p, held_s) for p in due]
    actual = growth.mean(state.samples, now, growth.RECENT_S)
    seen = errors.bursts(state.bursts, actual, holding, span_s + growth.FAST_S, now)
    ripe, pending = errors.ripened(state.pending, [Compared(now, h, actual) for h in holding], seen, now, span_s)
    levels = growth.levelled(state.levels, state.samples, now)
    waits = _waits(state.waits, measured, elapsed_s)
    state = msgspec.structs.replace(
        state,
        levels=levels,
        errors=errors.learned(state.errors, ripe, elapsed_s),
        pending=pending,
        judged_at=max([state.judged_at, *(p.at for p in due)]),
        bursts=seen,
        predictions=(
            *(p for p in state.predictions if p.at > now - span_s - held_s),
            Prediction(now, growth.predict(state.samples, levels, now, span_s)),
        ),
        waits=waits,
        pooling=_pooling(state.pooling, waits, measured),
        correction=_corrected(policy, state, measured, elapsed_s),
    )
    # Each block anew: errors of an hour change little in a round, and to weigh them all is half of its work.
    return state if levels[-1].begin < now else msgspec.structs.replace(state, chosen=_chosen(policy, state))


def _chosen(policy: Policy, state: State) -> int:
    planned = sustained(policy, state, state.served)
    return errors.best(state.errors, _assumed(policy, state), planned, most(state))


def sustained(policy: Policy, state: State, served: Served) -> float:
    """The share of requests to go down to, at the rate of the last minute."""
    erlangs = growth.mean(state.samples, state.samples[-1].at, growth.SLOW_S)
    return budget.sustained(policy, served, ahead_s(policy, state), erlangs / load.service_s(policy, state.service))


def _assumed(policy: Policy, state: State) -> tuple[errors.Assumed, ...]:
    predicted = state.predictions[-1].erlangs if state.predictions else (0.0,) * len(growth.PREDICTORS)
    noise_s = load.service_s(policy, state.service) * (1 + state.service.scv) / growth.RECENT_S
    return errors.assumed(predicted, ahead_s(policy, state), policy.round_s, noise_s)


def outlook(policy: Policy, state: State) -> Sequence[tuple[float, float]]:
    """(weight, load over prediction) of what may come when a pod asked for now serves, by the chosen predictor."""
    known = state.errors or errors.UNKNOWN
    return errors.outlook(known[state.chosen], most(state), _assumed(policy, state)[state.chosen])


def most(state: State) -> float:
    """The load over the predicted one that pods are held for: bursts are provided for once they recur."""
    return errors.MOST if len(state.bursts) >= errors.RECURS else errors.BURST


def loads(state: State) -> tuple[float, float]:
    """The load of now and the highest of the last quarter of an hour, Erlangs."""
    recent = growth.mean(state.samples, state.samples[-1].at, growth.RECENT_S)
    return recent, state.predictions[-1].erlangs[growth.HIGHEST]


def window_s(policy: Policy, state: State) -> float:
    """The stabilization window, seconds: as it is set, or else long enough that a pod serves for as long as it started.

    In the first start-up of two the pod comes; in the second it is kept for as long as another would take, which at
    worst costs twice what foresight would.
    """
    if policy.down_window_s is not None:
        return policy.down_window_s
    return max(LEAST_WINDOW_S, 2 * min(MAX_AHEAD_S, state.startup_s or 0.0))


def _corrected(policy: Policy, state: State, measured: load.Measured, elapsed_s: float) -> float:
    """The correction, moved by how many requests missed the objective lately: up when it was not kept.

    Fewer misses than planned say something of the formulas as far as these expected any: with more pods than the load
    asks for none is expected and none comes, and what was learned with fewer pods still holds.
    """
    target = budget.objective(policy)
    if target <= 0:
        return state.correction
    share = slo.share(state.within, target)
    excess = min(EXCESS, max(0.0, share / target - 1))
    if share < target:
        if state.correction <= CORRECTIONS[0]:
            return state.correction
        there = state.correction * growth.mean(state.samples, state.samples[-1].at, growth.FAST_S)
        expected = service(policy, state, measured).missed(max(1, measured.ready), there)
        excess = (share / target - 1) * min(1.0, expected / target)
    step = CORRECTION_AN_HOUR * excess * min(elapsed_s, policy.max_report_age_s) / 3600
    return min(CORRECTIONS[1], max(CORRECTIONS[0], state.correction * math.exp(step)))


def service(policy: Policy, state: State, measured: load.Measured) -> queueing.Service:
    """What is known of the service."""
    service_s = load.service_s(policy, state.service)
    latency_s = queueing.attainable(policy.objective.latency_s, service_s * measured.stretch)
    if slo.unreachable(policy, state, measured):
        latency_s = max(latency_s, service_s * measured.stretch / ASSUMED_SERVICE_SHARE)
    return queueing.Service(
        service_s=service_s,
        scv=state.service.scv,
        latency_s=latency_s,
        workers=measured.workers,
        pooling=state.pooling,
        stretch=measured.stretch,
    )


def _pooling(before: float, waits: Waits, measured: load.Measured) -> float:
    """How far the pods share their load, by the share of requests that had to wait: see `queueing.servers`.

    A request finds a worker busy that a quota stops as well, so utilisation is that of the clock on the wall.
    """
    pods = measured.ready - measured.missing
    if waits.answered < POOLING_REQUESTS or pods < 2 or waits.worker_s <= 0:
        return before
    rho = waits.held_s / waits.worker_s
    if not POOLING_BUSY[0] < rho < POOLING_BUSY[1]:
        return before
    share, low, high = waits.waited / waits.answered, 0.0, 1.0
    for _ in range(6):
        middle = (low + high) / 2
        together = queueing.servers(measured.workers * measured.stretch, pods, middle)
        low, high = (middle, high) if queueing.waiting(together, rho * together) > share else (low, middle)
    return before + POOLING_STEP * ((low + high) / 2 - before)


def _waits(before: Waits, measured: load.Measured, elapsed_s: float) -> Waits:
    """With this round's; anew after a round with which there were enough."""
    delta, pods = measured.delta, measured.ready - measured.missing
    old = before if before.answered < POOLING_REQUESTS else Waits()
    worker_s = elapsed_s * pods * measured.workers * measured.stretch
    return Waits(
        answered=old.answered + delta.answered,
        waited=old.waited + delta.waited,
        held_s=old.held_s + delta.held_s,
        worker_s=old.worker_s + worker_s,
    )


def _summed(before: tuple[float, ...], counts: tuple[int, ...], keep: float) -> tuple[float, ...]:
    return tuple([keep * a + b for a, b in zip_longest(before, counts, fillvalue=0.0)])


def _aged(service: Moments, measured: load.Measured, elapsed_s: float) -> Moments:
    keep, delta = 0.5 ** (elapsed_s / MEMORY_S), measured.delta
    return Moments(
        count=service.count * keep + delta.answered,
        sum_s=service.sum_s * keep + delta.served_s,
        sum_sq_s2=service.sum_sq_s2 * keep + delta.served_sq_s2,
    )


def ahead_s(policy: Policy, state: State) -> float:
    """Seconds from a decision until what it asks for serves."""
    return min(MAX_AHEAD_S, max(0.0, policy.startup_s if state.startup_s is None else state.startup_s)) + policy.round_s


def latency_s(policy: Policy, state: State) -> float | None:
    """The objective's percentile of the total times lately, seconds; None before any."""
    counts = tuple([round(FINE * count) for count in state.latencies])
    return Histogram(counts=counts).quantile_s(policy.objective.percentile / 100)
