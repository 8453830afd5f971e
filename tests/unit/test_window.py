"""The window of timed values against the plain definition of a maximum over a time."""

from hypothesis import given
from hypothesis import strategies as st

from corefit_core.window import Timed, highest, pushed

values = st.lists(st.tuples(st.floats(0, 50), st.integers(0, 9)), min_size=1, max_size=40)


@given(values, st.floats(0.1, 200))
def test_it_forgets_nothing_that_a_maximum_needs(steps: list[tuple[float, int]], span_s: float) -> None:
    now, everything = 0.0, []
    kept: tuple[Timed, ...] = ()
    for step, value in steps:
        now += step
        everything.append(Timed(now, value))
        kept = pushed(kept, now, value, span_s)
        assert highest(kept, now, span_s) == max(t.value for t in everything if now - span_s < t.at)


@given(values)
def test_it_holds_falling_values_only(steps: list[tuple[float, int]]) -> None:
    now = 0.0
    kept: tuple[Timed, ...] = ()
    for step, value in steps:
        now += step
        kept = pushed(kept, now, value, 1e9)
    assert [t.value for t in kept] == sorted({t.value for t in kept}, reverse=True)


def test_an_empty_window_has_no_opinion() -> None:
    assert highest((), 10.0, 5.0) is None
    assert highest((Timed(1.0, 3.0),), 10.0, 5.0) is None


def test_what_is_older_than_the_span_is_forgotten() -> None:
    """The window is state that is kept between rounds: it must not grow with the time that it has been kept."""
    kept = (Timed(0.0, 9.0), Timed(5.0, 8.0), Timed(8.0, 7.0), Timed(99.0, 6.0))
    assert pushed(kept, 10.0, 1.0, 5.0) == (Timed(8.0, 7.0), Timed(10.0, 1.0))
    assert highest(kept, 10.0, 5.0) == 7.0
