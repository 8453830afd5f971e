"""The verb: one observation in, one decision and the new memory out. Total and deterministic; `now` is an argument.

Up at once, down by the highest recommendation of a window, never down from ignorance: what is not known holds.
May not do I/O, and raises nothing for any observation that can be decoded.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from corefit_core import window
from corefit_core.recommender import budget, errors, growth, load, memory, moment, queueing, vertical
from corefit_core.recommender.state import State
from corefit_core.recommender.types import Decision, Observation, Policy, Reason


class _Wanted(NamedTuple):
    """Replicas that the load asks for, the least for going down, the load soon; CPU of a pod, and who gets it now."""

    replicas: int
    floor: int
    sized: tuple[vertical.Scene, vertical.Need] | None = None
    millicores: int | None = None
    grants: Mapping[str, int] = {}


class _Made(NamedTuple):
    """What was asked for, what is done, and why."""

    wanted: _Wanted | None
    replicas: int
    reason: Reason
    why: str


COVERAGE: Final = 0.5
"""With less than half of the ready pods reporting, what the others carry is a guess: hold."""
SURE: Final = ((1.0, 1.0),)
"""An outlook without growth."""
DEAD_BAND: Final = 1.0
"""Standard errors of the measured load that going down must leave room for, beside the highest of the window."""


def decide(policy: Policy, state: State, observation: Observation, now: float) -> tuple[Decision, State]:
    """The replicas, and the CPU of each pod, that the reports ask for, and the state for the next call.

    Args:
        policy: objective, bounds, prices, windows.
        state: what the last call returned; `State()` at first.
        observation: one round of collection.
        now: seconds on a clock that never goes back while a state lives (else the state is dropped).
    """
    if state.at is not None and now < state.at:
        state = State()
    measured = load.measure(policy, state, observation, now)
    # What this round says of earlier predictions counts from the next one on: more load now then never asks for less.
    before, state = state, memory.remembered(policy, state, measured, now)
    hold = _ignorance(observation, measured)
    if hold is not None:
        return _decision(policy, state, observation, measured, _Made(None, observation.replicas, *hold)), state
    wanted = _wanted(policy, state, before, observation, measured)
    state = msgspec.structs.replace(
        state,
        since=_since(policy, state, now),
        known_at=now,
        window=window.pushed(state.window, now, wanted.floor, memory.window_s(policy, state)),
        wanted=wanted.replicas,
    )
    made = _choice(policy, state, observation, wanted, now)
    if wanted.sized is not None:
        state, made = _sized(*wanted.sized, state, made)
    return _decision(policy, state, observation, measured, made), state


def _sized(here: vertical.Scene, need: vertical.Need, state: State, made: _Made) -> tuple[State, _Made]:
    """CPU for the replicas decided, which go down once those that stay have it."""
    now, seen, fewer = state.at or 0.0, here.seen, made.replicas
    if fewer < seen.replicas:
        made = made._replace(replicas=min(seen.replicas, vertical.carrying(here, need, fewer)))
    size = vertical.size(here, need, made.replicas)
    if fewer < seen.replicas and not (size.there and made.replicas < seen.replicas):
        why = f"{fewer} pods carry the load once they have the CPU"
        made = made._replace(replicas=seen.replicas, reason="GrowingFirst", why=why)
    if made.wanted is not None:
        made = made._replace(wanted=made.wanted._replace(millicores=size.millicores, grants=size.grants))
    peaks = window.pushed(state.peaks, now, need.level, vertical.HOLD_S)
    asked = vertical.asked(here.policy, state, seen, size.grants, now)
    return msgspec.structs.replace(state, peaks=peaks, asked=asked), made


def _ignorance(observation: Observation, measured: load.Measured) -> tuple[Reason, str] | None:
    """Why nothing can be decided, if so."""
    if observation.rollout:
        return "RolloutInProgress", "a rollout is in progress: old and new pods share the load, so it is not comparable"
    if measured.erlangs is None:
        missing = f"none of {measured.ready} ready pods has given two reports" if measured.ready else "no pod is ready"
        return "NoReports", f"{missing}: nothing is known of the load"
    if measured.missing > (1 - COVERAGE) * measured.ready:
        return "StaleReports", f"{measured.missing} of {measured.ready} ready pods have not reported lately"
    return None


def _wanted(policy: Policy, state: State, before: State, seen: Observation, measured: load.Measured) -> _Wanted:
    """What the load asks for, and what it asks for if every silent pod is busy."""
    service = memory.service(policy, state, measured)
    need = _need(policy, state, before, seen, service)
    if policy.cpu_range is not None:
        here = vertical.scene(policy, state, seen, service)
        return _Wanted(*vertical.pods(here, need), (here, need))
    at_most = 4 * max(1, policy.max_replicas)
    there = max(
        _surge(service, state),
        growth.mean(state.samples, state.samples[-1].at, growth.SLOW_S),
    )
    pods = queueing.pods_needed(need.ahead, need.outlook, service, need.allowed, at_most, near=before.wanted)
    now = before.correction * there
    pods = queueing.pods_needed(now, SURE, service, need.allowed, at_most, least=pods, near=pods)
    least = need.ahead + need.floor - need.lasting
    sustained = memory.sustained(policy, state, before.served)
    floor = queueing.pods_needed(least, need.outlook, service, sustained, at_most, least=pods, near=pods)
    return _Wanted(pods, floor)


def _need(policy: Policy, state: State, before: State, seen: Observation, service: queueing.Service) -> vertical.Need:
    now, span_s = state.samples[-1].at, memory.ahead_s(policy, state)
    by_each = state.predictions[-1].erlangs
    predicted = before.correction * (by_each[before.chosen] or by_each[0])
    lasting = before.correction * growth.mean(state.samples, now, max(growth.FAST_S, min(growth.SLOW_S, span_s)))
    silent = max(0.0, state.samples[-1].ceiling - state.samples[-1].erlangs)
    need = vertical.Need(
        lasting=lasting,
        ahead=predicted,
        outlook=errors.bounded(memory.outlook(policy, before), predicted, before.correction * by_each[growth.HIGHEST]),
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
        risen=before.correction * risen,
        level=before.correction * moment.level(state.samples),
        within=min(budget.objective(policy), budget.planned(policy, before.served, span_s)),
    )


def _surge(service: queueing.Service, state: State) -> float:
    """The load of the last round when it is more than chance above the mean of the last ones, else 0.

    A mean of three rounds takes three to believe in a step; a step is seen in the first.
    """
    last, before = state.samples[-1], state.samples[-2:][0]
    mean = growth.mean(state.samples, last.at, growth.FAST_S)
    span_s = max(errors.LEAST_S, last.at - before.at)
    return last.erlangs if last.erlangs > mean + moment.SURGE * service.noise(mean, span_s) else 0.0


def _since(policy: Policy, state: State, now: float) -> float:
    """Since when the window has been filling: a gap starts it anew, for nobody knows what was in the gap."""
    if state.since is None or state.known_at is None or now - state.known_at > policy.max_report_age_s:
        return now
    return state.since


def _choice(policy: Policy, state: State, observation: Observation, wanted: _Wanted, now: float) -> _Made:
    current, asked = observation.replicas, wanted.replicas
    bounded = max(policy.min_replicas, min(policy.max_replicas, asked))
    limit: Reason = "AtMaximum" if asked > policy.max_replicas else "AtMinimum"
    if bounded > current:
        return _Made(wanted, bounded, "LoadUp" if bounded == asked else limit, f"the load asks for {asked}")
    if bounded == current:
        return _Made(wanted, current, "Steady" if bounded == asked else limit, f"the load asks for {asked}")
    return _down(policy, state, wanted, (current, bounded), now)


def _down(policy: Policy, state: State, wanted: _Wanted, step: tuple[int, int], now: float) -> _Made:
    """From the first number of replicas toward the second, no further than the window allows."""
    (current, bounded), span_s = step, memory.window_s(policy, state)
    if state.since is None or now - state.since < span_s:
        why = f"the load asks for {wanted.replicas}, but is known for less than {span_s:.0f} s: not down yet"
        return _Made(wanted, current, "WindowFilling", why)
    highest = round(window.highest(state.window, now, span_s) or 0)
    target = min(current, max(bounded, min(policy.max_replicas, highest)))
    if target == current:
        why = f"the load asks for {wanted.replicas}, but asked for {highest} within the last {span_s:.0f} s"
        return _Made(wanted, current, "StabilisationWindow", why)
    return _Made(wanted, target, "LoadDown", f"the load asked for at most {highest} in the last {span_s:.0f} s")


def _decision(policy: Policy, state: State, observation: Observation, measured: load.Measured, made: _Made) -> Decision:
    bounded = max(policy.min_replicas, min(policy.max_replicas, made.replicas))
    erlangs, capacity, wanted = measured.erlangs, measured.capacity, made.wanted
    busy = "" if erlangs is None else f"{erlangs:.2f} of {capacity:g} workers busy; "
    size = "" if wanted is None or wanted.millicores is None else f"; {wanted.millicores}m of CPU a pod"
    per_pod = policy.price.per_hour(policy.millicores_per_pod, policy.memory_bytes_per_pod)
    return Decision(
        replicas=bounded,
        millicores=_size(policy, observation, wanted),
        grants=wanted.grants if wanted else {},
        uncapped=wanted.replicas if wanted else None,
        reason=made.reason,
        message=f"{busy}{made.why}{size}",
        offered_erlangs=erlangs,
        utilization=erlangs / capacity if erlangs is not None and capacity else None,
        latency_s=memory.latency_s(policy, state),
        cost_per_hour=_cost(policy, observation, bounded, wanted.grants if wanted else {}),
        current_cost_per_hour=_cost(policy, observation, observation.replicas, {}),
        naive_cost_per_hour=None if erlangs is None else per_pod * _naive(policy, erlangs, measured.workers),
        missing_reports=measured.missing,
        invalid_reports=measured.invalid,
    )


def _size(policy: Policy, observation: Observation, wanted: _Wanted | None) -> int | None:
    """CPU of a pod: as decided, or when it holds as the largest pod has it; None without a range."""
    if policy.cpu_range is None or (wanted is not None and wanted.millicores is not None):
        return wanted.millicores if wanted else None
    return max((p.millicores for p in observation.pods), default=0) or policy.millicores_per_pod


def _cost(policy: Policy, observation: Observation, replicas: int, grants: Mapping[str, int]) -> float:
    """An hour of so many pods: those that are there as they are granted, the others as new ones begin."""
    base = policy.millicores_per_pod
    sizes = [p.millicores or base for p in observation.pods]
    if grants:
        sizes = [grants.get(p.uid, size) for p, size in zip(observation.pods, sizes, strict=True)]
    if replicas < len(sizes):
        sizes = sorted(sizes)[:replicas]
    millicores = sum(sizes) + base * (replicas - len(sizes))
    return policy.price.per_hour(millicores, replicas * policy.memory_bytes_per_pod)


def _naive(policy: Policy, erlangs: float, workers: float) -> int:
    """Replicas of the baseline: unsized pods at the CPU target, within the same bounds."""
    needed = math.ceil(erlangs / (policy.naive_throughput * policy.naive_utilization * workers))
    return max(policy.min_replicas, min(policy.max_replicas, needed))
