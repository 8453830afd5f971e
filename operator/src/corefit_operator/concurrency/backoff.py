"""How long to wait after a failure: client-go's exponential rate limiter, spread by chance. May not know of what."""

import random
from typing import Final

import msgspec

FIRST_S: Final = 0.5
MOST_S: Final = 60.0
"""Seconds after the first failure, doubled with each, up to a minute; an error mended is noticed within that."""
JITTER: Final = 0.2
"""Share by which each period is shortened or lengthened at random, so that resources spread over a round."""


class Backoff(msgspec.Struct):
    """Of one thing that is tried again and again."""

    failures: int = 0

    def failed(self, retry_after_s: float | None) -> float:
        """Seconds to wait now: no less than the other side wants."""
        self.failures += 1
        grown = min(MOST_S, FIRST_S * 2.0 ** min(self.failures - 1, 10)) * spread(1 - JITTER)
        return max((retry_after_s or 0.0) * spread(1), grown)


def spread(least: float) -> float:
    """A factor around 1, or above it where what it is applied to must not become shorter."""
    return random.uniform(least, 1 + JITTER)  # noqa: S311 - spreads load, guards nothing
