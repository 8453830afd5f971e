"""The forecast: what it learns from round to round, and what it rests on."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unit.test_recommender_parts import measured

from corefit_core.recommender import Policy, forecast, prediction_errors, predictors, service_model, spans
from corefit_core.recommender.counters import Moments
from corefit_core.recommender.error_budget import Served
from corefit_core.recommender.forecast import ForecastState
from corefit_core.recommender.prediction_errors import Burst
from corefit_core.recommender.service_model import ServiceState

ROUND_S = 2.0
SERVICE_S, SCV = 0.05, 0.5
POLICY = Policy(round_s=ROUND_S, startup_s=18.0, down_window_s=60.0)
AHEAD_S = 20.0
KNOWN = ServiceState(times=Moments(count=100.0, sum_s=100 * SERVICE_S, sum_sq_s2=100 * SERVICE_S**2 * (1 + SCV)))


def learned(values: list[float]) -> list[ForecastState]:
    """The state after each of rounds with these loads."""
    states = [ForecastState()]
    for index, erlangs in enumerate(values):
        with_sample = forecast.with_sample(states[-1], measured(erlangs=erlangs), ROUND_S * index)
        states.append(forecast.learned(POLICY, with_sample, KNOWN, Served(), ROUND_S))
    return states


def of_last(states: list[ForecastState]) -> forecast.Forecast:
    return forecast.forecast(POLICY, states[-2], KNOWN, states[-1])


@given(st.floats(0.01, 1e4), st.integers(1, 200))
def test_constant_load_is_expected_to_stay(erlangs: float, rounds: int) -> None:
    found = of_last(learned([erlangs] * rounds))
    assert (found.predicted, found.recent, found.highest) == pytest.approx((erlangs,) * 3)
    assert found.returns == 0
    assert sum(weight * ratio for weight, ratio in found.distribution) == pytest.approx(1.0)


@example([1.0] * 100)
@given(st.lists(st.floats(0.0, 100.0), min_size=2, max_size=120))
def test_what_is_kept_is_bounded_by_the_times_that_it_is_for(values: list[float]) -> None:
    """Samples of a minute; predictions until they are due, and the window before them; peaks of a quarter hour."""
    states = learned(values)
    now, last = ROUND_S * (len(values) - 1), states[-1]
    assert now - spans.SLOW_S < last.samples[0].at <= last.samples[-1].at == now
    assert now - POLICY.down_window_s < last.predictions[0].at + ROUND_S  # type: ignore[operator]
    assert len(last.predictions) == min(len(values), int((POLICY.down_window_s or 0) / ROUND_S))
    assert all(a.at < b.at and a.value > b.value for a, b in pairwise(last.peaks))
    for before, after in pairwise(states):
        assert after.compared_at >= before.compared_at
    assert last.compared_at <= now - AHEAD_S
    assert all(prediction.at <= now for prediction in last.predictions)


def test_nothing_is_learned_before_a_prediction_is_due() -> None:
    early, late = learned([1.0] * 10), learned([1.0] * 40)
    assert all(not each.bins for each in early[-1].errors)
    assert all(each.bins for each in late[-1].errors)


def test_an_assumed_event_is_as_wide_as_the_start_up_and_knows_what_is_chance() -> None:
    """Chance is S (1 + c2) / 5 s for one Erlang: the load that is compared is a mean of five seconds."""
    states = learned([4.0] * 3)
    noise_s = SERVICE_S * (1 + SCV) / 5.0
    prior = prediction_errors.assumed((4.0,) * len(predictors.PREDICTORS), AHEAD_S, ROUND_S, noise_s)[0]
    errors = prediction_errors.learned((), [], 0.0)[0]
    assert of_last(states).distribution == prediction_errors.distribution(errors, prediction_errors.BURST, prior)
    spread = learned([4.0, 12.0] * 100)
    wild = prediction_errors.assumed(spread[-2].predictions[-1].erlangs, AHEAD_S, ROUND_S, noise_s)
    number = spread[-2].chosen
    seen = prediction_errors.distribution(spread[-2].errors[number], prediction_errors.BURST, wild[number])
    assert of_last(spread).distribution == seen


def test_a_burst_that_goes_on_within_a_start_up_and_fifteen_seconds_is_one() -> None:
    """Load of twenty times for a moment, none for so long, and again."""

    def bursts(apart_s: float) -> int:
        quiet, high = [1.0] * 60, [20.0] * 3
        return len(learned([*quiet, *high, *[1.0] * round(apart_s / ROUND_S), *high])[-1].bursts)

    assert bursts(AHEAD_S + spans.FAST_S - 10.0) == 1
    assert bursts(AHEAD_S + spans.FAST_S + 10.0) == 2


def test_load_that_is_not_known_leaves_the_samples_as_they_are() -> None:
    before = learned([3.0] * 5)[-1]
    after = forecast.with_sample(before, measured(erlangs=None), ROUND_S * 5)
    assert after.samples == before.samples
    assert forecast.with_sample(before, measured(erlangs=None), 500.0).samples == ()


def test_requests_a_second_are_the_load_of_a_minute_over_the_service_time() -> None:
    state = learned([1.0] * 20 + [4.0] * 30)[-1]
    assert forecast.rate(POLICY, state, KNOWN) == pytest.approx(4.0 / SERVICE_S)
    assert service_model.mean_s(POLICY, KNOWN) == pytest.approx(SERVICE_S)


def test_bursts_are_provided_for_once_they_recur() -> None:
    """Up to eight times the prediction instead of four, from the second one on."""
    known = learned([1.0] * 60)
    rare, often = ((Burst(0.0, 1.0),) * count for count in (1, prediction_errors.RECURS))
    errors = prediction_errors.learned((), [prediction_errors.Compared(0.0, (1.0,) * 7, 7.0)] * 20, 0.0)

    def most(bursts: tuple[Burst, ...]) -> float:
        before = msgspec.structs.replace(known[-2], bursts=bursts, errors=errors)
        return forecast.forecast(POLICY, before, KNOWN, known[-1]).distribution[0][1]

    assert most(often) > most(rare)
