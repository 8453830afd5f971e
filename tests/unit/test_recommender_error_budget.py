"""Planned misses: slack is spent, what was overspent made good, and a number of pods that keeps the objective stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.recommender import Policy, error_budget
from corefit_core.recommender.error_budget import Served
from corefit_core.sizing import Objective

POLICY = Policy(objective=Objective(percentile=99.0, latency_s=0.15))
AHEAD_S = 20.0
OBJECTIVE = 0.01
RATE = 1e6 / 3600
"""Requests a second, of which `served` has an hour's."""


def served(share: float, seconds: float = 3600.0) -> Served:
    return Served(requests=1e6, missed=1e6 * share, seconds=seconds)


lately = st.builds(served, st.floats(0, 1), st.floats(0, 1e7))


def planned(share: float, seconds: float = 3600.0) -> float:
    return error_budget.target(POLICY, served(share, seconds), AHEAD_S)


def test_what_is_left_over_is_spent_the_more_surely_the_longer_that_is_known() -> None:
    assert planned(0.0, 0.0) == error_budget.allowed(POLICY) == pytest.approx(OBJECTIVE)
    assert (
        planned(0.0, 10.0) < planned(0.0, 100.0) < planned(0.0, 1000.0) == pytest.approx(error_budget.MOST * OBJECTIVE)
    )


def test_the_same_time_tells_less_where_pods_take_longer_to_come() -> None:
    assert error_budget.target(POLICY, served(0.0, 300.0), 60.0) < error_budget.target(POLICY, served(0.0, 300.0), 5.0)


def test_an_objective_that_was_missed_is_made_good() -> None:
    assert planned(0.02) < OBJECTIVE
    assert planned(1.0) == pytest.approx(error_budget.LEAST * OBJECTIVE)


def test_a_few_pods_are_stayed_at_that_keep_the_objective() -> None:
    """One pod that misses 1.5 % where the objective is just kept: more than would be gone down to. It is not left."""
    one = served(0.01)
    assert error_budget.scale_up_target(POLICY, one, AHEAD_S, 1) >= 0.015
    assert error_budget.scale_down_target(POLICY, one, AHEAD_S, RATE) < 0.015
    assert error_budget.scale_up_target(POLICY, one, AHEAD_S, 100) == pytest.approx(OBJECTIVE, rel=0.02)


def test_what_many_requests_have_left_over_is_spent_where_few_are_left() -> None:
    """At the rate of what is remembered half an hour of misses must be paid for, at a tenth of it a tenth of those."""
    assert error_budget.scale_down_target(POLICY, served(0.009), AHEAD_S, RATE) == pytest.approx(1.2 * OBJECTIVE)
    assert error_budget.scale_down_target(POLICY, served(0.009), AHEAD_S, RATE / 10) == pytest.approx(planned(0.009))
    assert error_budget.scale_down_target(POLICY, served(0.02), AHEAD_S, RATE / 10) == planned(0.02)


@given(st.floats(50, 100), lately, st.floats(0, 600), st.integers(0, 1000), st.floats(0, 1e5))
def test_what_is_planned_is_bounded_and_going_up_takes_no_less_than_going_down(
    percentile: float, known: Served, ahead_s: float, replicas: int, rate: float
) -> None:
    policy = Policy(objective=Objective(percentile=percentile, latency_s=0.15))
    down, up = (
        error_budget.scale_down_target(policy, known, ahead_s, rate),
        error_budget.scale_up_target(policy, known, ahead_s, replicas),
    )
    assert 0 <= down <= up <= error_budget.MOST * error_budget.allowed(policy)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 7200))
def test_more_misses_never_plan_for_more(share: float, more: float, seconds: float) -> None:
    assert planned(min(1.0, share + more), seconds) <= planned(share, seconds) + 1e-12


def test_an_objective_of_which_nothing_is_known_may_be_missed_as_often_as_it_says() -> None:
    for unknown in (Served(), Served(requests=1e6)):
        assert error_budget.target(POLICY, unknown, AHEAD_S) == error_budget.allowed(POLICY)
