"""Planned misses: slack is spent, what was overspent made good, and a number of pods that keeps the objective stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.recommender import Policy, budget
from corefit_core.recommender.state import Served
from corefit_core.sizing import Objective

POLICY = Policy(objective=Objective(percentile=99.0, latency_s=0.15))
AHEAD_S = 20.0
OBJECTIVE = 0.01


def served(share: float, seconds: float = 3600.0) -> Served:
    return Served(requests=1e6, missed=1e6 * share, seconds=seconds)


def planned(share: float, seconds: float = 3600.0) -> float:
    return budget.planned(POLICY, served(share, seconds), AHEAD_S)


def test_what_is_left_over_is_spent_the_more_surely_the_longer_that_is_known() -> None:
    assert planned(0.0, 0.0) == budget.target(POLICY) == pytest.approx(OBJECTIVE / 2)
    assert planned(0.0, 10.0) < planned(0.0, 100.0) < planned(0.0, 1000.0) <= budget.MOST * OBJECTIVE


def test_the_same_time_tells_less_where_pods_take_longer_to_come() -> None:
    assert budget.planned(POLICY, served(0.0, 300.0), 60.0) < budget.planned(POLICY, served(0.0, 300.0), 5.0)


def test_an_objective_that_was_missed_is_made_good() -> None:
    assert planned(0.02) < budget.target(POLICY)
    assert planned(1.0) == pytest.approx(budget.LEAST * budget.target(POLICY))


def test_between_the_plan_and_the_objective_nothing_is_made_good() -> None:
    assert planned(0.006) == planned(0.0099) == budget.target(POLICY)


def test_a_few_pods_are_stayed_at_that_keep_the_objective() -> None:
    """One pod that misses 0.8 %: more than planned, less than allowed. It is not left."""
    one = served(0.008)
    assert budget.allowed(POLICY, one, AHEAD_S, 1) >= 0.008
    assert budget.sustained(POLICY, one, AHEAD_S) < 0.008
    assert budget.allowed(POLICY, one, AHEAD_S, 100) == pytest.approx(budget.sustained(POLICY, one, AHEAD_S), rel=0.02)


@given(st.floats(50, 100), st.floats(0, 1), st.floats(0, 1e7), st.floats(0, 600), st.integers(0, 1000))
def test_what_is_planned_is_bounded_and_going_up_takes_no_less_than_going_down(
    percentile: float, share: float, seconds: float, ahead_s: float, replicas: int
) -> None:
    policy = Policy(objective=Objective(percentile=percentile, latency_s=0.15))
    lately = served(share, seconds)
    down, up = budget.sustained(policy, lately, ahead_s), budget.allowed(policy, lately, ahead_s, replicas)
    assert 0 <= down <= budget.objective(policy)
    assert down <= up <= budget.MOST * budget.objective(policy)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 7200))
def test_more_misses_never_plan_for_more(share: float, more: float, seconds: float) -> None:
    assert planned(min(1.0, share + more), seconds) <= planned(share, seconds) + 1e-12
