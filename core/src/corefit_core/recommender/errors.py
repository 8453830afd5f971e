"""How far each predictor was off lately, what that says of what may come, and which predictor is the cheapest.

Each error is weighted by the load predicted, so that its sum over a trace is in requests: what an objective counts.
A prediction counts as the highest of the stabilisation window before it, since that is what pods are held for.
Nothing here is fitted beforehand. May not know of queues or pods.
"""

import math
from collections.abc import Sequence
from typing import Final

from corefit_core.recommender import growth
from corefit_core.recommender.state import Burst, Compared, Errors, Prediction

MEMORY_S: Final = 3600.0
"""Seconds after which an error counts half: a burst that comes each hour is still expected the next time."""
BINS: Final = 60
PER_DOUBLING: Final = 12
"""Bins of 6 %: finer than a pod of most services."""
CENTRE: Final = 24
"""The bin of a ratio of 1: two doublings below it, three above."""
MOST: Final = 8.0
"""More than eight times what was predicted tells no more than eight times: nothing is held for it."""
BURST: Final = 2.0
"""Growth to more than twice within one start-up is a burst: to hold pods for it takes twice the pods at all times."""
RECURS: Final = 2
"""One burst is no evidence of another (a rate that was estimated from one event may as well be zero), two are."""
NO_LOAD: Final = 1e-9
"""Erlangs: a request of 10 us in three hours. Less is no load, and too little to divide by."""
JUDGED_S: Final = 60.0
"""A predictor that was judged for less is not used: the load of a minute is what the shortest but one looks at."""


def held(predictions: Sequence[Prediction], due: Prediction, window_s: float) -> tuple[float, ...]:
    """What was held for by each predictor at the time of `due`: the highest of the window before it."""
    recent = [p.erlangs for p in predictions if due.at - window_s < p.at <= due.at]
    return tuple(map(max, zip(*recent, strict=True)))


def ripened(
    pending: Sequence[Compared], new: Sequence[Compared], bursts: Sequence[Burst], now: float, span_s: float
) -> tuple[tuple[Compared, ...], tuple[Compared, ...]]:
    """What may be learned from now, and what waits until nothing more can come of it.

    A burst that is no evidence of another teaches nothing, and neither do its shoulders, a start-up before and after:
    they would be held for like noise. Once bursts recur, all is learned.
    """
    waiting = (*pending, *new)
    if bursts and len(bursts) < RECURS:
        begin, end = bursts[-1].first - span_s, bursts[-1].last + span_s
        waiting = tuple(c for c in waiting if not begin < c.at < end)
    ripe = tuple(c for c in waiting if c.at <= now - span_s)
    return ripe, waiting[len(ripe) :]


def learned(errors: Sequence[Errors], ripe: Sequence[Compared], elapsed_s: float) -> tuple[Errors, ...]:
    """The errors with those of predictions that were compared with what came."""
    keep = 0.5 ** (max(0.0, elapsed_s) / MEMORY_S)
    old = errors or (Errors((0.0,) * BINS, (0.0,) * BINS),) * len(growth.PREDICTORS)
    return tuple(
        _added(each, [(c.held[number], c.actual) for c in ripe], keep, elapsed_s) for number, each in enumerate(old)
    )


def _added(errors: Errors, ripe: Sequence[tuple[float, float]], keep: float, elapsed_s: float) -> Errors:
    weights, loads = list(map(keep.__mul__, errors.weights)), list(map(keep.__mul__, errors.loads))
    known = [(held, actual) for held, actual in ripe if held > NO_LOAD]
    for held, actual in known:
        ratio = min(MOST, actual / held)
        index = CENTRE + round(PER_DOUBLING * math.log2(ratio)) if ratio > 0 else 0
        index = min(BINS - 1, max(0, index))
        weights[index] += held
        loads[index] += held * ratio
    return Errors(tuple(weights), tuple(loads), errors.judged_s + (elapsed_s if known else 0.0))


def bursts(before: Sequence[Burst], grew: bool, now: float, apart_s: float) -> tuple[Burst, ...]:
    """The bursts of the last hour, `grew` saying whether there is one now; within `apart_s` it is still the same."""
    kept = [burst for burst in before if now - burst.last < MEMORY_S]
    if not grew:
        return tuple(kept)
    if kept and now - kept[-1].last < apart_s:
        return (*kept[:-1], Burst(kept[-1].first, now))
    return (*kept, Burst(now, now))


def outlook(errors: Errors, most: float) -> Sequence[tuple[float, float]]:
    """(weight, load over prediction) of what may come, most load first; a sure 1 before anything was learned.

    The weights are such that weight times ratio is the share of all requests. Ratios over `most` are left out.
    """
    total = math.fsum(errors.loads)
    if total <= NO_LOAD:
        return [(1.0, 1.0)]
    bins = zip(reversed(errors.weights), reversed(errors.loads), strict=True)
    return [(w / total, r / w) for w, r in bins if w > 0 and 0 < r <= most * w] or [(1.0, 1.0)]


def best(errors: Sequence[Errors], allowed: float, most: float) -> int:
    """The predictor that would have cost least for at most `allowed` of the load left unserved."""
    costs = [
        _cost(outlook(each, most), allowed) if number == 0 or each.judged_s >= JUDGED_S else math.inf
        for number, each in enumerate(errors)
    ]
    return min(range(len(costs)), key=costs.__getitem__) if costs else 0


def _cost(chances: Sequence[tuple[float, float]], allowed: float) -> float:
    """The factor on the prediction that leaves `allowed` unserved, times the mean of the prediction to the load."""
    level, load = sum(chance for chance, _ in chances), sum(chance * ratio for chance, ratio in chances)
    weight = work = 0.0
    factor = chances[0][1]
    for index, (chance, ratio) in enumerate(chances):
        weight, work = weight + chance, work + chance * ratio
        below = chances[index + 1][1] if index + 1 < len(chances) else 0.0
        factor = (work - allowed * load) / weight
        if factor >= below:
            break
    return factor * level / load if load > 0 else 1.0
