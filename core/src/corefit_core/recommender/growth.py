"""What the load may be when a pod asked for now is ready: predictors, and how far each was off lately.

No predictor is trusted: each is compared with what came, and a recommendation covers the errors that it made. The
one whose errors cost least is used; a forecast that does not help is thereby left out. Nothing here is fitted
beforehand. May not know of queues or pods.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from corefit_core.recommender.state import Errors, Prediction, Sample

FAST_S: Final = 15.0
"""Three rounds of 5 s: one round alone is a third noise at ten requests a second."""
SLOW_S: Final = 60.0
"""A minute: for load that is noise around a level."""
MEMORY_S: Final = 3600.0
"""Seconds after which an error counts half: a burst that comes each hour is still expected the next time."""
BINS: Final = 60
PER_DOUBLING: Final = 12
"""Bins of 6 %: finer than a pod of most services."""
CENTRE: Final = 24
"""The bin of a ratio of 1: two doublings below it, three above."""
WRITTEN_OFF: Final = 2.0
"""Growth to more than twice within one start-up is not held in advance: it would take twice the pods at all times (an
HPA at 50 % does that), for one flash crowd of an hour. It is answered when it is there."""
PREDICTORS: Final = ("last 15 s", "last 60 s", "trend of 60 s")


def predict(samples: Sequence[Sample], now: float, ahead_s: float) -> tuple[float, ...]:
    """The load `ahead_s` seconds from now by each of `PREDICTORS`."""
    fast, slow = mean(samples, now, FAST_S), mean(samples, now, SLOW_S)
    trend = max(0.0, slow + _slope(samples, now, SLOW_S) * (ahead_s + SLOW_S / 2))
    # No further than twice or half of what is seen: a line through a step points into the sky.
    return fast, slow, min(2 * fast, max(fast / 2, trend))


def mean(samples: Sequence[Sample], now: float, span_s: float) -> float:
    """The mean load of the last `span_s` seconds."""
    recent = [s.erlangs for s in samples if now - span_s < s.at <= now]
    return sum(recent) / len(recent) if recent else 0.0


def _slope(samples: Sequence[Sample], now: float, span_s: float) -> float:
    recent = [s for s in samples if now - span_s < s.at <= now]
    if len(recent) < 3:
        return 0.0
    middle = sum(s.at for s in recent) / len(recent)
    spread = sum((s.at - middle) ** 2 for s in recent)
    return sum((s.at - middle) * s.erlangs for s in recent) / spread if spread > 0 else 0.0


def learned(errors: Sequence[Errors], due: Sequence[Prediction], actual: float, elapsed_s: float) -> tuple[Errors, ...]:
    """The errors with those of the predictions that are due, `actual` being the load that came."""
    keep = 0.5 ** (max(0.0, elapsed_s) / MEMORY_S)
    old = errors or (Errors((0.0,) * BINS, (0.0,) * BINS),) * len(PREDICTORS)
    return tuple(
        _added(each, [_ratio(actual, p.erlangs[number]) for p in due], keep) for number, each in enumerate(old)
    )


def _ratio(actual: float, predicted: float) -> float:
    return min(8.0, max(0.25, actual / predicted)) if predicted > 1e-9 else 1.0


def _added(errors: Errors, ratios: Sequence[float], keep: float) -> Errors:
    weights = [w * keep for w in errors.weights]
    sums = [r * keep for r in errors.ratios]
    for ratio in ratios:
        index = min(BINS - 1, max(0, CENTRE + round(PER_DOUBLING * math.log2(ratio))))
        weights[index] += 1
        sums[index] += ratio
    return Errors(tuple(weights), tuple(sums))


def outlook(errors: Errors) -> Sequence[tuple[float, float]]:
    """(chance, load over prediction) of what may come, most load first; a sure 1 before anything was learned."""
    total = sum(errors.weights)
    if total <= 0:
        return [(1.0, 1.0)]
    return list(_merged(errors, total)) or [(1.0, 1.0)]


def _merged(errors: Errors, total: float) -> Iterator[tuple[float, float]]:
    """The bins in falling order, all that lie under 0.9 as one: below what is predicted nothing is missed."""
    low = weight_low = 0.0
    for weight, ratio in zip(reversed(errors.weights), reversed(errors.ratios), strict=True):
        if weight <= 0 or ratio > WRITTEN_OFF * weight:
            continue
        if ratio >= 0.9 * weight:
            yield weight / total, ratio / weight
        else:
            low, weight_low = low + ratio, weight_low + weight
    if weight_low > 0:
        yield weight_low / total, low / weight_low


def best(errors: Sequence[Errors], allowed: float) -> int:
    """The predictor that would have cost least for at most `allowed` of the load left unserved."""
    costs = [_cost(outlook(each), allowed) for each in errors]
    return min(range(len(costs)), key=costs.__getitem__) if costs else 0


def _cost(chances: Sequence[tuple[float, float]], allowed: float) -> float:
    """The factor on the prediction that leaves `allowed` unserved, over the mean of the load to the prediction."""
    level = sum(chance * ratio for chance, ratio in chances)
    weight = work = 0.0
    factor = chances[0][1]
    for index, (chance, ratio) in enumerate(chances):
        weight, work = weight + chance, work + chance * ratio
        below = chances[index + 1][1] if index + 1 < len(chances) else 0.0
        factor = (work - allowed * level) / weight
        if factor >= below:
            break
    return factor / level if level > 0 else 1.0
