"""The recent errors of each predictor: how far the load may be off its prediction, and which predictor costs least.

Each error is weighted by the load predicted, so that its sum over a trace is in requests: what an objective counts.
A prediction counts as the highest of those before it whose pods would still be there, since those are held as well.
Nothing here is fitted beforehand. May not know of queues or pods.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from corefit_core.recommender import predictors, spans

BINS: Final = 60
PER_DOUBLING: Final = 12
"""Bins of 6 %: finer than a pod of most services."""
CENTRE: Final = 24
"""The bin of a ratio of 1: two doublings below it, three above."""
MOST: Final = 8.0
"""More than eight times what was predicted tells no more than eight times: nothing is held for it."""
BURST: Final = 1.5
"""Growth by more than half within one start-up is a burst: to hold pods for it takes half as many more at all times."""
BEYOND: Final = 1.25
"""Times the highest load of the last quarter of an hour: no pods are held for more. That load went from 4 to 40 says
that it may again, not that 40 goes to 400; what does grow on is answered when it is there."""
AS_HIGH: Final = 0.5
"""Of the highest load of late: load that rises to less than half of it has not come back."""
RECURS: Final = 2
"""One burst is no evidence of another (a rate that was estimated from one event may as well be zero), two are."""
NO_LOAD: Final = 1e-9
"""Erlangs: a request of 10 us in three hours. Less is no load, and too little to divide by."""
DRIFT_S: Final = 7200.0
"""Before anything is known, load is taken for a random walk that has a standard deviation of a doubling in two hours:
4 % in 20 s, 6 % in a minute. What was seen takes its place; see `Assumed`."""
_NODES: Final = ((1 / 6, math.sqrt(3)), (2 / 3, 0.0), (1 / 6, -math.sqrt(3)))
"""Three points that have the mean, variance and skew of a normal (Gauss-Hermite): chance, standard deviations."""


class Prediction(msgspec.Struct, frozen=True):
    """What each predictor said, at a time, that the load would be one start-up later; in Erlangs."""

    at: float
    erlangs: tuple[float, ...]


class Errors(msgspec.Struct, frozen=True):
    """How far one predictor was off, in bins of load over prediction, forgotten slowly.

    Attributes:
        bins: (predicted Erlangs, those that came), summed for each bin that has had any.
    """

    bins: Mapping[int, tuple[float, float]] = {}


class Compared(msgspec.Struct, frozen=True):
    """What each predictor was held for, and the load that came; in Erlangs."""

    at: float
    held: tuple[float, ...]
    actual: float


class Burst(msgspec.Struct, frozen=True):
    """A burst that outran the predictors.

    Attributes:
        first, last: when it was first and last seen.
        returned: the load had been as high within the quarter of an hour before it.
    """

    first: float
    last: float
    returned: bool = False


class Assumed(NamedTuple):
    """What is assumed of a predictor beside what was seen of it.

    Errors that lie closer together than what it looks back over and ahead are of the same event. So an assumption has
    the weight of one such event: a quarter of an hour's mean takes long to be believed, the last 15 s not.

    Attributes:
        weight: predicted Erlangs, summed over the rounds of one event.
        ratios: (chance, load over prediction), most load first.
        noise: variance that the measured load has by chance, over its square. It is no growth: that requests come
            by chance is in the formulas already.
    """

    weight: float
    ratios: tuple[tuple[float, float], ...]
    noise: float = 0.0


def assumed(predicted: Sequence[float], ahead_s: float, round_s: float, noise_s: float) -> tuple[Assumed, ...]:
    """What is assumed of each predictor.

    Args:
        predicted: what it says now, Erlangs.
        ahead_s: the start-up.
        round_s: from one round to the next.
        noise_s: variance by chance of one Erlang, measured as predictions are compared.
    """
    sigma = math.sqrt(ahead_s / DRIFT_S)
    ratios = tuple([(chance, 2 ** (sigma * node)) for chance, node in _NODES])
    # The least that it can be, where predictors differ: what is taken for chance is not provided for.
    noise = noise_s / max(NO_LOAD, *predicted)
    spans = zip(predicted, predictors.SPANS_S, strict=True)
    return tuple(
        [
            Assumed(erlangs * (span_s + ahead_s) / max(predictors.LEAST_S, round_s), ratios, noise)
            for erlangs, span_s in spans
        ]
    )


UNKNOWN: Final = (Errors(),) * len(predictors.PREDICTORS)
"""Nothing was compared yet."""


def held(predictions: Sequence[Prediction], due: Prediction, held_s: float) -> tuple[float, ...]:
    """What was held for by each predictor when `due` was: the highest of so many seconds before it."""
    recent = [p.erlangs for p in predictions if due.at - held_s < p.at <= due.at]
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
    keep = 0.5 ** (max(0.0, elapsed_s) / spans.MEMORY_S)
    old = errors or UNKNOWN
    return tuple([_added(each, [(c.held[number], c.actual) for c in ripe], keep) for number, each in enumerate(old)])


def _added(errors: Errors, ripe: Sequence[tuple[float, float]], keep: float) -> Errors:
    bins = {index: (keep * weight, keep * load) for index, (weight, load) in errors.bins.items()}
    for held, actual in ripe:
        if held <= NO_LOAD:
            continue
        ratio = min(MOST, actual / held)
        index = CENTRE + round(PER_DOUBLING * math.log2(ratio)) if ratio > 0 else 0
        index = min(BINS - 1, max(0, index))
        weight, load = bins.get(index, (0.0, 0.0))
        bins[index] = weight + held, load + held * ratio
    return Errors(bins)


def bursts(
    before: Sequence[Burst], actual: float, holding: Sequence[Sequence[float]], apart_s: float, now: float
) -> tuple[Burst, ...]:
    """The bursts of the last hour.

    Args:
        before: those known so far.
        actual: the load now, Erlangs.
        holding: what each predictor was held for, by each prediction that is due now.
        apart_s: a burst that goes on for less than so many seconds after another is still the same.
        now: seconds.
    """
    kept = [burst for burst in before if now - burst.last < spans.MEMORY_S]
    # The two that look back no further than the window: what both miss was a burst.
    grew = [each for each in holding if actual > BURST * max(each[:2]) > 0]
    if not grew:
        return tuple(kept)
    returned = any(AS_HIGH * each[predictors.HIGHEST] <= actual <= BEYOND * each[predictors.HIGHEST] for each in grew)
    if kept and now - kept[-1].last < apart_s:
        return (*kept[:-1], Burst(kept[-1].first, now, kept[-1].returned or returned))
    return (*kept, Burst(now, now, returned))


def returns(bursts: Sequence[Burst]) -> int:
    """How often load came back to where it had been within a quarter of an hour before."""
    return sum(burst.returned for burst in bursts)


def distribution(errors: Errors, most: float, prior: Assumed) -> Sequence[tuple[float, float]]:
    """(weight, load over prediction) of what may come, most load first, by what was seen and what is assumed.

    The weights are such that weight times ratio is the share of all requests. Ratios over `most` are left out.
    """
    seen = _seen(errors, most)
    mean, weight = _mean(seen), max(prior.weight, NO_LOAD)
    known = [*_without(prior.noise, seen, mean), *((mean * ratio, weight * chance) for chance, ratio in prior.ratios)]
    known.sort(reverse=True)
    total = math.fsum([ratio * w for ratio, w in known])
    return [(w / total, ratio) for ratio, w in known]


def bounded(
    distribution: Sequence[tuple[float, float]], predicted: float, ceiling: float
) -> Sequence[tuple[float, float]]:
    """The distribution of a prediction with no load in it above the ceiling."""
    most = max(1.0, ceiling / max(NO_LOAD, predicted))
    return [(weight, min(ratio, most)) for weight, ratio in distribution]


def best(errors: Sequence[Errors], priors: Sequence[Assumed], miss_target: float, most: float) -> int:
    """The predictor that would have cost least for at most `miss_target` of the load left unserved.

    Each is charged with what it predicts at least: one that follows a fall is too high all the way, and would seem the
    cheapest for that it need not be believed, until the load turns.
    """
    costs = [
        max(1.0, _factor(distribution(each, most, prior), miss_target)) / _mean(_seen(each, most))
        for each, prior in zip(errors, priors, strict=True)
    ]
    return min(range(len(costs)), key=costs.__getitem__) if costs else 0


def _seen(errors: Errors, most: float) -> list[tuple[float, float]]:
    """(load over prediction, weight) of what came, up to a ratio of `most`."""
    return [(load / w, w) for w, load in errors.bins.values() if w > 0 and NO_LOAD * w < load <= most * w]


def _mean(seen: Sequence[tuple[float, float]]) -> float:
    """The mean ratio of load to prediction; 1 before anything was seen."""
    weight = math.fsum([w for _, w in seen])
    return math.fsum([ratio * w for ratio, w in seen]) / weight if weight > 0 else 1.0


def _without(noise: float, seen: Sequence[tuple[float, float]], mean: float) -> list[tuple[float, float]]:
    """What was seen, drawn together about its mean as far as chance has spread it."""
    weight = math.fsum([w for _, w in seen])
    variance = math.fsum([w * (ratio - mean) ** 2 for ratio, w in seen]) / weight if weight > 0 else 0.0
    kept = math.sqrt(max(0.0, 1 - noise * mean**2 / variance)) if variance > 0 else 1.0
    return [(mean + kept * (ratio - mean), w) for ratio, w in seen]


def _factor(chances: Sequence[tuple[float, float]], miss_target: float) -> float:
    """The factor on the prediction with which at most `miss_target` of the requests are late.

    Of those that come while the load is above what is held for every other one is: see `queueing`.
    """
    late = 0.0
    for chance, ratio in chances:
        late += chance * ratio / 2
        if late > miss_target:
            return ratio
    return chances[-1][1]
