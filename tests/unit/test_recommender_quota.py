"""Offered load under a CPU quota that is a fraction of the workers: the same work is the same load, however stalled."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit.simulate.fleet import Fleet
from corefit.simulate.requests import Requests, services
from corefit.simulate.service import Service
from corefit.simulate.traces import from_counts
from corefit_core.recommender import CpuRange, Observation, PodObservation, Policy, measurement, quota
from corefit_core.recommender.counters import Moments, Totals
from corefit_core.recommender.measurement import PodsState
from corefit_core.report import PlanInForce
from corefit_core.sizing import Objective

PERIOD_S = 0.1


def plan_of(millicores: int, workers: int = 1, threads: int = 1) -> PlanInForce:
    return PlanInForce(grant_millicores=millicores, workers=workers, threads_per_worker=threads, queue_depth=4)


def throttled(arrivals: list[float], work_s: float, share: float) -> float:
    """Busy seconds of one worker that is stopped once a period's share is used up, until the period's end."""
    now = busy = left = 0.0
    period = -1
    for arrival in arrivals:
        now = max(now, arrival)
        begin, todo = now, work_s
        while todo > 1e-12:
            if int(now / PERIOD_S + 1e-9) != period:
                period, left = int(now / PERIOD_S + 1e-9), share * PERIOD_S
            run = min(todo, left, (period + 1) * PERIOD_S - now)
            todo, left, now = todo - run, left - run, now + run
            if todo > 1e-12:
                now = max(now, (period + 1) * PERIOD_S)
        busy += now - begin
    return busy


@given(
    gaps=st.lists(st.floats(0.0, 0.5), min_size=1, max_size=60),
    work_ms=st.integers(1, 60),
    millicores=st.integers(100, 1000),
)
def test_a_throttled_worker_is_busy_no_longer_than_its_work_takes_of_the_quota(
    gaps: list[float], work_ms: int, millicores: int
) -> None:
    work_s, share, at = work_ms / 1000, millicores / 1000, 0.0
    arrivals = [at := at + gap for gap in gaps]
    counted = Totals(busy_s=throttled(arrivals, work_s, share), cpu_s=work_s * len(gaps))
    # A period's share may be used up before or after the work that it is counted for: one more at each end.
    assert counted.busy_s * share <= counted.cpu_s + 2 * share * PERIOD_S
    assert quota.at_full_speed(counted, plan_of(millicores)).busy_s >= counted.cpu_s * (1 - 1e-9)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 64), st.integers(1, 8))
def test_whole_cores_are_counted_as_they_are(busy_s: float, cpu_s: float, workers: int, threads: int) -> None:
    counted = Totals(busy_s=busy_s, cpu_s=cpu_s, answered=10.0, served_s=busy_s)
    assert quota.at_full_speed(counted, plan_of(1000 * workers * threads, workers, threads)) == counted


@given(st.floats(1e-3, 1e6), st.floats(0, 1e6), st.integers(100, 4000), st.integers(1, 4))
def test_a_full_pod_carries_what_it_is_able_to(busy_s: float, cpu_s: float, millicores: int, workers: int) -> None:
    plan = plan_of(millicores, workers)
    work = quota.at_full_speed(Totals(busy_s=busy_s, cpu_s=cpu_s, answered=1.0, served_s=busy_s), plan)
    assert work.busy_s >= busy_s * quota.effective_workers(plan) / workers * (1 - 1e-9)
    assert work.served_s == pytest.approx(work.busy_s)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_half_the_load_is_half_the_erlangs_on_a_fraction_of_a_core(share: float) -> None:
    """Two workers on 1.5 cores: one that runs alone isn't slowed, two are, so busy time is not in proportion."""
    service = Service(
        service_s=0.05,
        workers=2,
        objective=Objective(percentile=99.0, latency_s=0.3),
        cpu_range=CpuRange(min_millicores=1500, max_millicores=2000),
    )
    rate = share * 1.5 / service.service_s
    trace = from_counts("constant", np.full(1200, rate), seed=1)
    work = services(len(trace.arrivals), service.service_s, service.service_cv, seed=2)
    fleet = Fleet(service, Requests(trace.arrivals, work, trace.duration_s), 1)
    fleet.resize({"pod-1": 1500}, 0.0)
    policy, state = Policy(objective=service.objective, workers_per_pod=2), PodsState()
    erlangs = []
    for begin, end in ((0.0, 100.0), (100.0, 1100.0)):
        fleet.advance(begin, end)
        pods = (PodObservation(uid="pod-1", ready=True, report=fleet.reports(end)["pod-1"]),)
        measured = measurement.measure(policy, state, Moments(), Observation(pods=pods, replicas=1), end)
        state = PodsState(at=end, counters=measured.pods)
        erlangs.append(measured.erlangs)
    assert measured.capacity == 1.5
    offered = work[(trace.arrivals >= 100.0) & (trace.arrivals < 1100.0)].sum() / 1000.0
    assert erlangs[-1] == pytest.approx(offered, rel=0.01)


def test_service_times_vary_as_the_work_does_not_as_the_stalls_do() -> None:
    """Ten runs of 9 ms, every other one stalled for 85 ms: alike. By the clock on the wall they varied by 0.7."""
    plan = plan_of(150)
    wall = [0.009, 0.094] * 5
    counted = Totals(
        busy_s=sum(wall),
        answered=10.0,
        served_s=sum(wall),
        served_sq_s2=sum(each**2 for each in wall),
        cpu_s=0.1,
        computed_s=0.09,
        computed_sq_s2=10 * 0.009**2,
    )

    def scv(delta: Totals) -> float:
        return delta.answered * delta.served_sq_s2 / delta.served_s**2 - 1

    assert scv(quota.at_full_speed(counted, plan)) == pytest.approx(0.0, abs=1e-9)
    # A runtime that says nothing of its threads' clocks is taken as before.
    silent = msgspec.structs.replace(counted, computed_s=0.0, computed_sq_s2=0.0)
    assert scv(quota.at_full_speed(silent, plan)) == pytest.approx(scv(counted))
    assert scv(counted) > 0.6
