"""When requests are to be sent: steps of constant rate, as a list of times known before the first is sent.

Pure: the same steps and seed give the same times. May not look at a clock.
"""

import itertools
import math
import random
from collections.abc import Iterator, Sequence

import msgspec

from corefit_core.errors import InvalidInput


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """So many requests a second for so many seconds; none in a pause."""

    rate: float
    duration_s: float

    def __post_init__(self) -> None:
        """Refuse what has no meaning, before anything is sent."""
        if not 0 <= self.rate < math.inf:
            raise InvalidInput(f"a rate of {self.rate}/s; it must be zero or more and finite")
        if not 0 < self.duration_s < math.inf:
            raise InvalidInput(f"a duration of {self.duration_s} s; it must be above zero and finite")


def intended_times(steps: Sequence[Step], *, seed: int | None = 0) -> Iterator[float]:
    """Seconds from the start at which each request is to be sent, in order.

    With a seed the arrivals are Poisson (independent clients: what a queue meets in the world, and what makes it
    wait); with None they are evenly spaced, the kindest load there is.
    """
    gaps = _even() if seed is None else _exponential(random.Random(seed))  # noqa: S311 - arrivals, not secrets
    start = 0.0
    for step in steps:
        yield from _within(step, start, gaps)
        start += step.duration_s


def duration_s(steps: Sequence[Step]) -> float:
    """How long all the steps take."""
    return sum(step.duration_s for step in steps)


def rate_at(steps: Sequence[Step], at_s: float) -> float:
    """The rate of the step that `at_s` is in; 0 outside of all."""
    ends = itertools.accumulate(step.duration_s for step in steps)
    return next((step.rate for step, end in zip(steps, ends, strict=True) if 0 <= at_s < end), 0.0)


def _within(step: Step, start: float, gaps: Iterator[float]) -> Iterator[float]:
    if step.rate == 0:
        return
    at, end = start + next(gaps) / step.rate, start + step.duration_s
    while at < end:
        yield at
        at += next(gaps) / step.rate


def _even() -> Iterator[float]:
    return itertools.repeat(1.0)


def _exponential(source: random.Random) -> Iterator[float]:
    while True:
        yield source.expovariate(1.0)
