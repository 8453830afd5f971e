"""Durations in buckets, as a report has them: counted, added, subtracted, and read as quantiles and moments. Pure."""

import bisect
import math
from typing import Annotated, Final

import msgspec

from corefit_core.errors import InvalidInput

_STEPS_PER_DOUBLING: Final = 4
BOUNDS_S: Final[tuple[float, ...]] = tuple(1e-4 * 2 ** (i / _STEPS_PER_DOUBLING) for i in range(80))
"""Upper bounds of the latency buckets, seconds: 100 us to 88 s in steps of 19 %, and one bucket above.

A quantile read from them is off by at most 19 %, and by less with the interpolation below. Fixed for version 1:
differences and sums of histograms need equal bounds.
"""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""What a float holds exactly: a million requests a second need 285 years to count so far."""
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
"""A thousand threads that wait for 30 years. With larger numbers sums of squares would overflow."""
SecondsSquared = Annotated[float, msgspec.Meta(ge=0, le=1e18)]


class Histogram(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Durations in buckets, with the moments that queueing formulas need exactly.

    Attributes:
        counts: one per bucket of `BOUNDS_S` and one above; may be shorter, the rest is zero.
        sum_s: sum of the durations, seconds.
        sum_sq_s2: sum of their squares, seconds squared.
    """

    counts: Annotated[tuple[Count, ...], msgspec.Meta(max_length=len(BOUNDS_S) + 1)] = ()
    sum_s: Seconds = 0.0
    sum_sq_s2: SecondsSquared = 0.0

    @property
    def count(self) -> int:
        """How many durations were observed."""
        return sum(self.counts)

    @property
    def mean_s(self) -> float | None:
        """Mean in seconds, None without observations."""
        return self.sum_s / self.count if self.count else None

    @property
    def variance_s2(self) -> float | None:
        """Variance in seconds squared, None without observations."""
        if not self.count:
            return None
        mean = self.sum_s / self.count
        return max(0.0, self.sum_sq_s2 / self.count - mean * mean)

    def quantile_s(self, q: float) -> float | None:
        """The q-quantile (0 <= q <= 1) in seconds, log-linear within its bucket; None without observations."""
        total = self.count
        if not total:
            return None
        rank, below = q * total, 0
        for index, count in enumerate(self.counts):
            if count and below + count >= rank:
                return _within(index, (rank - below) / count)
            below += count
        return BOUNDS_S[-1]

    def plus(self, other: "Histogram") -> "Histogram":
        """The two histograms as one."""
        width = max(len(self.counts), len(other.counts))
        pairs = zip(_padded(self.counts, width), _padded(other.counts, width), strict=True)
        return Histogram(
            counts=tuple(a + b for a, b in pairs),
            sum_s=self.sum_s + other.sum_s,
            sum_sq_s2=self.sum_sq_s2 + other.sum_sq_s2,
        )

    def minus(self, earlier: "Histogram") -> "Histogram":
        """What was observed since `earlier`, a snapshot of the same process.

        Raises:
            InvalidInput: a count went backwards, so it was not the same process.
        """
        width = max(len(self.counts), len(earlier.counts))
        pairs = zip(_padded(self.counts, width), _padded(earlier.counts, width), strict=True)
        counts = tuple(a - b for a, b in pairs)
        if any(c < 0 for c in counts):
            raise InvalidInput("a histogram's count went backwards")
        return Histogram(
            counts=counts,
            sum_s=max(0.0, self.sum_s - earlier.sum_s),
            sum_sq_s2=max(0.0, self.sum_sq_s2 - earlier.sum_sq_s2),
        )


def bucket(seconds: float) -> int:
    """The index in `Histogram.counts` that a duration belongs to."""
    return bisect.bisect_left(BOUNDS_S, seconds)


def place(seconds: float) -> tuple[int, float]:
    """The bucket that a duration belongs to, and the share of that bucket's durations that are not longer.

    As for quantiles, durations are taken to be spread log-linearly within a bucket.
    """
    index = bucket(seconds)
    if index >= len(BOUNDS_S):
        return index, 1.0
    lower = _within(index, 0.0)
    return index, max(0.0, math.log(seconds / lower) / math.log(BOUNDS_S[index] / lower)) if seconds > 0 else 0.0


def _padded(counts: tuple[int, ...], width: int) -> tuple[int, ...]:
    return counts + (0,) * (width - len(counts))


def _within(index: int, share: float) -> float:
    if index >= len(BOUNDS_S):
        return BOUNDS_S[-1]
    upper = BOUNDS_S[index]
    lower = BOUNDS_S[index - 1] if index else upper / 2
    return lower * math.exp(share * math.log(upper / lower))
