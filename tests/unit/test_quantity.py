"""Quantities: what Kubernetes writes is read exactly, rounded up, and never negative."""

import contextlib
from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.errors import InvalidInput
from corefit_core.quantity import (
    MAX_UNITS,
    MOST_MILLICORES,
    bounded_millicores,
    format_bytes,
    format_millicores,
    parse_bytes,
    parse_millicores,
)


@pytest.mark.parametrize(
    ("text", "millicores"),
    [("250m", 250), ("1.5", 1500), (2, 2000), (0.1, 100), ("1u", 1), ("2k", 2_000_000), (" 1 ", 1000), ("1e-1", 100)],
)
def test_millicores(text: str | float, millicores: int) -> None:
    assert parse_millicores(text) == millicores


@pytest.mark.parametrize(
    ("text", "count"), [("1Gi", 2**30), ("1.5Ki", 1536), ("1500m", 2), ("1E", 10**18), ("1e3", 1000), ("0", 0)]
)
def test_bytes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(("suffix", "power"), list(zip("kMGTPE", range(3, 19, 3), strict=True)))
def test_each_suffix_is_the_one_of_kubernetes(suffix: str, power: int) -> None:
    """apimachinery, resource.Quantity: decimal and binary SI, and decimal exponents. 1G was tested by nobody."""
    assert parse_bytes(f"1{suffix}") == parse_bytes(f"1e{power}") == parse_bytes(f"1E{power}") == 10**power
    assert parse_bytes(f"1{suffix.upper()}i") == 2 ** (power // 3 * 10)


@pytest.mark.parametrize(("suffix", "count"), [("", 1), ("m", 1000), ("u", 10**6), ("n", 10**9)])
def test_so_many_of_a_small_unit_are_one(suffix: str, count: int) -> None:
    assert parse_bytes(f"{count}{suffix}") == 1
    assert parse_bytes(f"{count + 1}{suffix}") == 2


@pytest.mark.parametrize(
    "text", ["", "1 Gi", "Gi", "1gi", "0x1", "1e", "--1", "nan", "inf", "1.2.3", "1Gim", "\u0661m"]
)
def test_nonsense_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a quantity"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["-1", "-0.1m", "9223372036854775808", "1e999"])
def test_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_bytes(text)


@given(st.integers(0, MAX_UNITS))
def test_what_is_formatted_is_read_back(count: int) -> None:
    assert parse_bytes(format_bytes(count)) == count
    assert parse_millicores(format_millicores(count)) == count


@given(st.decimals(0, 10**9, places=6, allow_nan=False))
def test_rounding_is_up(number: Decimal) -> None:
    assert parse_bytes(str(number)) == int(number.to_integral_value(ROUND_CEILING))


@given(st.text(max_size=12))
def test_any_text_is_a_number_or_an_error(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        assert 0 <= parse_bytes(text) <= MAX_UNITS


def test_cpu_that_others_wrote_is_bounded_and_rounded_up() -> None:
    """A pod of somebody's may ask for 9E of CPU; that must be added up, and is no error of ours."""
    assert [bounded_millicores(text) for text in ("250m", "1.5", "1u", 0)] == [250, 1500, 1, 0]
    assert bounded_millicores("9E") == bounded_millicores("3M") == MOST_MILLICORES == 2**31 - 1
    for nonsense in ("-1", "x"):
        with pytest.raises(InvalidInput):
            bounded_millicores(nonsense)


def test_the_largest_number_is_that_of_kubernetes() -> None:
    """An int64, in the unit in which it is counted."""
    assert parse_bytes(str(2**63 - 1)) == MAX_UNITS == 2**63 - 1
    assert parse_millicores("9223372036854775807m") == MAX_UNITS
    with pytest.raises(InvalidInput, match="larger than Kubernetes can hold"):
        parse_millicores("9223372036854775808m")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (1, "1"), (1023, "1023"), (1024, "1Ki"), (1536, "1536"), (3 << 20, "3Mi"), (5 << 60, "5Ei")],
)
def test_bytes_are_written_with_the_largest_suffix_that_keeps_them_whole(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (999, "999m"), (1000, "1"), (1001, "1001m"), (2000, "2")])
def test_whole_cores_are_written_without_a_suffix(count: int, text: str) -> None:
    assert format_millicores(count) == text
