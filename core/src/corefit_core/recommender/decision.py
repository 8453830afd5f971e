"""The verb: one observation in, one decision and the new memory out. Total and deterministic; `now` is an argument.

Up at once, down by the highest recommendation of a window, never down from ignorance: what is not known holds.
May not do I/O, and raises nothing for any observation that can be decoded.
"""

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from corefit_core import window
from corefit_core.recommender import growth, load, memory, queueing
from corefit_core.recommender.types import Decision, Errors, Observation, Policy, Reason, State

_Choice: TypeAlias = tuple[int, Reason, str]
_Made: TypeAlias = tuple[int | None, _Choice]

COVERAGE: Final = 0.5
"""With less than half of the ready pods reporting, what the others carry is a guess: hold."""
SURGE: Final = 3.0
"""Standard errors of one round: by chance once in 740 rounds, an hour."""
SURE: Final = ((1.0, 1.0),)
"""An outlook without growth."""
DEAD_BAND: Final = 1.0
"""Standard errors of the measured load that going down must leave room for, beside the highest of the window."""


def decide(policy: Policy, state: State, observation: Observation, now: float) -> tuple[Decision, State]:
    """The replicas that the reports ask for, and the state for the next call.

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
    errors, state = state.errors, memory.remembered(policy, state, measured, now)
    hold = _ignorance(observation, measured)
    if hold is not None:
        return _decision(policy, state, observation, measured, (None, (observation.replicas, *hold))), state
    wanted, floor = _recommended(policy, state, errors, measured, now)
    state = msgspec.structs.replace(
        state,
        since=_since(policy, state, now),
        known_at=now,
        window=window.pushed(state.window, now, floor, _window_s(policy, state)),
    )
    made = (wanted, _choice(policy, state, observation, wanted, now))
    return _decision(policy, state, observation, measured, made), state


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


def _recommended(
    policy: Policy, state: State, errors: Sequence[Errors], measured: load.Measured, now: float
) -> tuple[int, int]:
    """Replicas that the load asks for, and those that it asks for if every silent pod is busy."""
    service = _service(policy, state, measured.workers)
    allowed = memory.allowed(policy, state)
    number = growth.best(errors, allowed)
    outlook = growth.outlook(errors[number]) if errors else SURE
    predicted = growth.predict(state.samples, now, memory.ahead_s(policy, state))[number]
    predicted = state.correction * predicted
    at_most = 4 * max(1, policy.max_replicas)
    surge = queueing.pods_needed(state.correction * _surge(service, state), SURE, service, allowed, at_most)
    wanted = max(surge, queueing.pods_needed(predicted, outlook, service, allowed, at_most))
    silent = max(0.0, measured.ceiling - (measured.erlangs or 0.0))
    floor = predicted + silent + DEAD_BAND * _spread(service, predicted)
    return wanted, max(wanted, queueing.pods_needed(floor, outlook, service, allowed, at_most))


def _surge(service: queueing.Service, state: State) -> float:
    """The load of the last round when it is more than chance above the mean of the last ones, else 0.

    A mean of three rounds takes three to believe in a step; a step is seen in the first.
    """
    last = state.samples[-1]
    mean = growth.mean(state.samples, last.at, growth.FAST_S)
    noise = math.sqrt(max(0.0, mean) * service.service_s * (1 + service.scv) / memory.ROUND_S)
    return last.erlangs if last.erlangs > mean + SURGE * noise else 0.0


def _service(policy: Policy, state: State, workers: int) -> queueing.Service:
    """What is known of the service.

    No number of pods keeps an objective below the service time: then the wait is kept to half a service time.
    """
    service_s = load.service_s(policy, state.service)
    return queueing.Service(
        service_s=service_s,
        scv=state.service.scv,
        latency_s=max(policy.objective.latency_s, 1.5 * service_s),
        workers=workers,
        pooling=state.pooling,
    )


def _spread(service: queueing.Service, erlangs: float) -> float:
    """The standard error of a load of Poisson arrivals that was measured over `growth.FAST_S`, in Erlangs."""
    return math.sqrt(max(0.0, erlangs) * service.service_s * (1 + service.scv) / growth.FAST_S)


def _since(policy: Policy, state: State, now: float) -> float:
    """Since when the window has been filling: a gap starts it anew, for nobody knows what was in the gap."""
    if state.since is None or state.known_at is None or now - state.known_at > policy.max_report_age_s:
        return now
    return state.since


def _window_s(policy: Policy, state: State) -> float:
    return max(policy.down_window_s, min(memory.MAX_AHEAD_S, state.startup_s or 0.0))


def _choice(policy: Policy, state: State, observation: Observation, wanted: int, now: float) -> _Choice:
    current, span_s = observation.replicas, _window_s(policy, state)
    bounded = max(policy.min_replicas, min(policy.max_replicas, wanted))
    limit: Reason = "AtMaximum" if wanted > policy.max_replicas else "AtMinimum"
    if bounded > current:
        return bounded, "LoadUp" if bounded == wanted else limit, f"the load asks for {wanted}"
    if bounded == current:
        return current, "Steady" if bounded == wanted else limit, f"the load asks for {wanted}"
    if state.since is None or now - state.since < span_s:
        return (
            current,
            "WindowFilling",
            f"the load asks for {wanted}, but is known for less than {span_s:.0f} s: not down yet",
        )
    highest = round(window.highest(state.window, now, span_s) or 0)
    target = min(current, max(bounded, min(policy.max_replicas, highest)))
    if target == current:
        return (
            current,
            "StabilisationWindow",
            (f"the load asks for {wanted}, but asked for {highest} within the last {span_s:.0f} s"),
        )
    return target, "LoadDown", f"the load asked for at most {highest} in the last {span_s:.0f} s"


def _decision(policy: Policy, state: State, observation: Observation, measured: load.Measured, made: _Made) -> Decision:
    wanted, (replicas, reason, why) = made
    bounded = max(policy.min_replicas, min(policy.max_replicas, replicas))
    erlangs, capacity = measured.erlangs, measured.ready * measured.workers
    per_pod = policy.price.per_hour(policy.millicores_per_pod, policy.memory_bytes_per_pod)
    busy = "" if erlangs is None else f"{erlangs:.2f} of {capacity} workers busy; "
    return Decision(
        replicas=bounded,
        uncapped=wanted,
        reason=reason,
        message=f"{busy}{why}",
        offered_erlangs=erlangs,
        utilization=erlangs / capacity if erlangs is not None and capacity else None,
        latency_s=memory.latency_s(policy, state),
        cost_per_hour=bounded * per_pod,
        current_cost_per_hour=observation.replicas * per_pod,
        naive_cost_per_hour=None if erlangs is None else per_pod * _naive(policy, erlangs, measured.workers),
        missing_reports=measured.missing,
        invalid_reports=measured.invalid,
    )


def _naive(policy: Policy, erlangs: float, workers: int) -> int:
    """Replicas of the baseline: unsized pods at the CPU target, within the same bounds."""
    needed = math.ceil(erlangs / (policy.naive_throughput * policy.naive_utilization * workers))
    return max(policy.min_replicas, min(policy.max_replicas, needed))
