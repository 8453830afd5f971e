"""What the load may be when a pod asked for now is ready: predictors, from the last seconds to the last quarter hour.

None is trusted: `prediction_errors` compares each with what came. The short ones follow, the long ones stay: for load
that comes and goes faster than a pod starts, the cheapest that keeps an objective is to hold what was needed lately.
May not know of queues or pods.
"""

import bisect
import operator
from collections.abc import Sequence
from typing import Final

import msgspec

from corefit_core.recommender import spans


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Offered load at a time.

    Attributes:
        erlangs: as it was worked or turned away.
        ceiling: with every silent pod taken as fully busy.
        arriving: as it arrived.
        waiting: requests that waited in long queues.
    """

    at: float
    erlangs: float
    ceiling: float
    arriving: float = 0.0
    waiting: int = 0


class Block(msgspec.Struct, frozen=True):
    """The load of half a minute: first and last round, how many and the sum of their Erlangs, the highest 15 s mean."""

    begin: float
    end: float
    rounds: int
    erlangs: float
    highest: float


_AT: Final = operator.attrgetter("at")
BLOCK_S: Final = 30.0
"""Long windows are kept in blocks, two a minute: a window is then known to a tenth of the shortest, 5 min."""
SPANS_S: Final = (
    spans.FAST_S,
    spans.SLOW_S,
    spans.SLOW_S,
    spans.LONG_S,
    spans.LONGEST_S,
    spans.LONG_S,
    spans.LONGEST_S,
)
"""What each predictor looks back over, by `PREDICTORS`."""
PREDICTORS: Final = (
    "last 15 s",
    "last 60 s",
    "trend of 60 s",
    "trend of 5 min",
    "mean of 15 min",
    "highest of 5 min",
    "highest of 15 min",
)
HIGHEST: Final = len(PREDICTORS) - 1
"""The one that says no less than any load of late."""
LEAST_S: Final = 0.1
"""Rounds closer together than that measure nothing."""
LEAST_POINTS: Final = 3
"""A line through two points has no error to be known by."""


def predict(samples: Sequence[Sample], blocks: Sequence[Block], now: float, ahead_s: float) -> tuple[float, ...]:
    """The load `ahead_s` seconds from now by each of `PREDICTORS`.

    A window that is not full yet holds what is known: so each predictor is judged by all that came. One that began
    later would look the better for what it was spared.
    """
    fast, slow = mean(samples, now, spans.FAST_S), mean(samples, now, spans.SLOW_S)
    due = now + ahead_s
    rounds = [(s.at, s.erlangs, 1.0) for s in _recent(samples, now, spans.SLOW_S)]
    halves = [
        ((block.begin + block.end) / 2, block.erlangs / block.rounds, float(block.rounds))
        for block in blocks
        if block.end > now - spans.LONG_S
    ]
    # No further than twice or half of what is seen: a line through a step points into the sky.
    trends = [min(2 * fast, max(fast / 2, _line(points, due, slow))) for points in (rounds, halves)]
    long = (
        _mean_of_blocks(blocks),
        max(fast, _highest(blocks, now - spans.LONG_S)),
        max(fast, _highest(blocks, now - spans.LONGEST_S)),
    )
    return (fast, slow, *trends, *long)


def mean(samples: Sequence[Sample], now: float, span_s: float) -> float:
    """The mean load of the last `span_s` seconds."""
    recent = _recent(samples, now, span_s)
    return sum([s.erlangs for s in recent]) / len(recent) if recent else 0.0


def fallen_to(samples: Sequence[Sample]) -> float:
    """The load that is there for sure: the mean of 5 s shows a fall first, and chance lifts the mean of 15 s less."""
    return min(mean(samples, samples[-1].at, span_s) for span_s in (spans.RECENT_S, spans.FAST_S))


def added(blocks: Sequence[Block], samples: Sequence[Sample], now: float) -> tuple[Block, ...]:
    """The blocks with this round in the last of them, without those too old for any predictor."""
    fast, last = mean(samples, now, spans.FAST_S), samples[-1].erlangs
    kept = [block for block in blocks if now - spans.LONGEST_S - BLOCK_S < block.begin]
    if kept and now - kept[-1].begin < BLOCK_S:
        old = kept.pop()
        new = Block(old.begin, now, old.rounds + 1, old.erlangs + last, max(old.highest, fast))
    else:
        new = Block(now, now, 1, last, fast)
    return (*kept, new)


def until(blocks: Sequence[Block], erlangs: float) -> float:
    """When the highest load of the longest window is no longer above so much, if no more comes; seconds."""
    return max([block.begin for block in blocks if block.highest > erlangs], default=0.0) + spans.LONGEST_S


def _mean_of_blocks(blocks: Sequence[Block]) -> float:
    rounds = sum([block.rounds for block in blocks])
    return sum([block.erlangs for block in blocks]) / rounds if rounds else 0.0


def _highest(blocks: Sequence[Block], since: float) -> float:
    return max([block.highest for block in blocks if block.begin > since], default=0.0)


def _line(points: Sequence[tuple[float, float, float]], at: float, otherwise: float) -> float:
    """The straight line through (time, value, weight), by least squares, at a time; too few points: `otherwise`."""
    if len(points) < LEAST_POINTS:
        return otherwise
    total = sum([w for _, _, w in points])
    middle = sum([w * t for t, _, w in points]) / total
    level = sum([w * v for _, v, w in points]) / total
    spread = sum([w * (t - middle) ** 2 for t, _, w in points])
    if spread <= 0:
        return otherwise
    return level + (at - middle) * sum([w * (t - middle) * v for t, v, w in points]) / spread


def _recent(samples: Sequence[Sample], now: float, span_s: float) -> Sequence[Sample]:
    """The samples of the last `span_s` seconds; they are in the order of their times, and the last one is of now."""
    return samples[bisect.bisect_right(samples, now - span_s, key=_AT) :]
