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

from corefit_core import window
from corefit_core.recommender import spans
from corefit_core.window import Timed


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


_AT: Final = operator.attrgetter("at")
PREDICTORS: Final = ("last 15 s", "last 60 s", "highest of 15 min")
SPANS_S: Final = (spans.FAST_S, spans.SLOW_S, spans.LONGEST_S)
"""What each predictor looks back over, by `PREDICTORS`."""
HIGHEST: Final = len(PREDICTORS) - 1
"""The one that says no less than any load of late."""
LEAST_S: Final = 0.1
"""Rounds closer together than that measure nothing."""


def predict(samples: Sequence[Sample], peaks: Sequence[Timed], now: float) -> tuple[float, ...]:
    """The load when a pod asked for now serves, by each of `PREDICTORS`.

    A window that is not full yet holds what is known: so each predictor is judged by all that came. One that began
    later would look the better for what it was spared.

    Args:
        samples: of the last minute.
        peaks: see `added`.
        now: seconds.
    """
    fast, slow = mean(samples, now, spans.FAST_S), mean(samples, now, spans.SLOW_S)
    return fast, slow, max(fast, window.highest(peaks, now, spans.LONGEST_S) or 0.0)


def mean(samples: Sequence[Sample], now: float, span_s: float) -> float:
    """The mean load of the last `span_s` seconds."""
    recent = _recent(samples, now, span_s)
    return sum([s.erlangs for s in recent]) / len(recent) if recent else 0.0


def fallen_to(samples: Sequence[Sample]) -> float:
    """The load that is there for sure: the mean of 5 s shows a fall first, and chance lifts the mean of 15 s less."""
    return min(mean(samples, samples[-1].at, span_s) for span_s in (spans.RECENT_S, spans.FAST_S))


def added(peaks: Sequence[Timed], samples: Sequence[Sample], now: float) -> tuple[Timed, ...]:
    """The highest means of 15 s of the last quarter of an hour, with that of now."""
    return window.pushed(peaks, now, mean(samples, now, spans.FAST_S), spans.LONGEST_S)


def until(peaks: Sequence[Timed], erlangs: float) -> float:
    """When the highest load of the longest window is no longer above so much, if no more comes; seconds."""
    return max([peak.at for peak in peaks if peak.value > erlangs], default=0.0) + spans.LONGEST_S


def _recent(samples: Sequence[Sample], now: float, span_s: float) -> Sequence[Sample]:
    """The samples of the last `span_s` seconds; they are in the order of their times, and the last one is of now."""
    return samples[bisect.bisect_right(samples, now - span_s, key=_AT) :]
