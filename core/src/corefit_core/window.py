"""Timed values of a window and their extremes: scaling down goes by the highest of them.

Values are (time, value) pairs, oldest first. May not know what the values mean, nor read a clock.
"""

from collections.abc import Sequence

import msgspec


class Timed(msgspec.Struct, frozen=True):
    """A value and when it held."""

    at: float
    value: float


def pushed(values: Sequence[Timed], now: float, value: float, span_s: float) -> tuple[Timed, ...]:
    """The window with `value` at `now`, without what no maximum over the last `span_s` seconds can need.

    Kept as a decreasing sequence: an older value that is not above a newer one can never be the maximum again,
    so the window holds as many entries as there are distinct falling levels, whatever the polling rate.
    """
    kept = [t for t in values if now - span_s < t.at <= now and t.value > value]
    return (*kept, Timed(now, value))


def highest(values: Sequence[Timed], now: float, span_s: float) -> float | None:
    """The highest value of the last `span_s` seconds; None when nothing is that recent."""
    return max((t.value for t in values if now - span_s < t.at <= now), default=None)
