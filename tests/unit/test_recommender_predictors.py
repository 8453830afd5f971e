"""Each predictor by itself: what it says of load that is constant, has stepped, or was higher before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.recommender import predictors
from corefit_core.recommender.predictors import Sample
from corefit_core.window import Timed

ROUND_S = 2.0


def seen(values: list[float]) -> tuple[list[Sample], tuple[Timed, ...]]:
    """A sample each round, and the peaks of them."""
    samples = [Sample(at=ROUND_S * i, erlangs=v, ceiling=v) for i, v in enumerate(values)]
    peaks: tuple[Timed, ...] = ()
    for index, sample in enumerate(samples):
        peaks = predictors.added(peaks, samples[: index + 1], sample.at)
    return samples, peaks


def predicted(values: list[float]) -> dict[str, float]:
    """What each predictor says, by its name."""
    samples, peaks = seen(values)
    by_each = predictors.predict(samples, peaks, samples[-1].at)
    return dict(zip(predictors.PREDICTORS, by_each, strict=True))


@given(st.floats(0.0, 1e6), st.integers(1, 300))
def test_all_agree_on_load_that_is_constant(erlangs: float, rounds: int) -> None:
    assert list(predicted([erlangs] * rounds).values()) == pytest.approx([erlangs] * 3)


def test_the_short_ones_follow_a_step_and_the_long_ones_stay() -> None:
    said = predicted([2.0] * 300 + [6.0] * 10)
    assert said["last 15 s"] == 6.0
    assert 2.0 < said["last 60 s"] < 6.0
    fell = predicted([6.0] * 300 + [2.0] * 30)
    assert fell["last 60 s"] == 2.0
    assert fell["highest of 15 min"] == 6.0


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=60))
def test_the_highest_is_let_go_when_its_quarter_of_an_hour_is_over(values: list[float]) -> None:
    samples, peaks = seen(values)
    ends = predictors.until(peaks, 0.0)
    later = [*samples, Sample(at=ends, erlangs=0.0, ceiling=0.0)]
    peaks = predictors.added(peaks, later[-1:], later[-1].at)
    assert predictors.predict(later[-1:], peaks, later[-1].at)[predictors.HIGHEST] == 0.0


def test_load_that_is_there_for_sure_falls_with_the_last_five_seconds() -> None:
    samples, _ = seen([10.0] * 30 + [1.0] * 2)
    assert predictors.fallen_to(samples) == pytest.approx((10.0 + 1.0 + 1.0) / 3)
    samples, _ = seen([1.0] * 30 + [10.0] * 2)
    assert predictors.fallen_to(samples) == pytest.approx((6 * 1.0 + 2 * 10.0) / 8), "a mean of 15 s rises last"


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=200))
def test_no_predictor_leaves_what_was_seen(values: list[float]) -> None:
    said = predicted(values)
    assert min(values) - 1e-9 <= min(said.values())
    assert max(said.values()) <= max(values) + 1e-9
