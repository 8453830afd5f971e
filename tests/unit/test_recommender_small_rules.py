"""Small rules of the recommender that no test noticed when mutation testing changed them (`make bench-mutation`)."""

import math

import msgspec
import pytest
from unit.test_recommender_parts import measured

from corefit_core import sizing
from corefit_core.histogram import BOUNDS_S, Histogram, place
from corefit_core.recommender import Policy, counters, queueing, quota, slo
from corefit_core.recommender.counters import Totals
from corefit_core.recommender.service_model import ServiceState
from corefit_core.recommender.sizes import Sizes, Workers
from corefit_core.report import Counters, ModelIdentity, PlanInForce, Report, ServiceTime
from corefit_core.sizing import Grant, Objective


def test_three_points_stand_for_a_normal_distribution() -> None:
    """Gauss-Hermite: weights that add up to one, mean 0, variance 1, third moment 0."""
    moments = [sum(weight * node**power for node, weight in queueing._NODES) for power in range(4)]
    assert moments == pytest.approx([1, 0, 1, 0])


def test_an_objective_shorter_than_a_run_leaves_half_a_run_to_wait() -> None:
    assert queueing.attainable(0.010, 0.100) == pytest.approx(0.150)
    assert queueing.attainable(0.200, 0.100) == 0.200


def test_nobody_is_turned_away_twice_and_all_are_where_nobody_may_wait_for_ever() -> None:
    for patience in (-1.0, 0.0, 1.0):
        assert 0.0 <= queueing.turned_away(2, 3.0, patience, 0.1) <= 1.0
    assert queueing.turned_away(1, 1e6, 0.0, 0.0) == pytest.approx(1.0, abs=1e-3)


def test_under_a_quota_only_pods_that_are_mostly_idle_tell_who_was_late_alone() -> None:
    late = Totals(answered=10.0, late=5.0, alone=4.0)
    assert slo.late_alone(measured(erlangs=1.9, slowdown=4.0, delta=late)) == 0.0
    assert slo.late_alone(measured(erlangs=0.01, slowdown=4.0, delta=late)) == 5.0
    assert slo.late_alone(measured(erlangs=1.9, slowdown=1.0, delta=late)) == 5.0


def test_of_the_bucket_with_the_objective_only_the_share_above_it_is_late() -> None:
    at = len(BOUNDS_S) // 2
    counts = tuple(8 if bucket == at else 2 if bucket == at + 1 else 0 for bucket in range(len(BOUNDS_S) + 1))
    many = Histogram(counts=counts, sum_s=1.0)
    report = Report(
        boot_id="b",
        state="Ready",
        model=ModelIdentity(name="m"),
        plan=PlanInForce(grant_millicores=1000, workers=1, threads_per_worker=1, queue_depth=4),
        clock_s=10.0,
        counters=Counters(arrivals=10, completed=10, busy_worker_seconds=1.0),
        service_time=many,
        total=many,
    )
    found = counters.totals(report, (at, 0.25))
    assert found is not None
    assert (found.answered, found.late, found.alone) == (10, 8 * 0.75 + 2, 8 * 0.75 + 2)


def test_a_report_counts_nothing_before_anything_happened() -> None:
    assert not any(value for value in msgspec.structs.asdict(Counters()).values())


def test_below_a_size_worth_having_workers_compute_in_proportion() -> None:
    two = Sizes((500, 2000), (Workers(0.5, 1), Workers(2.0, 2)))
    assert two.of(250) == Workers(0.25, 1)
    assert two.of(500) == two.of(1999) == Workers(0.5, 1)
    assert two.of(2000) == Workers(2.0, 2)


def test_cpu_of_threads_that_run_together_is_the_time_of_one_worker() -> None:
    """Two threads of a worker take two CPU seconds in one."""
    plan = PlanInForce(grant_millicores=1000, workers=2, threads_per_worker=2, queue_depth=4)
    delta = Totals(answered=10.0, busy_s=8.0, served_s=8.0, served_sq_s2=6.4, cpu_s=6.0)
    found = quota.at_full_speed(delta, plan)
    assert found.busy_s == pytest.approx(max(8.0 * quota.effective_workers(plan) / 2, 3.0))
    assert found.served_s == pytest.approx(found.busy_s)


def test_an_idle_pod_takes_its_percentile_of_log_normal_service_times() -> None:
    """exp(z sigma - sigma^2 / 2) times the mean, sigma^2 = ln(1 + scv): Downey 2005."""
    policy = Policy(objective=Objective(percentile=99, latency_s=0.1))
    state = ServiceState()
    scv = state.times.scv
    sigma2 = math.log1p(scv)
    z = 2.3263478740408408
    expected = max(1.5, math.exp(z * math.sqrt(sigma2) - sigma2 / 2)) * 0.05 * 3.0
    assert slo.unloaded_s(policy, state, measured(run_s=0.05, slowdown=3.0)) == pytest.approx(expected)


def test_the_first_bucket_begins_at_half_of_its_bound() -> None:
    index, share = place(BOUNDS_S[0] * 0.75)
    assert index == 0
    assert share == pytest.approx(math.log(0.75 / 0.5) / math.log(2))


def test_only_runs_of_one_row_size_the_threads() -> None:
    profile = [ServiceTime(threads=1, rows=1, seconds=0.01), ServiceTime(threads=1, rows=64, seconds=0.2)]
    assert sizing.plan(Grant(quota_millicores=2000), Objective(latency_s=0.1), profile).service_s == 0.01


def test_where_all_were_in_time_none_was_late_alone() -> None:
    assert slo.late_alone(measured(delta=Totals(answered=5.0))) == 0.0
    assert slo.late_alone(measured(delta=Totals(answered=5.0, late=1.0, waited=3.0))) == 0.0
