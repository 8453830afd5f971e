"""What the load needs: replicas for the load of now, for the load that may come, and for crowds that came back before.

May not know bounds, windows or what is done.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from corefit_core.recommender import budget, errors, growth, memory, moment, queueing, transients, vertical
from corefit_core.recommender.explanation import Held, Withheld
from corefit_core.recommender.state import State
from corefit_core.recommender.transients import Surge, Transients
from corefit_core.recommender.types import Observation, Policy

SURE: Final = ((1.0, 1.0),)
"""An outlook without growth."""
DEAD_BAND: Final = 1.0
"""Standard errors of the measured load that going down must leave room for, beside the highest of the window."""


class Round(NamedTuple):
    """One round: the policy, the state with this round in it and the one before, what was seen, and the service.

    `short` is a burst that gets no pods, since the earlier ones ended before a pod could serve; None in most rounds.
    """

    policy: Policy
    state: State
    before: State
    seen: Observation
    service: queueing.Service
    short: Surge | None = None


class Demand(NamedTuple):
    """What the load needs.

    Attributes:
        replicas: that it needs.
        floor: that it needs for going down.
        now: that it would need if it stayed as it is.
        most: the highest load provided for, Erlangs.
        held: what is kept for load that may come back; None where nothing is.
        withheld: the burst that gets no pods yet; None where there is none.
        sized: from what CPU is decided; None without a range.
        millicores, grants: CPU of a pod, and who gets it now.
    """

    replicas: int
    floor: int
    now: int
    most: float
    held: Held | None = None
    withheld: Withheld | None = None
    sized: tuple[vertical.Scene, vertical.Need] | None = None
    millicores: int | None = None
    grants: Mapping[str, int] = {}


def decided(this: Round) -> tuple[Demand, Transients]:
    """What the load needs, and the bursts that are known: one that may end before a pod can serve gets no pods."""
    wanted, replicas = of(this), this.seen.replicas
    known = _bursts(this, wanted.replicas > replicas)
    surge = transients.expected(known, this.policy.round_s)
    # Bursts that came back to where the load had been are held for, so that their pods are there before them.
    if surge is None or wanted.replicas <= replicas or errors.returns(this.before.bursts) >= errors.RECURS:
        return wanted, known
    longest_s = max([each.lasted_s for each in known.ended])
    withheld = Withheld(wanted.replicas, len(known.ended), longest_s)
    return of(this._replace(short=surge))._replace(withheld=withheld), known


def _bursts(this: Round, more: bool) -> Transients:
    """The bursts that are known with this round, in which more pods are needed than there are, or not."""
    policy, state, service = this.policy, this.state, this.service
    last, before = state.samples[-1], state.samples[:-1]
    known = transients.followed(this.before.transients, last.at, last.erlangs, memory.ahead_s(policy, state))
    if known.surge is not None or not more or not before or not _surge(service, state):
        return known
    base = growth.mean(before, before[-1].at, growth.FAST_S)
    if last.erlangs <= transients.STEP * base:
        return known
    surge = Surge(since=before[-1].at, last=last.at, base=base, highest=last.erlangs)
    return transients.begun(known, surge, memory.window_s(policy, state))


def of(this: Round) -> Demand:
    """What the load needs, and whether some of it is kept for load that came back before."""
    state = this.state
    recent, crowd = memory.loads(state)
    if this.short is not None:
        return _below(this, _without(state, this.short))
    returns = errors.returns(this.before.bursts)
    if returns < errors.RECURS or crowd <= errors.BEYOND * recent:
        return _below(this, recent)
    wanted, without = _below(this, crowd), _below(this, recent)
    if without.floor >= wanted.floor:
        return wanted
    gone = growth.until(state.levels, errors.BEYOND * recent) + memory.window_s(this.policy, state)
    seconds = max(0.0, gone - state.samples[-1].at)
    return wanted._replace(held=Held(without.floor, crowd, returns, seconds))


def _below(this: Round, highest: float) -> Demand:
    """What the load needs, no more being provided for than a little above the highest of so many Erlangs."""
    policy, state, before, seen, service, short = this
    ceiling = errors.BEYOND * highest
    need = _need(this, ceiling)
    most = need.ahead * need.outlook[0][1]
    if policy.cpu_range is not None:
        here = vertical.scene(policy, state, seen, service)
        both = vertical.pods(here, need)
        return Demand(*both, both.replicas, most, sized=(here, need))
    at_most = 4 * max(1, policy.max_replicas)
    minute = growth.mean(state.samples, state.samples[-1].at, growth.SLOW_S)
    surge = _surge(service, state) if short is None else 0.0
    there = before.correction * max(surge, min(minute, ceiling))
    now = queueing.pods_needed(there, SURE, service, need.allowed, at_most, near=before.wanted)
    pods = queueing.pods_needed(need.ahead, need.outlook, service, need.allowed, at_most, least=now, near=before.wanted)
    least = need.ahead + need.floor - need.lasting
    sustained = memory.sustained(policy, state, before.served)
    # A step is seen in its first round, but the mean of a minute takes a minute to follow: until then, what carries the
    # load of the last seconds stays.
    recent = min(growth.mean(state.samples, state.samples[-1].at, growth.FAST_S), ceiling)
    stays = queueing.pods_needed(
        before.correction * recent, SURE, service, need.allowed, at_most, least=pods, near=pods
    )
    floor = queueing.pods_needed(least, need.outlook, service, sustained, at_most, least=stays, near=stays)
    return Demand(pods, floor, now, most)


def _need(this: Round, ceiling: float) -> vertical.Need:
    policy, state, before, seen, service, short = this
    now, span_s = state.samples[-1].at, memory.ahead_s(policy, state)
    by_each = state.predictions[-1].erlangs
    predicted = before.correction * min(by_each[before.chosen] or by_each[0], ceiling)
    lasting = growth.mean(state.samples, now, max(growth.FAST_S, min(growth.SLOW_S, span_s)))
    lasting = before.correction * min(lasting, ceiling)
    silent = max(0.0, state.samples[-1].ceiling - state.samples[-1].erlangs)
    need = vertical.Need(
        lasting=lasting,
        ahead=predicted,
        outlook=errors.bounded(memory.outlook(policy, before), predicted, before.correction * ceiling),
        floor=lasting + silent + DEAD_BAND * service.noise(predicted, growth.FAST_S),
        allowed=budget.allowed(policy, before.served, span_s, seen.replicas),
    )
    if policy.cpu_range is None:
        return need
    risen = moment.risen(state.samples, service)
    soon = moment.soon(state.samples, service, policy.resize_s + policy.round_s, risen)
    soon += moment.catching_up(state.samples, service, policy.round_s)
    return need._replace(
        soon=before.correction * soon,
        risen=before.correction * risen if short is None else 0.0,
        level=before.correction * moment.level(state.samples),
        within=min(budget.objective(policy), budget.planned(policy, before.served, span_s)),
    )


def _without(state: State, short: Surge) -> float:
    """The load of now but for that burst: of the rounds since, or of those before while it goes on; Erlangs."""
    now = state.samples[-1].at
    since = [s.erlangs for s in state.samples if s.at > max(short.last, now - growth.RECENT_S)]
    return sum(since) / len(since) if since else short.base


def _surge(service: queueing.Service, state: State) -> float:
    """The load of the last round when it is more than chance above the mean of the last ones, else 0.

    A mean of three rounds takes three to believe in a step; a step is seen in the first.
    """
    last, before = state.samples[-1], state.samples[-2:][0]
    mean = growth.mean(state.samples, last.at, growth.FAST_S)
    span_s = max(errors.LEAST_S, last.at - before.at)
    return last.erlangs if last.erlangs > mean + moment.SURGE * service.noise(mean, span_s) else 0.0
