"""The queueing formulas against exact recursions and against each other."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.recommender import measurement, queueing, service_model
from corefit_core.recommender.counters import Totals
from corefit_core.recommender.service_model import ServiceState

SERVICE = queueing.Service(service_s=0.05, scv=0.09, latency_s=0.15, workers=2, pooling=1.0)
loads = st.floats(0.0, 300.0)


def exact_erlang_b(servers: int, erlangs: float) -> float:
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = erlangs * blocked / (k + erlangs * blocked)
    return blocked


@given(st.integers(1, 200), st.floats(0.05, 1.5))
def test_erlang_b_is_near_the_exact_recursion(servers: int, rho: float) -> None:
    exact = exact_erlang_b(servers, rho * servers)
    assert queueing.erlang_b(servers, rho * servers) == pytest.approx(exact, rel=0.08, abs=1e-12)


@given(st.floats(1, 200), loads, loads, st.floats(0, 50), st.floats(0, 4))
def test_more_load_misses_more(servers: float, load: float, more: float, patience: float, scv: float) -> None:
    low = queueing.turned_away(servers, load, patience, scv)
    high = queueing.turned_away(servers, load + more, patience, scv)
    assert 0 <= low <= high + 1e-6 <= 1 + 1e-6


@given(st.integers(1, 100), loads, st.floats(0, 20), st.floats(0, 4))
def test_saturation_loses_at_least_what_exceeds_the_workers(
    servers: int, load: float, patience: float, scv: float
) -> None:
    lost = queueing.turned_away(servers, load, patience, scv)
    assert lost >= max(0.0, 1 - servers / load if load else 0.0) - 1e-9


def test_no_patience_left_misses_all() -> None:
    assert queueing.turned_away(10, 1.0, -0.1, 0.1) == 1.0


def test_the_exponential_case_is_exact_for_one_server() -> None:
    """M/M/1 with a deadline on the wait: (1 - rho) rho e / (1 - rho^2 e), e = exp(-(1 - rho) patience)."""
    rho, patience = 0.8, 3.0
    decay = math.exp(-(1 - rho) * patience)
    exact = (1 - rho) * rho * decay / (1 - rho * rho * decay)
    assert queueing.turned_away(1, rho, patience, 1.0) == pytest.approx(exact, rel=0.08)


@given(loads, loads)
def test_more_load_needs_no_fewer_pods(load: float, more: float) -> None:
    def need(erlangs: float) -> int:
        return queueing.pods_needed(erlangs, [(1.0, 1.0)], SERVICE, 0.01, 1000)

    assert need(load) <= need(load + more)


@given(loads)
def test_what_is_needed_is_enough(load: float) -> None:
    pods = queueing.pods_needed(load, [(1.0, 1.0)], SERVICE, 0.01, 1000)
    assert SERVICE.missed(pods, load) <= 0.01


def test_separate_queues_need_more_than_a_shared_one() -> None:
    apart = queueing.Service(service_s=0.05, scv=0.09, latency_s=0.15, workers=1, pooling=0.0)
    shared = queueing.Service(service_s=0.05, scv=0.09, latency_s=0.15, workers=1, pooling=1.0)
    assert queueing.pods_needed(10.0, [(1.0, 1.0)], apart, 0.01, 1000) > 2 * queueing.pods_needed(
        10.0, [(1.0, 1.0)], shared, 0.01, 1000
    )


@pytest.mark.parametrize("latency_s", [0.051, 0.06, 0.07, 0.1])
def test_an_objective_near_the_service_time_does_not_ask_for_the_maximum(latency_s: float) -> None:
    """A request that is too long by itself misses whatever the pods: it must not buy any."""
    tight = queueing.Service(service_s=0.05, scv=0.09, latency_s=latency_s, workers=2, pooling=1.0)
    assert queueing.pods_needed(10.0, [(1.0, 1.0)], tight, 0.01, 1000) < 40


@given(loads, st.integers(0, 2000), st.floats(1e-4, 0.1), st.floats(0.0, 1.0), st.integers(1, 1000))
def test_where_the_search_begins_does_not_change_the_answer(
    load: float, near: int, allowed: float, pooling: float, at_most: int
) -> None:
    service = queueing.Service(service_s=0.05, scv=0.09, latency_s=0.15, workers=2, pooling=pooling)
    outlook = [(0.1, 2.0), (0.7, 1.0), (0.2, 0.5)]
    assert queueing.pods_needed(load, outlook, service, allowed, at_most, near=near) == queueing.pods_needed(
        load, outlook, service, allowed, at_most
    )


@pytest.mark.parametrize(
    ("pods", "workers", "rho", "missed"),
    [(10, 1, 0.9, 0.024), (50, 1, 1.0, 0.127), (6, 2, 0.95, 0.038), (12, 2, 1.05, 0.261), (1, 4, 0.8, 0.016)],
)
def test_late_answers_are_missed_too(pods: int, workers: int, rho: float, missed: float) -> None:
    """Against 30,000 simulated requests each, cv 0.3, an objective of three service times: turned away alone are 1.2,
    1.0, 1.1, 4.9 and 0.7 %."""
    service = queueing.Service(service_s=0.2, scv=0.09, latency_s=0.6, workers=workers, pooling=1.0)
    assert service.missed(pods, rho * pods * workers) == pytest.approx(missed, rel=0.25)
    assert service.turned_away(pods, rho * pods * workers) < 0.6 * missed


def test_a_queue_that_is_always_full_answers_every_other_request_late() -> None:
    service = queueing.Service(service_s=0.2, scv=0.09, latency_s=0.6, workers=1, pooling=1.0)
    assert service.missed(500, 1000.0) == pytest.approx(0.75, abs=0.01)


services = st.builds(
    queueing.Service,
    service_s=st.just(0.05),
    scv=st.floats(0.0, 4.0),
    latency_s=st.floats(0.05, 1.0),
    workers=st.integers(1, 16),
    pooling=st.floats(0.0, 1.0),
)


@given(services, st.integers(1, 200), loads, loads)
def test_more_load_misses_more_of_the_objective(service: queueing.Service, pods: int, load: float, more: float) -> None:
    low, high = service.missed(pods, load), service.missed(pods, load + more)
    assert 0 <= low <= high + 1e-6 <= 1 + 1e-6


@pytest.mark.parametrize(("pooling", "work"), [(0.0, 0.5), (1.0, 0.5), (0.0, 0.3)])
def test_pods_that_answer_few_requests_a_round_are_known_by_several_rounds(pooling: float, work: float) -> None:
    """Twelve answers a second never were the fifty that tell separate queues from a shared one: it stayed as assumed.

    Workers that a quota stops for half of the time are found busy more often than their work takes.
    """
    pods, busy, learned = 4, 0.5, ServiceState(pooling=0.5)
    waiting = queueing.waiting(queueing.servers(1, pods, pooling), busy * queueing.servers(1, pods, pooling))
    for _ in range(300):
        seen = measurement.Measured(
            pods=(),
            erlangs=work * pods / 2,
            ceiling=0.0,
            arriving=0.0,
            workers=0.5,
            slowdown=2.0,
            capacity=pods / 2,
            threads=1.0,
            run_s=None,
            ready=pods,
            missing=0,
            invalid=0,
            waiting=0,
            delta=Totals(answered=12.0, waited=12 * waiting, held_s=busy * pods),
            startup_s=None,
            total=(),
        )
        learned = service_model.with_pooling(service_model.with_times(learned, seen, 1.0), seen, 1.0)
    assert learned.pooling == pytest.approx(pooling, abs=0.1)
