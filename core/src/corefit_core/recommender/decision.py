"""One observation in, one decision and the new state out. Total and deterministic; `now` is an argument.

Six verbs: measure, update, forecast, size, stabilize, say. May not do I/O, and raises nothing for any observation that
can be decoded.
"""

from typing import NamedTuple

import msgspec

from corefit_core.recommender import (
    capacity,
    cost,
    forecast,
    last_minute,
    measurement,
    messages,
    placement,
    predictors,
    service_model,
    slo,
    spans,
    stabilization,
)
from corefit_core.recommender.capacity import Demand
from corefit_core.recommender.forecast import Forecast
from corefit_core.recommender.measurement import Measured
from corefit_core.recommender.messages import Facts
from corefit_core.recommender.stabilization import Outcome, Situation
from corefit_core.recommender.state import State
from corefit_core.recommender.transients import Transients
from corefit_core.recommender.types import Decision, Load, Observation, Policy


class Round(NamedTuple):
    """One round.

    Attributes:
        policy, seen, now: what `decide` was given.
        before: the state before this round. What is learned in a round counts from the next one on.
        measured: the reports of this round, added up.
    """

    policy: Policy
    seen: Observation
    now: float
    before: State
    measured: Measured


def decide(policy: Policy, state: State, observation: Observation, now: float) -> tuple[Decision, State]:
    """The replicas, and the CPU of each pod, that the reports ask for, and the state for the next call.

    Args:
        policy: objective, bounds, prices, windows.
        state: what the last call returned; `State()` at first.
        observation: one round of collection.
        now: seconds on a clock that never goes back while a state lives (else the state is dropped).
    """
    this = _measure(policy, state, observation, now)
    state = _update(this)
    hold = stabilization.ignorance(observation, this.measured)
    if hold is not None:
        return _say(this, state, Outcome(observation.replicas, hold)), state
    coming = _forecast(this, state)
    demand, bursts = _size(this, state, coming)
    outcome, state = _stabilize(this, state, demand, bursts)
    return _say(this, state, outcome), state


def _measure(policy: Policy, state: State, seen: Observation, now: float) -> Round:
    if state.pods.at is not None and now < state.pods.at:
        state = State()
    return Round(policy, seen, now, state, measurement.measure(policy, state.pods, state.service.times, seen, now))


def _update(this: Round) -> State:
    """The state with this round in it, each piece by its owner."""
    policy, measured, before, now = this.policy, this.measured, this.before, this.now
    elapsed_s = 0.0 if before.pods.at is None else now - before.pods.at
    service = service_model.with_times(before.service, measured, elapsed_s)
    kept = slo.counted(policy, before.slo, measured, elapsed_s, now)
    load = forecast.with_sample(before.forecast, measured, now)
    if measured.erlangs is not None:
        load = forecast.learned(policy, load, service, kept.served, elapsed_s)
        service = service_model.with_pooling(service, measured, elapsed_s)
    return msgspec.structs.replace(
        before,
        pods=measurement.PodsState(at=now, counters=measured.pods),
        service=service,
        slo=kept,
        forecast=load,
    )


def _forecast(this: Round, state: State) -> Forecast:
    return forecast.forecast(this.policy, this.before.forecast, this.before.service, state.forecast)


def _size(this: Round, state: State, coming: Forecast) -> tuple[Demand, Transients]:
    policy, measured, before = this.policy, this.measured, this.before
    return capacity.needed(
        capacity.Inputs(
            policy=policy,
            seen=this.seen,
            samples=state.forecast.samples,
            peaks=state.forecast.peaks,
            forecast=coming,
            service=slo.service(policy, state.slo, state.service, measured),
            horizon_s=service_model.horizon_s(policy, state.service),
            window_s=service_model.window_s(policy, state.service),
            served=before.slo.served,
            rate=forecast.rate(policy, state.forecast, state.service),
            near=before.window.replicas,
            bursts=before.window.transients,
            sizes=before.sizes,
        )
    )


def _stabilize(this: Round, state: State, demand: Demand, bursts: Transients) -> tuple[Outcome, State]:
    here = Situation(
        policy=this.policy,
        seen=this.seen,
        measured=this.measured,
        samples=state.forecast.samples,
        window_s=service_model.window_s(this.policy, state.service),
        horizon_s=service_model.horizon_s(this.policy, state.service),
    )
    outcome, window = stabilization.stabilized(here, state.window, demand, bursts)
    state = msgspec.structs.replace(state, window=window)
    if demand.sized is None or outcome.size is None:
        return outcome, state
    return outcome, msgspec.structs.replace(state, sizes=placement.updated(*demand.sized, outcome.size.grants))


def _say(this: Round, state: State, outcome: Outcome) -> Decision:
    policy, seen, measured = this.policy, this.seen, this.measured
    facts = Facts(
        policy=policy,
        seen=seen,
        measured=measured,
        slo=state.slo,
        service=state.service,
        window_s=service_model.window_s(policy, state.service),
        horizon_s=service_model.horizon_s(policy, state.service),
    )
    replicas = max(policy.min_replicas, min(policy.max_replicas, outcome.replicas))
    erlangs, capacity_there = measured.erlangs, measured.capacity
    grants = outcome.size.grants if outcome.size else {}
    naive = None if erlangs is None else cost.naive_per_hour(policy, erlangs, measured.workers)
    return Decision(
        replicas=replicas,
        millicores=_millicores(policy, seen, outcome),
        grants=grants,
        uncapped=outcome.demand.replicas if outcome.demand else None,
        reason=outcome.reason,
        message=messages.message(facts, outcome),
        offered_erlangs=erlangs,
        utilization=erlangs / capacity_there if erlangs is not None and capacity_there else None,
        latency_s=last_minute.latency_s(state.slo.minute, policy.objective.percentile),
        requests=last_minute.requests(state.slo.minute),
        missed=last_minute.missed(state.slo.minute),
        unreachable=messages.unreachable(facts),
        doubtful=messages.doubtful(facts),
        cost_per_hour=cost.per_hour(policy, seen, replicas, grants),
        naive_cost_per_hour=naive,
        load=None if outcome.demand is None else _load(this, state),
        missing_reports=measured.missing,
        invalid_reports=measured.invalid,
    )


def _load(this: Round, state: State) -> Load:
    policy, measured = this.policy, this.measured
    return Load(
        erlangs=predictors.mean(state.forecast.samples, this.now, spans.SLOW_S),
        service=slo.service(policy, state.slo, state.service, measured),
        threads=measured.threads,
        window_s=service_model.window_s(policy, state.service),
    )


def _millicores(policy: Policy, seen: Observation, outcome: Outcome) -> int | None:
    """CPU of a pod: as decided, or when it holds as the largest pod has it; None without a range."""
    if outcome.size is not None:
        return outcome.size.millicores
    if policy.cpu_range is None:
        return None
    return max((p.millicores for p in seen.pods), default=0) or policy.millicores_per_pod
