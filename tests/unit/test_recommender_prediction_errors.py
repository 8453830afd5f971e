"""Predictors and their errors: what came is provided for, the cheapest is used, one burst is no evidence of another."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corefit_core.recommender import prediction_errors, predictors, spans
from corefit_core.recommender.prediction_errors import Assumed, Burst, Compared, Errors, Prediction
from corefit_core.recommender.predictors import Sample
from corefit_core.window import Timed

BURST, MOST = prediction_errors.BURST, prediction_errors.MOST
EACH = len(predictors.PREDICTORS)
NOTHING = Assumed(0.0, ((1.0, 1.0),))
"""An assumption that weighs nothing beside what was seen."""


def taught(rounds: Sequence[tuple[tuple[float, ...], float]]) -> tuple[Errors, ...]:
    known: tuple[Errors, ...] = ()
    for held, actual in rounds:
        known = prediction_errors.learned(known, [Compared(0.0, held, actual)], 5.0)
    return known


def samples_of(values: list[float]) -> list[Sample]:
    return [Sample(at=5.0 * i, erlangs=v, ceiling=v) for i, v in enumerate(values)]


def test_growth_that_came_before_is_provided_for() -> None:
    known = taught([((10.0,) * EACH, 20.0)] * 100)
    assert prediction_errors.distribution(known[0], MOST, NOTHING)[0] == (pytest.approx(0.5), pytest.approx(2.0))


def test_the_cheapest_predictor_is_used() -> None:
    rounds = []
    for step in range(200):
        actual = 10.0 + step % 7
        wild = actual * (0.5 if step % 2 else 2.0)
        rounds.append(((wild, actual, 40.0), actual))
    assert predictors.PREDICTORS[prediction_errors.best(taught(rounds), [NOTHING] * EACH, 0.01, MOST)] == "last 60 s"


def test_load_that_comes_and_goes_is_held_for() -> None:
    """Ones and fours: who follows is late at each rise and each fall, who stays is not."""
    turns = ((1.0, 4.0), (4.0, 4.0), (4.0, 1.0), (1.0, 1.0))
    rounds = [((held, held, 4.0), actual) for held, actual in turns * 50]
    assert predictors.SPANS_S[prediction_errors.best(taught(rounds), [NOTHING] * EACH, 0.01, MOST)] >= 300


def test_before_anything_was_seen_growth_is_provided_for_by_the_start_up() -> None:
    short, long = (prediction_errors.assumed((10.0,) * EACH, ahead_s, 2.0, 0.0)[0] for ahead_s in (5.0, 60.0))
    of_short, of_long = (
        prediction_errors.distribution(prediction_errors.UNKNOWN[0], MOST, prior) for prior in (short, long)
    )
    assert 1.0 < of_short[0][1] < of_long[0][1] < BURST
    assert sum(weight * ratio for weight, ratio in of_long) == pytest.approx(1.0)


def test_what_chance_spreads_is_not_provided_for_twice() -> None:
    """Ratios that waver by as much as their measure does by chance say nothing of the load."""
    known = taught([((10.0,) * EACH, 9.5), ((10.0,) * EACH, 10.5)] * 50)
    chance = NOTHING._replace(noise=0.05**2)
    of_load, of_chance = (prediction_errors.distribution(known[0], MOST, prior)[0][1] for prior in (NOTHING, chance))
    assert of_load == pytest.approx(1.05, rel=0.01)
    assert of_chance == pytest.approx(1.0, rel=0.01)


def test_what_looks_back_long_takes_long_to_be_believed() -> None:
    """Ten minutes without any error: many starts of a pod for the last 15 s, not one whole window for 15 minutes."""
    priors = prediction_errors.assumed((10.0,) * EACH, 60.0, 2.0, 0.0)
    known = taught([((10.0,) * EACH, 10.0)] * 300)
    rest = [
        1 - max(w for w, ratio in prediction_errors.distribution(known[0], MOST, prior) if 0.99 < ratio < 1.01)
        for prior in priors
    ]
    assert predictors.PREDICTORS[rest.index(min(rest))] == "last 15 s"
    assert predictors.SPANS_S[rest.index(max(rest))] == spans.LONGEST_S
    assert prediction_errors.best(known, priors, 0.005, MOST) == 0


def test_a_prediction_counts_as_the_highest_of_the_window_before_it() -> None:
    past = [Prediction(at, (value, 1.0)) for at, value in ((0.0, 9.0), (50.0, 4.0), (70.0, 3.0), (80.0, 99.0))]
    assert prediction_errors.held(past, past[2], 60.0) == (4.0, 1.0)


def test_one_burst_and_its_shoulders_teach_nothing_two_do() -> None:
    waiting = [Compared(float(at), (1.0,), 3.0) for at in range(60, 140)]
    first = (Burst(90.0, 110.0),)
    ripe, pending = prediction_errors.ripened(waiting, [], first, 140.0, 20.0)
    assert {c.at for c in ripe} == set(range(60, 71))
    assert {c.at for c in pending} == set(range(130, 140))
    ripe, _ = prediction_errors.ripened(waiting, [], (*first, Burst(135.0, 136.0)), 140.0, 20.0)
    assert len(ripe) == 61


def test_bursts_apart_are_counted_and_forgotten_after_an_hour() -> None:
    quiet, crowd = (1.0,) * (len(predictors.PREDICTORS) - 1), 4.0
    seen: tuple[Burst, ...] = ()
    for now, highest in ((100.0, 1.0), (102.0, 1.0), (110.0, 1.0), (700.0, 4.0), (1300.0, 9.0)):
        seen = prediction_errors.bursts(seen, crowd, [(*quiet, highest)], 35.0, now)
    assert seen == (Burst(100.0, 110.0), Burst(700.0, 700.0, returned=True), Burst(1300.0, 1300.0))
    assert prediction_errors.returns(seen) == 1, (
        "neither the first time that load is as high is a return, nor a lower crowd"
    )
    later = prediction_errors.bursts(seen, 1.0, [(*quiet, 1.0)], 35.0, 110.0 + spans.MEMORY_S)
    assert later == seen[1:]


def test_a_window_that_is_not_full_yet_holds_what_is_known() -> None:
    assert predictors.predict(samples_of([4.0] * 12), (Timed(10.0, 9.0),), 55.0) == (4.0, 4.0, 9.0)


def test_what_lies_below_the_predicted_load_is_told_apart() -> None:
    """Held for its highest, load that is a quarter or nine tenths of it needs nine tenths, not their mean."""
    known = taught([((10.0,) * EACH, 2.5), ((10.0,) * EACH, 9.0)] * 50)
    outlook = [
        (weight, ratio) for weight, ratio in prediction_errors.distribution(known[0], MOST, NOTHING) if weight > 1e-3
    ]
    assert [ratio for _, ratio in outlook] == pytest.approx([0.9, 0.25], rel=0.03)
    cost = prediction_errors._factor(outlook, 0.0) / prediction_errors._mean(prediction_errors._seen(known[0], MOST))
    assert cost == pytest.approx(9.0 / 5.75, rel=0.03)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=400))
def test_peaks_keep_a_quarter_of_an_hour_and_its_highest(values: list[float]) -> None:
    peaks: tuple[Timed, ...] = ()
    samples, means = samples_of(values), []
    for index, sample in enumerate(samples):
        recent = samples[max(0, index - 12) : index + 1]
        means.append(predictors.mean(recent, sample.at, spans.FAST_S))
        peaks = predictors.added(peaks, recent, sample.at)
    assert peaks[0].at > samples[-1].at - spans.LONGEST_S
    assert peaks[0].value == max(means[-180:])


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=12))
def test_predictions_are_loads(values: list[float]) -> None:
    samples = samples_of(values)
    now = samples[-1].at
    predicted = predictors.predict(samples, predictors.added((), samples, now), now)
    assert len(predicted) == len(predictors.PREDICTORS) == len(predictors.SPANS_S)
    assert all(0 <= p <= max(values) * (1 + 1e-9) for p in predicted)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=60),
    st.floats(0.0, 0.1),
    st.sampled_from([BURST, MOST]),
    st.floats(0.0, 600.0),
)
@example([(1.0, 5e-324)], 0.0, MOST, 20.0)
def test_the_outlook_is_of_all_requests_and_the_cost_is_finite(
    pairs: list[tuple[float, float]], allowed: float, most: float, ahead_s: float
) -> None:
    known = taught([((held,) * EACH, actual) for held, actual in pairs])
    priors = prediction_errors.assumed((pairs[0][0],) * EACH, ahead_s, 2.0, 0.005)
    outlook = prediction_errors.distribution(known[0], most, priors[0])
    assert all(weight >= 0 and 0 <= ratio <= 2 * most for weight, ratio in outlook)
    assert sum(weight * ratio for weight, ratio in outlook) <= 1 + 1e-9
    assert math.isfinite(prediction_errors._factor(outlook, allowed))
    assert 0 < prediction_errors._mean(prediction_errors._seen(known[0], most)) <= most * (1 + 1e-9)
    assert 0 <= prediction_errors.best(known, priors, allowed, most) < len(predictors.PREDICTORS)


@given(
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 100.0)), max_size=10),
    st.floats(0.0, 1e6),
    st.floats(0.0, 1e6),
)
def test_no_load_is_held_for_that_is_far_above_any_of_late(
    outlook: list[tuple[float, float]], predicted: float, ceiling: float
) -> None:
    bounded = prediction_errors.bounded(outlook, predicted, ceiling)
    assert [weight for weight, _ in bounded] == [weight for weight, _ in outlook]
    for (_, now), (_, before) in zip(bounded, outlook, strict=True):
        assert now <= before
        assert predicted * now <= max(predicted, ceiling) * (1 + 1e-9) or now == 0


def test_what_arrivals_differ_by_chance_is_no_growth() -> None:
    """Twice and four times the load in turn: a mean of 3, and a variance of 1 over 9 of its square."""
    known = taught([((10.0,) * EACH, 20.0), ((10.0,) * EACH, 40.0)] * 50)

    def seen(noise: float) -> list[tuple[float, float]]:
        return [(p, r) for p, r in prediction_errors.distribution(known[0], MOST, NOTHING._replace(noise=noise)) if p]

    def spread(noise: float) -> float:
        found = seen(noise)
        return found[0][1] - min(ratio for weight, ratio in found if weight > 0.01)

    assert spread(0.0) == pytest.approx(2.0, rel=0.02)
    assert spread(1 / 36) == pytest.approx(2.0 * math.sqrt(0.75), rel=0.02), "a quarter of the variance is chance"
    assert spread(1 / 9) == pytest.approx(0.0, abs=0.05), "all of it"
    assert spread(1.0) == pytest.approx(0.0, abs=1e-6)


def test_what_comes_most_is_remembered_as_far_as_it_is_provided_for() -> None:
    """Up to eight times what was held, and no more of it."""
    for times in (MOST, 10 * MOST):
        known = taught([((10.0,) * EACH, 10.0 * times)] * 10)
        assert prediction_errors.distribution(known[0], MOST, NOTHING)[0][1] == pytest.approx(MOST)


def test_where_nothing_is_known_the_first_predictor_is_used() -> None:
    assert prediction_errors.best((), (), 0.01, MOST) == 0


def test_a_burst_goes_on_where_the_newest_one_ended_a_moment_ago() -> None:
    before, held = (Burst(0.0, 5.0), Burst(1000.0, 1005.0)), [(1.0,) * EACH]
    assert prediction_errors.bursts(before, 100.0, held, 30.0, 1010.0) == (before[0], Burst(1000.0, 1010.0))
    assert prediction_errors.bursts(before, 100.0, held, 30.0, 1035.0) == (*before, Burst(1035.0, 1035.0))
    assert prediction_errors.bursts(before[:1], 100.0, held, 30.0, 45.0) == (before[0], Burst(45.0, 45.0))
    assert prediction_errors.bursts(before, 1.0, held, 30.0, 1010.0) == before, "no more than was held for"
    assert prediction_errors.bursts(before, 1.0, held, 30.0, 3605.0) == before[1:], "an hour ago"


def test_what_is_assumed_has_the_moments_of_a_normal_distribution() -> None:
    """In doublings: no drift, a standard deviation of one after two hours, and no skew."""
    assumed = prediction_errors.assumed((1.0,) * EACH, 7200.0, 2.0, 0.0)[0]
    doublings = [(chance, math.log2(ratio)) for chance, ratio in assumed.ratios]
    moments = [sum(chance * each**power for chance, each in doublings) for power in range(5)]
    assert moments == pytest.approx([1.0, 0.0, 1.0, 0.0, 3.0], abs=1e-9)
