"""Each predictor by itself: what it says of load that is constant, has stepped, rises, or was higher before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.recommender import predictors
from corefit_core.recommender.predictors import Block, Sample

ROUND_S = 2.0


def seen(values: list[float]) -> tuple[list[Sample], tuple[Block, ...]]:
    """A sample each round, and the blocks of them."""
    samples = [Sample(at=ROUND_S * i, erlangs=v, ceiling=v) for i, v in enumerate(values)]
    blocks: tuple[Block, ...] = ()
    for index, sample in enumerate(samples):
        blocks = predictors.added(blocks, samples[: index + 1], sample.at)
    return samples, blocks


def predicted(values: list[float], ahead_s: float) -> dict[str, float]:
    """What each predictor says, by its name."""
    samples, blocks = seen(values)
    by_each = predictors.predict(samples, blocks, samples[-1].at, ahead_s)
    return dict(zip(predictors.PREDICTORS, by_each, strict=True))


@given(st.floats(0.0, 1e6), st.integers(1, 300), st.floats(0.0, 600.0))
def test_all_agree_on_load_that_is_constant(erlangs: float, rounds: int, ahead_s: float) -> None:
    assert list(predicted([erlangs] * rounds, ahead_s).values()) == pytest.approx([erlangs] * 7)


def test_the_short_ones_follow_a_step_and_the_long_ones_stay() -> None:
    said = predicted([2.0] * 300 + [6.0] * 10, 20.0)
    assert said["last 15 s"] == 6.0
    assert 2.0 < said["last 60 s"] < 6.0
    assert said["mean of 15 min"] < 2.2
    fell = predicted([6.0] * 300 + [2.0] * 30, 20.0)
    assert fell["last 60 s"] == 2.0
    assert fell["highest of 5 min"] == fell["highest of 15 min"] == 6.0


def test_a_trend_goes_no_further_than_twice_or_half_of_what_is_seen() -> None:
    rising, falling = [float(i) for i in range(1, 31)], [float(30 - i) for i in range(30)]
    up, down = predicted(rising, 600.0), predicted(falling, 600.0)
    assert up["trend of 60 s"] == pytest.approx(2 * up["last 15 s"])
    assert down["trend of 60 s"] == pytest.approx(down["last 15 s"] / 2)


def test_too_few_points_are_no_line() -> None:
    said = predicted([1.0, 3.0], 20.0)
    assert said["trend of 60 s"] == said["last 60 s"] == 2.0


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=60))
def test_the_highest_is_let_go_when_its_quarter_of_an_hour_is_over(values: list[float]) -> None:
    samples, blocks = seen(values)
    ends = predictors.until(blocks, 0.0)
    later = [*samples, Sample(at=ends + predictors.BLOCK_S, erlangs=0.0, ceiling=0.0)]
    blocks = predictors.added(blocks, later[-1:], later[-1].at)
    assert predictors.predict(later[-1:], blocks, later[-1].at, 20.0)[predictors.HIGHEST] == 0.0


def test_rounds_of_one_moment_are_no_line() -> None:
    samples = [Sample(at=5.0, erlangs=v, ceiling=v) for v in (1.0, 2.0, 3.0)]
    said = dict(zip(predictors.PREDICTORS, predictors.predict(samples, (), 5.0, 20.0), strict=True))
    assert said["trend of 60 s"] == said["last 60 s"] == 2.0


def test_a_line_is_where_the_points_lead() -> None:
    """One Erlang more every ten seconds, from ten Erlangs on: 31 rounds later it is 16, and a minute from then 22."""
    said = predicted([10.0 + 0.2 * i for i in range(31)], 60.0)
    assert said["trend of 60 s"] == pytest.approx(22.0)
    assert said["last 15 s"] == pytest.approx(15.3)


def test_load_that_is_there_for_sure_falls_with_the_last_five_seconds() -> None:
    samples, _ = seen([10.0] * 30 + [1.0] * 2)
    assert predictors.fallen_to(samples) == pytest.approx((10.0 + 1.0 + 1.0) / 3)
    samples, _ = seen([1.0] * 30 + [10.0] * 2)
    assert predictors.fallen_to(samples) == pytest.approx((6 * 1.0 + 2 * 10.0) / 8), "a mean of 15 s rises last"


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=200), st.floats(0.0, 120.0))
def test_no_predictor_leaves_what_was_seen_but_a_trend(values: list[float], ahead_s: float) -> None:
    said = predicted(values, ahead_s)
    trends = [said.pop(name) for name in list(said) if name.startswith("trend")]
    short = said["last 15 s"]
    assert min(values) - 1e-9 <= min(said.values())
    assert max(said.values()) <= max(values) + 1e-9
    assert all(short / 2 - 1e-9 <= each <= 2 * short + 1e-9 for each in trends)


def test_three_points_are_a_line() -> None:
    assert predicted([1.0, 2.0, 3.0], 1.0)["trend of 60 s"] == pytest.approx(3.5)
