"""Numbers in messages: plain decimal notation, however large or small they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.figures import figure, milliseconds
from corefit_core.sizing import Grant, Objective, ServiceTime, plan


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (100.0, 2, "100"),
        (99.7, 2, "100"),
        (128000.0, 3, "128000"),
        (0.0160001, 3, "0.016"),
        (0.0, 2, "0"),
        (10.0, 3, "10"),
    ],
)
def test_numbers_are_plain(value: float, digits: int, text: str) -> None:
    assert figure(value, digits) == text


@given(st.floats(-1e12, 1e12), st.integers(1, 6))
def test_no_number_has_an_exponent(value: float, digits: int) -> None:
    text = figure(value, digits)
    assert "e" not in text.lower()
    assert float(text) == float(f"{value:.{digits}g}")


def test_latencies_are_milliseconds() -> None:
    assert milliseconds(3600.0) == "3600000 ms"
    assert milliseconds(0.123456) == "123.456 ms"
    assert figure(0.12345) == "0.123"


def test_the_throughput_of_a_small_model_is_a_plain_number() -> None:
    """It said `1.28e+05 runs a second`."""
    why = plan(Grant(quota_millicores=1000), Objective(), (ServiceTime(threads=1, rows=1, seconds=1 / 128000),)).why
    assert "(128000 runs a second)" in why
