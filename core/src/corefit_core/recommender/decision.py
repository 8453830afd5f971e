"""The verb: one observation in, one decision and the new memory out. Total and deterministic; `now` is an argument.

Up at once, down by the highest recommendation of a window, never down from ignorance: what is not known holds.
May not do I/O, and raises nothing for any observation that can be decoded.
"""

import math
from typing import Final, TypeAlias

import msgspec

from corefit_core.recommender import load, queueing
from corefit_core.recommender.types import (
    Decision,
    Moments,
    Observation,
    Policy,
    Reason,
    Recommendation,
    Sample,
    State,
)

_Choice: TypeAlias = tuple[int, Reason, str]

COVERAGE: Final = 0.5
"""With less than half of the ready pods reporting, what the others carry is a guess: hold."""
LOAD_SPAN_S: Final = 15.0
"""Seconds of load that a recommendation looks at: three rounds of 5 s; at 100 requests/s its error is 3 %."""
DEAD_BAND: Final = 3.0
"""Standard errors of the measured load that going down must leave room for: constant load then comes back up by
chance once in 740 rounds of measuring at most."""
MEMORY_S: Final = 300.0
"""Seconds after which a service time counts half: a new input mix shows within minutes."""


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
    state = _remembered(state, measured, now)
    hold = _ignorance(observation, measured)
    if hold is not None:
        return _decision(policy, observation, measured, None, (observation.replicas, *hold)), state
    wanted, floor = _recommended(policy, state, measured, now)
    state = msgspec.structs.replace(
        state,
        since=_since(policy, state, now),
        known_at=now,
        window=_pushed(state.window, now, floor, policy.down_window_s),
    )
    return _decision(policy, observation, measured, wanted, _choice(policy, state, observation, wanted, now)), state


def _remembered(state: State, measured: load.Measured, now: float) -> State:
    samples = state.samples
    if measured.erlangs is not None:
        samples = (*samples, Sample(at=now, erlangs=measured.erlangs, ceiling=measured.ceiling))
    return State(
        since=state.since,
        known_at=state.known_at,
        at=now,
        pods=measured.pods,
        window=state.window,
        samples=tuple(s for s in samples if now - LOAD_SPAN_S < s.at),
        service=_aged(state.service, measured, 0.0 if state.at is None else now - state.at),
        startup_s=measured.startup_s or state.startup_s,
    )


def _aged(service: Moments, measured: load.Measured, elapsed_s: float) -> Moments:
    keep, delta = 0.5 ** (elapsed_s / MEMORY_S), measured.delta
    return Moments(
        count=service.count * keep + delta.served,
        sum_s=service.sum_s * keep + delta.served_s,
        sum_sq_s2=service.sum_sq_s2 * keep + delta.served_sq_s2,
    )


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


def _recommended(policy: Policy, state: State, measured: load.Measured, now: float) -> tuple[int, int]:
    """Replicas that the load asks for, and those that it asks for if every silent pod is busy."""
    recent = [s for s in state.samples if now - LOAD_SPAN_S < s.at <= now]
    mean = sum(s.erlangs for s in recent) / len(recent)
    ceiling = sum(s.ceiling for s in recent) / len(recent)
    wanted = _replicas(policy, state.service, measured.workers, mean)
    spread = _spread(policy, state.service, ceiling)
    return wanted, max(wanted, _replicas(policy, state.service, measured.workers, ceiling + DEAD_BAND * spread))


def _spread(policy: Policy, service: Moments, erlangs: float) -> float:
    """The standard error of a load of Poisson arrivals that was measured over `LOAD_SPAN_S`, in Erlangs."""
    return math.sqrt(max(0.0, erlangs) * load.service_s(policy, service) * (1 + service.scv) / LOAD_SPAN_S)


def _replicas(policy: Policy, service: Moments, workers: int, erlangs: float) -> int:
    needed = queueing.workers_needed(
        erlangs,
        load.service_s(policy, service),
        service.scv,
        policy.objective,
        at_most=policy.max_replicas * workers * 4,
    )
    return -(-needed // workers)


def _since(policy: Policy, state: State, now: float) -> float:
    """Since when the window has been filling: a gap starts it anew, for nobody knows what was in the gap."""
    if state.since is None or state.known_at is None or now - state.known_at > policy.max_report_age_s:
        return now
    return state.since


def _pushed(window: tuple[Recommendation, ...], now: float, replicas: int, span_s: float) -> tuple[Recommendation, ...]:
    kept = [r for r in window if now - span_s < r.at and r.replicas > replicas]
    return (*kept, Recommendation(at=now, replicas=replicas))


def _choice(policy: Policy, state: State, observation: Observation, wanted: int, now: float) -> _Choice:
    current = observation.replicas
    bounded = max(policy.min_replicas, min(policy.max_replicas, wanted))
    limit: Reason = "AtMaximum" if wanted > policy.max_replicas else "AtMinimum"
    if bounded > current:
        return bounded, "LoadUp" if bounded == wanted else limit, f"the load asks for {wanted}"
    if bounded == current:
        return current, "Steady" if bounded == wanted else limit, f"the load asks for {wanted}"
    if state.since is None or now - state.since < policy.down_window_s:
        return (
            current,
            "WindowFilling",
            f"the load asks for {wanted}, but is known for less than {policy.down_window_s:.0f} s: not down yet",
        )
    highest = max(r.replicas for r in state.window)
    target = min(current, max(bounded, min(policy.max_replicas, highest)))
    if target == current:
        return (
            current,
            "StabilisationWindow",
            (f"the load asks for {wanted}, but asked for {highest} within the last {policy.down_window_s:.0f} s"),
        )
    return target, "LoadDown", f"the load asked for at most {highest} in the last {policy.down_window_s:.0f} s"


def _decision(
    policy: Policy, observation: Observation, measured: load.Measured, wanted: int | None, choice: _Choice
) -> Decision:
    replicas, reason, why = choice
    bounded = max(policy.min_replicas, min(policy.max_replicas, replicas))
    capacity = measured.ready * measured.workers
    per_pod = policy.price.per_hour(policy.millicores_per_pod, policy.memory_bytes_per_pod)
    busy = "" if measured.erlangs is None else f"{measured.erlangs:.2f} of {capacity} workers busy; "
    return Decision(
        replicas=bounded,
        uncapped=wanted,
        reason=reason,
        message=f"{busy}{why}",
        offered_erlangs=measured.erlangs,
        utilization=measured.erlangs / capacity if measured.erlangs is not None and capacity else None,
        cost_per_hour=bounded * per_pod,
        current_cost_per_hour=observation.replicas * per_pod,
        missing_reports=measured.missing,
        invalid_reports=measured.invalid,
    )
