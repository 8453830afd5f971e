"""The times of the load generator: fixed beforehand, reproducible, of the rate that was asked for."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit.load.schedule import Step, duration_s, intended_times, rate_at
from corefit_core.errors import InvalidInput

STEPS = [Step(rate=10, duration_s=20), Step(rate=40, duration_s=10), Step(rate=0, duration_s=5)]


def test_even_arrivals_have_the_rate_of_each_step() -> None:
    times = list(intended_times(STEPS, seed=None))
    assert len([t for t in times if t < 20]) == pytest.approx(200, abs=1)
    assert len([t for t in times if 20 <= t < 30]) == pytest.approx(400, abs=1)
    assert max(times) < 30


def test_poisson_arrivals_have_the_rate_and_the_spread_of_independent_clients() -> None:
    times = list(intended_times([Step(rate=100, duration_s=200)], seed=7))
    gaps = [b - a for a, b in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(0.01, rel=0.05)
    assert deviation / mean == pytest.approx(1.0, rel=0.05)


@given(
    steps=st.lists(
        st.builds(Step, rate=st.floats(0, 200), duration_s=st.floats(0.1, 5)),
        min_size=1,
        max_size=4,
    ),
    seed=st.none() | st.integers(0, 2**32),
)
def test_times_are_in_order_within_the_run_and_the_same_again(steps: list[Step], seed: int | None) -> None:
    times = list(intended_times(steps, seed=seed))
    assert times == sorted(times)
    assert all(0 <= t < duration_s(steps) for t in times)
    assert times == list(intended_times(steps, seed=seed))


def test_the_rate_at_a_time_is_that_of_its_step() -> None:
    assert [rate_at(STEPS, t) for t in (-1, 0, 19.9, 20, 29.9, 31, 99)] == [0, 10, 10, 40, 40, 0, 0]


@pytest.mark.parametrize(
    ("rate", "duration"),
    [
        *((rate, 1.0) for rate in (-1.0, math.nan, math.inf)),
        *((1.0, duration) for duration in (0.0, -2.0, math.nan, math.inf)),
    ],
)
def test_a_step_without_meaning_is_refused(rate: float, duration: float) -> None:
    with pytest.raises(InvalidInput, match="must"):
        Step(rate=rate, duration_s=duration)
