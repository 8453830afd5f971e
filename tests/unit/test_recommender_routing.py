"""What one queue saves at a load, and when that is worth a balancer."""

import itertools
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corefit_core.recommender import CpuRange, Load, Policy, queueing, routing
from corefit_core.recommender.routing import DOWN_WINDOWS, LOOK_S, UP_S, WORTH, Balancer, RoutingState
from corefit_core.sizing import Objective

BALANCER = Balancer(millicores=50, most=1000, request_s=1e-4)
WINDOW_S = 6.0
DOWN_S = max(UP_S, DOWN_WINDOWS * WINDOW_S)
WIDE = CpuRange(min_millicores=2000, max_millicores=64000)
RANGE = CpuRange(min_millicores=2000, max_millicores=8000)
POLICY = Policy(objective=Objective(percentile=99, latency_s=0.15), max_replicas=100, millicores_per_pod=2000)


def _load(erlangs: float, *, service_s: float = 0.05, latency_s: float = 0.15, window_s: float = WINDOW_S) -> Load:
    service = queueing.Service(service_s=service_s, scv=0.09, latency_s=latency_s, workers=2, pooling=0.5)
    return Load(erlangs=erlangs, service=service, threads=1, window_s=window_s)


def _bounded(least: int, most: int, cpu_range: CpuRange | None = None) -> Policy:
    return msgspec.structs.replace(POLICY, min_replicas=least, max_replicas=most, cpu_range=cpu_range)


def _after(state: RoutingState, load: Load, seconds: float, begin: float = 0.0) -> RoutingState:
    for step in range(int(seconds / LOOK_S) + 1):
        state = routing.followed(state, POLICY, load, BALANCER, begin + LOOK_S * step)
    return state


LITTLE, MUCH = _load(1.0), _load(16.0)
"""Loads at which one queue saves no pod, and seven of sixteen."""
states = st.builds(RoutingState, queue=st.booleans(), saved=st.integers(0, 10_000))
loads = st.floats(0.0, 60.0)
policies = st.builds(
    _bounded, st.integers(1, 5), st.integers(5, 60), st.one_of(st.none(), st.just(RANGE), st.just(WIDE))
)


def test_the_pods_of_a_blind_service_cost_about_as_the_simulated_day_says() -> None:
    """There a Service takes 24.9 core-hours where one queue takes 15.4."""
    blind = 16 * 2000
    assert 0.3 * blind < routing.saves(POLICY, MUCH, BALANCER) < 0.5 * blind


@given(policies, loads, st.floats(0.001, 0.1), st.floats(0.01, 1.0))
def test_one_queue_never_costs_pods_and_saves_none_where_their_number_is_fixed(
    policy: Policy, erlangs: float, service_s: float, latency_s: float
) -> None:
    load = _load(erlangs, service_s=service_s, latency_s=latency_s)
    largest = 2000 if policy.cpu_range is None else policy.cpu_range.max_millicores
    assert 0 <= routing.saves(policy, load, BALANCER) <= largest * policy.max_replicas
    for fixed in (policy.min_replicas, policy.max_replicas):
        bounds = msgspec.structs.replace(policy, min_replicas=fixed, max_replicas=fixed, cpu_range=None)
        assert routing.saves(bounds, load, BALANCER) == 0


@given(policies, loads, st.integers(10, 4000), *[st.floats(0.0, 1e-3)] * 2)
def test_a_balancer_that_uses_more_saves_less(
    policy: Policy, erlangs: float, millicores: int, request_s: float, more_s: float
) -> None:
    saved = routing.saves(policy, _load(erlangs), Balancer(millicores, 1000, request_s))
    assert routing.saves(policy, _load(erlangs), Balancer(millicores, 1000, request_s + more_s)) <= saved


def test_requests_that_hardly_take_cpu_are_not_worth_their_way_through_a_balancer() -> None:
    """Runs of 0.1 ms: it uses as much as the pods do."""
    load = _load(4.0, service_s=0.0001, latency_s=0.0003)
    assert routing.saves(POLICY, load, Balancer(50, 10_000, 0.0)) == 2000
    assert routing.saves(POLICY, load, Balancer(50, 10_000, 1e-4)) == 0


def test_where_a_balancer_can_not_carry_the_requests_there_is_none() -> None:
    """Of 320 requests a second, 32 ms of CPU a second."""
    assert routing.saves(POLICY, MUCH, Balancer(20, 33, 1e-4)) > 0
    assert routing.saves(POLICY, MUCH, Balancer(20, 31, 1e-4)) == 0


@given(states, policies, loads)
@settings(deadline=None)
@example(RoutingState(queue=False, saved=9_990), POLICY, 1.0)
@example(RoutingState(queue=True), POLICY, 16.0)
def test_a_constant_load_changes_what_balances_at_most_once(
    state: RoutingState, policy: Policy, erlangs: float
) -> None:
    saved, seen = routing.saves(policy, _load(erlangs), BALANCER), [state.queue]
    for step in range(int(3 * DOWN_S / LOOK_S)):
        state = routing.followed(state, policy, _load(erlangs), BALANCER, step * LOOK_S)
        seen.append(state.queue)
    assert sum(a != b for a, b in itertools.pairwise(seen)) <= 1
    assert state.saved == saved
    if saved < BALANCER.millicores:
        assert not state.queue, "it costs more than it saves"
    if saved >= WORTH * BALANCER.millicores:
        assert state.queue


@given(st.lists(loads, min_size=2, max_size=60), st.lists(st.floats(0.5, 40.0), min_size=60, max_size=60))
@settings(deadline=None)
def test_what_balances_lasts_and_each_change_has_its_reason_in_the_whole_window(
    erlangs: Sequence[float], steps: Sequence[float]
) -> None:
    """Whatever the load does: never a queue that costs more than it saved in the last minute, and never to and fro."""
    state, now, changed, savings = RoutingState(), 0.0, 0.0, list[tuple[float, int]]()
    for load, step in zip(erlangs, steps, strict=False):
        now += step
        before, state = state, routing.followed(state, POLICY, _load(load), BALANCER, now)
        if state.known_at == now:
            savings.append((now, routing.saves(POLICY, _load(load), BALANCER)))
        if state.queue == before.queue:
            continue
        span_s = UP_S if state.queue else DOWN_S
        assert now - changed >= span_s
        lately = [saved for at, saved in savings if now - span_s < at]
        assert min(lately) >= WORTH * 50 if state.queue else max(lately) < 50
        changed = now


@given(loads, st.floats(1.0, 50.0))
@settings(deadline=None)
def test_what_is_said_of_it_stays_while_a_load_wavers(erlangs: float, more: float) -> None:
    state, said = RoutingState(), list[int]()
    for step in range(int(4 * DOWN_S / LOOK_S)):
        load = _load(erlangs + more * (step % 3 == 0))
        state = routing.followed(state, POLICY, load, BALANCER, step * LOOK_S)
        said.append(state.saved)
    assert len(set(said)) <= 2, "nothing at first, and then what lasts"


def test_a_queue_comes_after_a_minute_and_goes_after_ten_windows() -> None:
    state = _after(RoutingState(), MUCH, UP_S - LOOK_S)
    assert (state.queue, state.saved) == (False, 0)
    state = _after(RoutingState(), MUCH, UP_S)
    assert state.queue
    assert state.saved == routing.saves(POLICY, MUCH, BALANCER)
    begin, little = UP_S + LOOK_S, _load(1.0, window_s=60.0)
    assert _after(state, little, 600.0 - 2 * LOOK_S, begin).queue
    gone = _after(state, little, 600.0, begin)
    assert (gone.queue, gone.saved) == (False, 0)


def test_an_operator_that_has_just_started_changes_nothing_before_it_knows() -> None:
    restarted = RoutingState(queue=True, saved=500)
    kept = _after(restarted, LITTLE, DOWN_S - LOOK_S)
    assert (kept.queue, kept.saved) == (True, 500)
    assert not _after(restarted, LITTLE, DOWN_S).queue


@pytest.mark.parametrize("gap_s", [LOOK_S + POLICY.max_report_age_s + 1, -1.0])
def test_after_a_gap_or_with_another_clock_the_windows_begin_anew(gap_s: float) -> None:
    state = _after(RoutingState(), MUCH, UP_S - LOOK_S)
    begin = UP_S - LOOK_S + gap_s
    assert not _after(state, MUCH, UP_S - LOOK_S, begin).queue
    assert _after(state, MUCH, UP_S, begin).queue


def test_between_its_cost_and_twice_that_all_stays_as_it_is() -> None:
    load, half = _load(4.0), Balancer(1500, 1500, 1e-4)
    assert half.millicores <= routing.saves(POLICY, load, half) < WORTH * half.millicores
    for queue in (False, True):
        state = RoutingState(queue=queue)
        for step in range(int(2 * DOWN_S / LOOK_S)):
            state = routing.followed(state, POLICY, load, half, step * LOOK_S)
        assert state.queue == queue
