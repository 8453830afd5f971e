"""The verb: one observation in, one decision and the new memory out. Total and deterministic; `now` is an argument.

Up at once, down by the highest recommendation of a window, never down from ignorance: what is not known holds.
May not do I/O, and raises nothing for any observation that can be decoded.
"""

import math
from typing import Final, TypeAlias

import msgspec

from corefit_core.recommender import growth, load, queueing
from corefit_core.recommender.types import (
    Decision,
    Moments,
    Observation,
    Policy,
    Prediction,
    Reason,
    Recommendation,
    Sample,
    Served,
    State,
)

_Choice: TypeAlias = tuple[int, Reason, str]

COVERAGE: Final = 0.5
"""With less than half of the ready pods reporting, what the others carry is a guess: hold."""
DEAD_BAND: Final = 1.0
"""Standard errors of the measured load that going down must leave room for, beside the highest of the window."""
SPENT: Final = 0.7
"""Of the misses that the objective allows, what is planned to be spent: the rest is for what was never seen."""
LEAST_ALLOWED: Final = 0.25
"""However many were missed, a quarter of the target stays allowed: past that, pods buy almost nothing."""
CORRECTION_AN_HOUR: Final = 1.0
"""With twice the planned misses the load is taken 1.7 % higher each minute: slower than any scaling, so that the two
don't chase each other, and fast enough to matter within minutes of a wrong formula."""
EXCESS: Final = 4.0
"""A flash crowd misses a hundred times what is planned, and says nothing of the formulas for it: count five."""
CORRECTIONS: Final = (1.0, 1.5)
"""The formulas leave too few workers where queues are not shared as they assume, and by no more than half; that they
leave too many is what `_allowed` spends."""
EVIDENCE: Final = 1000.0
"""Requests as good as the target that are taken for granted: ten misses of 99 %, the least that tell a rate."""
SERVED_S: Final = 3600.0
"""Seconds after which an answer counts half in how the objective was kept."""
ROUND_S: Final = 5.0
"""A load that has just begun to rise is seen by the next round of collection."""
MAX_AHEAD_S: Final = 600.0
"""No start-up is planned for that takes longer: such a pod is broken, and predictions so far ahead are idle."""
POOLING_REQUESTS: Final = 50
"""Answers in a round that tell the share of those that waited to within 0.07."""
POOLING_BUSY: Final = (0.2, 0.95)
"""Utilisations between which the share of waiting requests tells shared queues from separate ones."""
POOLING_STEP: Final = 0.1
"""Of each round's estimate: settled within a minute of 5 s rounds."""
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
    state = _remembered(policy, state, measured, now)
    hold = _ignorance(observation, measured)
    if hold is not None:
        return _decision(policy, observation, measured, None, (observation.replicas, *hold)), state
    wanted, floor = _recommended(policy, state, measured, now)
    state = msgspec.structs.replace(
        state,
        since=_since(policy, state, now),
        known_at=now,
        window=_pushed(state.window, now, floor, _window_s(policy, state)),
    )
    return _decision(policy, observation, measured, wanted, _choice(policy, state, observation, wanted, now)), state


def _remembered(policy: Policy, state: State, measured: load.Measured, now: float) -> State:
    elapsed_s = 0.0 if state.at is None else now - state.at
    state = msgspec.structs.replace(
        state,
        at=now,
        pods=measured.pods,
        samples=tuple(s for s in state.samples if now - growth.SLOW_S < s.at),
        service=_aged(state.service, measured, elapsed_s),
        served=_faded(state.served, measured, elapsed_s),
        startup_s=measured.startup_s or state.startup_s,
    )
    if measured.erlangs is None:
        return state
    sample = Sample(at=now, erlangs=measured.erlangs, ceiling=measured.ceiling)
    state = msgspec.structs.replace(state, samples=(*state.samples, sample))
    return _taught(policy, state, measured, elapsed_s, now)


def _taught(policy: Policy, state: State, measured: load.Measured, elapsed_s: float, now: float) -> State:
    """The state with what this round says of the predictions that are due, and of how pods share their load."""
    ahead_s = _ahead(policy, state)
    due = [p for p in state.predictions if p.at <= now - ahead_s]
    actual = growth.mean(state.samples, now, growth.FAST_S)
    return msgspec.structs.replace(
        state,
        errors=growth.learned(state.errors, due, actual, elapsed_s),
        predictions=(
            *(p for p in state.predictions if p.at > now - ahead_s),
            Prediction(now, growth.predict(state.samples, now, ahead_s)),
        ),
        pooling=_pooling(state.pooling, measured),
        correction=_corrected(policy, state, elapsed_s),
    )


def _corrected(policy: Policy, state: State, elapsed_s: float) -> float:
    """The correction, moved by how many requests missed the objective lately against how many were planned to."""
    target = _target(policy)
    if target <= 0:
        return state.correction
    excess = min(EXCESS, _missed(state.served, target) / target - 1)
    step = CORRECTION_AN_HOUR * excess * min(elapsed_s, policy.max_report_age_s) / 3600
    return min(CORRECTIONS[1], max(CORRECTIONS[0], state.correction * math.exp(step)))


def _target(policy: Policy) -> float:
    """The share of requests that is planned to miss the objective."""
    return SPENT * (1 - policy.objective.percentile / 100)


def _missed(served: Served, target: float) -> float:
    """The share that missed it lately. Requests of the target's own share are counted in: a few say little."""
    return (served.missed + EVIDENCE * target) / (served.requests + EVIDENCE)


def _pooling(before: float, measured: load.Measured) -> float:
    """How far the pods share their load, by the share of requests that had to wait: see `queueing.servers`."""
    answered, pods = measured.delta.answered, measured.ready - measured.missing
    if answered < POOLING_REQUESTS or pods < 2 or measured.erlangs is None:
        return before
    rho = measured.erlangs / (measured.ready * measured.workers)
    if not POOLING_BUSY[0] < rho < POOLING_BUSY[1]:
        return before
    share, low, high = measured.delta.waited / answered, 0.0, 1.0
    for _ in range(6):
        middle = (low + high) / 2
        together = queueing.servers(measured.workers, pods, middle)
        low, high = (middle, high) if queueing.waiting(together, rho * together) > share else (low, middle)
    return before + POOLING_STEP * ((low + high) / 2 - before)


def _faded(served: Served, measured: load.Measured, elapsed_s: float) -> Served:
    keep, delta = 0.5 ** (elapsed_s / SERVED_S), measured.delta
    return Served(
        requests=served.requests * keep + delta.answered + delta.turned_away,
        missed=served.missed * keep + delta.late + delta.turned_away,
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
    service = _service(policy, state, measured.workers)
    allowed = _allowed(policy, state)
    number = growth.best(state.errors, allowed)
    outlook = growth.outlook(state.errors[number]) if state.errors else [(1.0, 1.0)]
    predicted = state.correction * growth.predict(state.samples, now, _ahead(policy, state))[number]
    at_most = 4 * max(1, policy.max_replicas)
    wanted = queueing.pods_needed(predicted, outlook, service, allowed, at_most)
    silent = max(0.0, measured.ceiling - (measured.erlangs or 0.0))
    floor = predicted + silent + DEAD_BAND * _spread(service, predicted)
    return wanted, max(wanted, queueing.pods_needed(floor, outlook, service, allowed, at_most))


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


def _allowed(policy: Policy, state: State) -> float:
    """The share of requests that may miss the objective from now on, by how it was kept lately.

    Twice the target when none missed, none of it when twice the target did: the two meet at the target, so the
    slack of an objective that is kept too well is spent, and one that was missed is made good.
    """
    target = _target(policy)
    if target <= 0:
        return 0.0
    return target * min(2.0, max(LEAST_ALLOWED, 2 - _missed(state.served, target) / target))


def _ahead(policy: Policy, state: State) -> float:
    """Seconds from a decision until what it asks for serves."""
    return min(MAX_AHEAD_S, max(0.0, policy.startup_s if state.startup_s is None else state.startup_s)) + ROUND_S


def _spread(service: queueing.Service, erlangs: float) -> float:
    """The standard error of a load of Poisson arrivals that was measured over `growth.FAST_S`, in Erlangs."""
    return math.sqrt(max(0.0, erlangs) * service.service_s * (1 + service.scv) / growth.FAST_S)


def _since(policy: Policy, state: State, now: float) -> float:
    """Since when the window has been filling: a gap starts it anew, for nobody knows what was in the gap."""
    if state.since is None or state.known_at is None or now - state.known_at > policy.max_report_age_s:
        return now
    return state.since


def _pushed(window: tuple[Recommendation, ...], now: float, replicas: int, span_s: float) -> tuple[Recommendation, ...]:
    kept = [r for r in window if now - span_s < r.at and r.replicas > replicas]
    return (*kept, Recommendation(at=now, replicas=replicas))


def _window_s(policy: Policy, state: State) -> float:
    return max(policy.down_window_s, min(MAX_AHEAD_S, state.startup_s or 0.0))


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
    highest = max(r.replicas for r in state.window)
    target = min(current, max(bounded, min(policy.max_replicas, highest)))
    if target == current:
        return (
            current,
            "StabilisationWindow",
            (f"the load asks for {wanted}, but asked for {highest} within the last {span_s:.0f} s"),
        )
    return target, "LoadDown", f"the load asked for at most {highest} in the last {span_s:.0f} s"


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
