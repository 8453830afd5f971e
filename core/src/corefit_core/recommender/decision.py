"""The verb: one observation in, one decision and the new memory out. Total and deterministic; `now` is an argument.

Up at once, down by the highest recommendation of a window, never down from ignorance: what is not known holds.
May not do I/O, and raises nothing for any observation that can be decoded.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from corefit_core import window
from corefit_core.recommender import budget, demand, explanation, load, memory, saturation, slo, vertical
from corefit_core.recommender.demand import Demand, Round
from corefit_core.recommender.state import State
from corefit_core.recommender.types import Decision, Observation, Policy, Reason


class _Made(NamedTuple):
    """What the load needs, what is done, and why."""

    wanted: Demand | None
    replicas: int
    reason: Reason
    why: str


COVERAGE: Final = 0.5
"""With less than half of the ready pods reporting, what the others carry is a guess: hold."""


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
    this = Round(policy, state, before, observation, memory.service(policy, state, measured))
    wanted, bursts = demand.decided(this)
    needed = wanted.replicas if wanted.withheld is None else wanted.withheld.replicas
    trial = saturation.tried(policy, state, observation, measured, needed)
    if trial is not None and saturation.goes_on(policy, state, trial):
        wanted = wanted._replace(replicas=max(wanted.replicas, trial.replicas), floor=max(wanted.floor, trial.replicas))
    state = msgspec.structs.replace(
        state,
        trial=trial,
        transients=bursts,
        since=_since(policy, state, now),
        known_at=now,
        window=window.pushed(state.window, now, wanted.floor, memory.window_s(policy, state)),
        wanted=wanted.replicas,
    )
    made = _short(policy, observation, wanted) or _choice(policy, state, observation, measured, wanted)
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
        why = f"{explanation.pods(fewer)} carry the load once each has more CPU; the others go after that"
        made = made._replace(replicas=seen.replicas, reason="GrowingFirst", why=why)
    if made.wanted is not None:
        made = made._replace(wanted=made.wanted._replace(millicores=size.millicores, grants=size.grants))
    peaks = window.pushed(state.peaks, now, need.level, vertical.HOLD_S)
    asked = vertical.asked(here.policy, state, seen, size.grants, now)
    return msgspec.structs.replace(state, peaks=peaks, asked=asked), made


def _ignorance(observation: Observation, measured: load.Measured) -> tuple[Reason, str] | None:
    """Why nothing can be decided, if so."""
    if observation.rollout:
        return "RolloutInProgress", "pods are being replaced; replicas stay as they are until that is done"
    if measured.erlangs is None:
        missing = f"none of {measured.ready} ready pods has sent two reports" if measured.ready else "no pod is ready"
        return "NoReports", f"{missing}, so the load is not known; replicas stay as they are"
    if measured.missing > (1 - COVERAGE) * measured.ready:
        silent = f"{measured.missing} of {measured.ready} ready pods have sent no report lately"
        return "StaleReports", f"{silent}; replicas stay as they are"
    return None


def _since(policy: Policy, state: State, now: float) -> float:
    """Since when the window has been filling: a gap starts it anew, for nobody knows what was in the gap."""
    if state.since is None or state.known_at is None or now - state.known_at > policy.max_report_age_s:
        return now
    return state.since


def _short(policy: Policy, seen: Observation, wanted: Demand) -> _Made | None:
    """The replicas as they are in a burst that may end before a pod serves, where they are enough without it."""
    if wanted.withheld is None or not max(policy.min_replicas, wanted.replicas) <= seen.replicas <= policy.max_replicas:
        return None
    return _Made(wanted, seen.replicas, "ShortBurst", explanation.withheld(wanted.withheld))


def _choice(policy: Policy, state: State, seen: Observation, measured: load.Measured, wanted: Demand) -> _Made:
    """Replicas within the bounds and the window."""
    current, needed = seen.replicas, wanted.replicas
    bounded = max(policy.min_replicas, min(policy.max_replicas, needed))
    if bounded < current:
        return _down(policy, state, measured, wanted, (current, bounded))
    full, trial = saturation.full(state, seen, measured), state.trial
    if trial is not None and bounded == trial.replicas and saturation.goes_on(policy, state, trial):
        return _Made(wanted, bounded, "Saturated", explanation.trial(trial.replicas - 1))
    why = _why(policy, state, measured, wanted)
    if full and bounded == current == needed:
        return _Made(wanted, current, "Saturated", explanation.full(current, policy.max_replicas))
    if bounded != needed:
        return _Made(wanted, bounded, *_limited(policy, needed, why))
    if bounded > current:
        return _Made(wanted, bounded, "LoadUp", why)
    return _Made(wanted, current, "Steady" if wanted.held is None else "Holding", why)


def _why(policy: Policy, state: State, measured: load.Measured, wanted: Demand) -> str:
    """Why the load needs so many replicas."""
    if wanted.held is not None:
        return explanation.holding(wanted.held, wanted.replicas, measured.threads)
    if wanted.now < wanted.replicas:
        most, ahead_s = explanation.cores(wanted.most, measured.threads), memory.ahead_s(policy, state)
        kept = _kept(policy, state, measured)
        return explanation.forecast(kept, wanted.replicas, wanted.now, ahead_s, most)
    return explanation.enough(_kept(policy, state, measured), wanted.replicas) + _cause(policy, state, measured, wanted)


def _cause(policy: Policy, state: State, measured: load.Measured, wanted: Demand) -> str:
    """Why the load needs more than twice the replicas that it fills."""
    erlangs = measured.erlangs or 0.0
    plain = max(1, math.ceil(erlangs * max(1, measured.ready) / measured.capacity)) if measured.capacity else 1
    missed, allowed = slo.missed(state), budget.objective(policy)
    most = explanation.cores(wanted.most, measured.threads) if wanted.most > 1.5 * erlangs else ""
    late = missed if missed is not None and missed > allowed else None
    return explanation.cause(wanted.replicas, plain, late, slo.lately(policy, state), most)


def _limited(policy: Policy, needed: int, why: str) -> tuple[Reason, str]:
    if needed > policy.max_replicas:
        return "AtMaximum", f"{why}, but maxReplicas is {policy.max_replicas}"
    return "AtMinimum", f"{why}, but minReplicas is {policy.min_replicas}"


def _down(policy: Policy, state: State, measured: load.Measured, wanted: Demand, step: tuple[int, int]) -> _Made:
    """From the first number of replicas toward the second, no further than the window allows."""
    (current, bounded), span_s, now = step, memory.window_s(policy, state), state.samples[-1].at
    why, over = explanation.enough(_kept(policy, state, measured), wanted.replicas), explanation.span(span_s)
    if state.since is None or now - state.since < span_s:
        known = f"the load has been known for less than {over}, so replicas do not go down yet"
        return _Made(wanted, current, "WindowFilling", f"{why}, but {known}")
    # Without a window this round decides alone, by the same measure: fewer replicas would come back by the same load.
    highest = max(wanted.floor, round(window.highest(state.window, now, span_s) or 0))
    target = min(current, max(bounded, min(policy.max_replicas, highest)))
    if target < current:
        return _Made(wanted, target, "LoadDown", explanation.fell(highest, span_s))
    if wanted.held is not None:
        return _Made(wanted, current, "Holding", explanation.holding(wanted.held, current, measured.threads))
    return _Made(wanted, current, "StabilisationWindow", f"{why}, but the load needed {highest} within the last {over}")


def _decision(policy: Policy, state: State, observation: Observation, measured: load.Measured, made: _Made) -> Decision:
    bounded = max(policy.min_replicas, min(policy.max_replicas, made.replicas))
    erlangs, capacity, wanted = measured.erlangs, measured.capacity, made.wanted
    need = "" if erlangs is None else f"{explanation.load(erlangs, capacity, measured.threads)}; "
    size = "" if wanted is None or wanted.millicores is None else f"; each pod gets {wanted.millicores}m of CPU"
    per_pod = policy.price.per_hour(policy.millicores_per_pod, policy.memory_bytes_per_pod)
    return Decision(
        replicas=bounded,
        millicores=_size(policy, observation, wanted),
        grants=wanted.grants if wanted else {},
        uncapped=wanted.replicas if wanted else None,
        reason=made.reason,
        message=f"{need}{made.why}{size}",
        offered_erlangs=erlangs,
        utilization=erlangs / capacity if erlangs is not None and capacity else None,
        latency_s=memory.latency_s(policy, state),
        missed=slo.missed(state),
        unreachable=_unreachable(policy, state, measured),
        cost_per_hour=_cost(policy, observation, bounded, wanted.grants if wanted else {}),
        naive_cost_per_hour=None if erlangs is None else per_pod * _naive(policy, erlangs, measured.workers),
        missing_reports=measured.missing,
        invalid_reports=measured.invalid,
    )


def _kept(policy: Policy, state: State, measured: load.Measured) -> str:
    """The objective in words; empty where no pods keep it."""
    return "" if slo.unreachable(policy, state, measured) else explanation.objective(policy.objective)


def _unreachable(policy: Policy, state: State, measured: load.Measured) -> str:
    if not slo.unreachable(policy, state, measured):
        return ""
    reached_s = slo.unloaded_s(policy, state, measured)
    return explanation.unreachable(policy, measured.run_s, reached_s, quota=measured.stretch > 1)


def _size(policy: Policy, observation: Observation, wanted: Demand | None) -> int | None:
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
