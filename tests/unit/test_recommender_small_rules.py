"""Small rules of the recommender that no test noticed when mutation testing changed them (`make bench-mutation`)."""

import msgspec
import pytest
from unit.test_recommender_parts import measured

from corefit_core.recommender import counters, queueing, slo
from corefit_core.recommender.counters import Totals
from corefit_core.report import BOUNDS_S, Counters, Histogram, ModelIdentity, PlanInForce, Report


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
