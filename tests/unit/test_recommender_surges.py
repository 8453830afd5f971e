"""Load that rises within seconds: a step is seen in its round, chance is none, and queues are worked off."""

from hypothesis import given
from hypothesis import strategies as st

from corefit_core.recommender import queueing, surges
from corefit_core.recommender.predictors import Sample

SERVICE = queueing.Service(service_s=0.05, scv=0.1, latency_s=0.15, workers=2, pooling=1.0)


def samples(*erlangs: float, waiting: int = 0) -> list[Sample]:
    """One each second; the last with so many requests in queues."""
    last = len(erlangs) - 1
    return [
        Sample(at=float(i), erlangs=e, ceiling=e, arriving=e, waiting=waiting if i == last else 0)
        for i, e in enumerate(erlangs)
    ]


@given(st.floats(0.0, 1000.0), st.integers(2, 30))
def test_constant_load_has_no_step(erlangs: float, rounds: int) -> None:
    assert surges.step(samples(*[erlangs] * rounds), SERVICE) == 0.0


@given(st.floats(0.5, 50.0), st.floats(5.0, 20.0), st.integers(1, 4))
def test_a_step_is_seen_in_its_first_round_at_its_height(erlangs: float, times: float, rounds: int) -> None:
    high = erlangs * times
    found = surges.step(samples(*[erlangs] * 15, *[high] * rounds), SERVICE)
    assert abs(found - high) <= 1e-9 * high


def test_a_step_is_none_after_five_seconds() -> None:
    assert surges.step(samples(*[2.0] * 15, *[20.0] * 7), SERVICE) == 0.0


@given(st.lists(st.floats(0.0, 100.0), min_size=3, max_size=20), st.floats(0.0, 60.0))
def test_no_more_than_twice_the_last_load_is_expected(erlangs: list[float], seconds: float) -> None:
    seen = samples(*erlangs)
    step = surges.step(seen, SERVICE)
    most = max(2 * erlangs[-1], surges.recent(seen), step)
    assert surges.at_resize(seen, SERVICE, seconds, step) <= most + 1e-9


def test_a_queue_is_worked_off_within_a_round() -> None:
    assert surges.catching_up(samples(1.0, 1.0, waiting=40), SERVICE, 2.0) == 40 * SERVICE.service_s / 2.0
    assert surges.catching_up(samples(1.0, 1.0), SERVICE, 2.0) == 0.0


def test_a_step_is_one_for_five_seconds_and_no_longer() -> None:
    assert surges.step(samples(*[2.0] * 15, *[20.0] * 5), SERVICE) == 20.0
    assert surges.step(samples(*[2.0] * 15, *[20.0] * 6), SERVICE) == 0.0


def test_of_few_requests_it_takes_three_at_once_to_be_a_step() -> None:
    """A count of few is often far above its mean: after a quiet quarter of a minute two come together by chance."""
    one = SERVICE.service_s
    assert surges.step(samples(*[0.0] * 15, 2 * one), SERVICE) == 0.0
    assert surges.step(samples(*[0.0] * 15, 3 * one), SERVICE) == 3 * one


LONG = queueing.Service(service_s=3.0, scv=0.1, latency_s=9.0, workers=2, pooling=1.0)


def test_a_request_takes_one_worker_however_short_the_round() -> None:
    queued = samples(1.0, 1.0, waiting=40)
    assert surges.catching_up(queued, SERVICE, 0.5) == 40 * SERVICE.service_s / 0.5
    assert surges.catching_up(queued, SERVICE, 0.05) == 40 * SERVICE.service_s / 0.1, "no round is taken for shorter"
    assert surges.catching_up(queued, LONG, 2.0) == 40


def test_a_rise_counts_as_far_as_both_of_the_last_two_are_surer_than_chance() -> None:
    here = surges.at_resize(samples(4.0, 8.0, 12.0), SERVICE, 0.5, 12.0)
    assert 12.0 < here < 14.0, "at 4 Erlangs a second, less a standard error"
    assert surges.at_resize(samples(4.0, 4.0, 12.0), SERVICE, 0.5, 12.0) == 12.0, "one rise is a step"
    assert surges.at_resize(samples(4.0, 12.0), SERVICE, 0.5, 12.0) == 12.0
