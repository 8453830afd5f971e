"""The pods that the load needs: for the load of now, for the load that may come, and for crowds that came back before.

May not know bounds or windows, nor keep any state.
"""

from typing import Final, NamedTuple

from corefit_core.recommender import (
    error_budget,
    placement,
    prediction_errors,
    predictors,
    queueing,
    spans,
    surges,
    transients,
)
from corefit_core.recommender.error_budget import Served
from corefit_core.recommender.explanation import Held, Withheld
from corefit_core.recommender.forecast import Forecast
from corefit_core.recommender.placement import SURE, Placement, Pods, Requirement
from corefit_core.recommender.predictors import Sample
from corefit_core.recommender.transients import Surge, Transients
from corefit_core.recommender.types import Observation, Policy
from corefit_core.window import Timed

NOISE: Final = 1.0
"""Standard errors of the measured load that scaling down must leave room for, beside the highest of the window."""


class Inputs(NamedTuple):
    """What pods are counted from.

    Attributes:
        policy, seen: of this round.
        samples, peaks: the load until now.
        forecast: the load that may come.
        service: as the formulas need it.
        horizon_s, window_s: seconds until a pod asked for now serves, and of the stabilization window.
        served: how the objective was kept until the round before.
        rate: requests a second of the last minute.
        near: pods that the load needed last, from where the search begins.
        bursts: short bursts known until the round before.
        sizes: what sizes rest on.
    """

    policy: Policy
    seen: Observation
    samples: tuple[Sample, ...]
    peaks: tuple[Timed, ...]
    forecast: Forecast
    service: queueing.Service
    horizon_s: float
    window_s: float
    served: Served
    rate: float
    near: int
    bursts: Transients
    sizes: placement.SizesState

    @property
    def now(self) -> float:
        """Of the last sample, seconds."""
        return self.samples[-1].at

    def mean(self, span_s: float) -> float:
        """The mean load of the last seconds, Erlangs."""
        return predictors.mean(self.samples, self.now, span_s)


class Demand(NamedTuple):
    """What the load needs.

    Attributes:
        replicas: pods that it needs.
        scale_down: pods that it needs for scaling down.
        at_once: pods that it may need again within some rounds, if it stays as the last round had it.
        replicas_now: pods that it would need if it stayed as it is.
        highest: the highest load provided for, Erlangs.
        held: what is kept for load that may come back; None where nothing is.
        withheld: the burst that gets no pods yet; None where there is none.
        load: of now, Erlangs, which `replicas_now` is for.
        miss_target: the share of requests that `replicas` are counted for.
        as_allowed: pods that it would need if just as many had missed the objective lately as it allows; None where no
            more have.
        even_s: seconds until an overspent error budget is even, at most.
        sized: from what CPU is decided; None without a range.
    """

    replicas: int
    scale_down: int
    replicas_now: int
    highest: float
    at_once: int = 0
    held: Held | None = None
    withheld: Withheld | None = None
    load: float = 0.0
    miss_target: float = 0.0
    as_allowed: Pods | None = None
    even_s: float = 0.0
    sized: tuple[Placement, Requirement] | None = None


def needed(given: Inputs) -> tuple[Demand, Transients]:
    """What the load needs, and the short bursts that are known: one that may end before a pod serves gets no pods."""
    wanted, replicas = _demand(given, None), given.seen.replicas
    known = _bursts(given, more=wanted.replicas > replicas)
    surge = transients.expected(known, given.policy.round_s)
    # Bursts that came back to where the load had been are held for, so that their pods are there before them.
    if surge is None or wanted.replicas <= replicas or given.forecast.returns >= prediction_errors.RECURS:
        return wanted, known
    longest_s = max([each.lasted_s for each in known.ended])
    withheld = Withheld(wanted.replicas, len(known.ended), longest_s)
    return _demand(given, surge)._replace(withheld=withheld), known


def _bursts(given: Inputs, *, more: bool) -> Transients:
    """The short bursts that are known with this round, in which more pods are needed than there are, or not."""
    last, before = given.samples[-1], given.samples[:-1]
    known = transients.followed(given.bursts, last.at, last.erlangs, given.horizon_s)
    if known.surge is not None or not more or not before or not _surge(given):
        return known
    base = predictors.mean(before, before[-1].at, spans.FAST_S)
    if last.erlangs <= prediction_errors.MOST * base:
        return known
    surge = Surge(since=before[-1].at, last=last.at, base=base, highest=last.erlangs)
    return transients.begun(known, surge, given.window_s)


def _demand(given: Inputs, short: Surge | None) -> Demand:
    """What the load needs, without that of a short burst, and without what earlier misses ask for."""
    wanted, policy, served = _with_crowds(given, short), given.policy, given.served
    if wanted.scale_down <= 1 or error_budget.left(policy, served) >= 0:
        return wanted
    even = _with_crowds(given._replace(served=Served()), short)
    even_s = error_budget.even_after_s(policy, served, given.mean(spans.FAST_S) / given.service.service_s)
    return wanted._replace(as_allowed=Pods(even.replicas, even.scale_down), even_s=even_s)


def _with_crowds(given: Inputs, short: Surge | None) -> Demand:
    """What the load needs, without that of a short burst, and whether some is kept for load that came back before."""
    if short is not None:
        return _below(given, _without(given, short), short)
    recent, crowd, returns = given.forecast.recent, given.forecast.highest, given.forecast.returns
    if returns < prediction_errors.RECURS or crowd <= prediction_errors.BEYOND * recent:
        return _below(given, recent, None)
    wanted, without = _below(given, crowd, None), _below(given, recent, None)
    if without.scale_down >= wanted.scale_down:
        return wanted
    gone = predictors.until(given.peaks, prediction_errors.BEYOND * recent) + given.window_s
    return wanted._replace(held=Held(without.scale_down, crowd, returns, max(0.0, gone - given.now)))


def _below(given: Inputs, highest: float, short: Surge | None) -> Demand:
    """What the load needs, no more being provided for than a little above the highest of so many Erlangs."""
    policy, service, ceiling = given.policy, given.service, prediction_errors.BEYOND * highest
    need = _requirement(given, ceiling, short)
    if policy.cpu_range is not None:
        here = placement.placement(policy, given.sizes, given.now, given.seen, service)
        both = placement.pods(here, need)
        wanted = Demand(*both, both.replicas, 0.0, sized=(here, need))
        return _explained(need, max(need.current, need.step), wanted)
    surge = _surge(given) if short is None else 0.0
    steady = max(surge, min(given.mean(spans.SLOW_S), ceiling))
    now, pods = _pods(given, need, steady)
    at_most = 4 * max(1, policy.max_replicas)
    # A step is seen in its first round, but the mean of a minute takes a minute to follow: until then, what carries the
    # load of the last seconds stays.
    fast = given.mean(spans.FAST_S)
    recent = min(fast, ceiling)
    stays = queueing.pods_needed(recent, SURE, service, need.miss_target, at_most, least=pods, near=pods)
    least = need.predicted + need.noise
    may_come = prediction_errors.bounded(need.distribution, least, ceiling)
    target = error_budget.scale_down_target(policy, given.served, given.horizon_s, given.rate)
    down = queueing.pods_needed(least + need.silent, may_come, service, target, at_most, least=stays, near=stays)
    # The means go to the load of the last round within the next ones.
    last = given.samples[-1].erlangs
    filled = max(last, min(max(fast, given.mean(spans.SLOW_S)), prediction_errors.BEYOND * max(highest, last)))
    at_once = queueing.pods_needed(filled, SURE, service, need.miss_target, at_most, near=now)
    return _explained(need, steady, Demand(pods, down, now, 0.0, at_once if short is None else 0))


def _pods(given: Inputs, need: Requirement, steady: float) -> tuple[int, int]:
    """Pods of one size: for the load of now, and for what may come as well."""
    service, target, near, at_most = given.service, need.miss_target, given.near, 4 * max(1, given.policy.max_replicas)
    now = queueing.pods_needed(steady, SURE, service, target, at_most, near=near)
    pods = queueing.pods_needed(need.predicted, need.distribution, service, target, at_most, least=now, near=near)
    return now, pods


def _explained(need: Requirement, steady: float, wanted: Demand) -> Demand:
    """With what a message says of it."""
    return wanted._replace(
        highest=need.predicted * need.distribution[0][1],
        load=steady,
        miss_target=need.miss_target,
    )


def _requirement(given: Inputs, ceiling: float, short: Surge | None) -> Requirement:
    policy, samples, service = given.policy, given.samples, given.service
    predicted = min(given.forecast.predicted, ceiling)
    span_s = max(spans.FAST_S, min(spans.SLOW_S, given.horizon_s))
    current = min(given.mean(span_s), ceiling)
    # Chance is not provided for beyond the ceiling either, which a chance of the last seconds has raised with it.
    noise = min(NOISE * service.noise(predicted, spans.FAST_S), max(0.0, ceiling - predicted))
    need = Requirement(
        current=current,
        predicted=predicted,
        distribution=prediction_errors.bounded(given.forecast.distribution, predicted, ceiling),
        silent=max(0.0, samples[-1].ceiling - samples[-1].erlangs),
        noise=noise,
        miss_target=error_budget.scale_up_target(policy, given.served, given.horizon_s, given.seen.replicas),
    )
    if policy.cpu_range is None:
        return need
    step = surges.step(samples, service)
    at_resize = surges.at_resize(samples, service, policy.resize_s + policy.round_s, step)
    at_resize += surges.catching_up(samples, service, policy.round_s)
    target = error_budget.target(policy, given.served, given.horizon_s)
    return need._replace(
        at_resize=at_resize,
        step=step if short is None else 0.0,
        recent=surges.recent(samples),
        cpu_miss_target=min(error_budget.allowed(policy), target),
    )


def _without(given: Inputs, short: Surge) -> float:
    """The load of now but for that burst: of the rounds since, or of those before while it goes on; Erlangs."""
    since = [s.erlangs for s in given.samples if s.at > max(short.last, given.now - spans.RECENT_S)]
    return sum(since) / len(since) if since else short.base


def _surge(given: Inputs) -> float:
    """The load of the last round when it is more than chance above the mean of the last ones, else 0.

    A mean of three rounds takes three to believe in a step; a step is seen in the first.
    """
    last, before = given.samples[-1], given.samples[-2:][0]
    mean = given.mean(spans.FAST_S)
    span_s = max(predictors.LEAST_S, last.at - before.at)
    return last.erlangs if last.erlangs > mean + surges.SURGE * given.service.noise(mean, span_s) else 0.0
