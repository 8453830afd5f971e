"""The crowds: how many requests come when, and what the pods have that meet them. Values only."""

import itertools
from typing import Any, Final

import msgspec
import numpy as np
from figures import Phase

from corefit.simulate import synthetic

FACTOR: Final = 4
WINDOW_S: Final = 60


class Crowd(msgspec.Struct, frozen=True, kw_only=True):
    """A load, and what pods begin with.

    Attributes:
        key: names the results.
        base: requests a second before the step, which is to `FACTOR` times that from one moment to the next.
        cpu: of a pod as it begins.
        pods: at least, and before the step.
        download_s: until the model's source has given a pod its model; 0: at once.
        settle_s: seconds at the base, before anything counts: scalers learn it, and have what it needs.
        peak_s: of the step.
        rest_s: at the base again, before the replayed minute.
    """

    key: str
    base: float
    cpu: str = "250m"
    pods: int = 1
    download_s: float = 0.0
    settle_s: float = 30.0
    peak_s: float = 40.0
    rest_s: float = 5.0

    def phases(self) -> tuple[Phase, Phase]:
        """The two that count."""
        step = self.settle_s + self.peak_s
        replay = step + self.rest_s
        return (
            Phase(name="step", begin_s=self.settle_s, end_s=step, step_s=self.settle_s),
            Phase(name="burst", begin_s=replay, end_s=replay + WINDOW_S),
        )

    def times(self) -> list[float]:
        """When requests are sent: Poisson, the same in every trial."""
        step, burst = self.phases()
        level = itertools.chain(
            _poisson(self.base, 0.0, step.begin_s, 1),
            _poisson(FACTOR * self.base, step.begin_s, step.end_s, 2),
            _poisson(self.base, step.end_s, burst.begin_s, 3),
        )
        return [*level, *(burst.begin_s + at for at in minute(FACTOR * self.base))]


CROWDS: Final = {
    crowd.key: crowd
    for crowd in (
        # As pods are where models are large: two for a node's loss, and ten seconds of download (100 MB at 10 MB/s)
        # before a new one serves. What two carry is two thirds of the step, and their queues the rest of one second.
        Crowd(key="far", base=12, cpu="150m", pods=2, download_s=10.0, peak_s=60.0),
        # A full pod and its queue just carry the step, and another is there after two and a half seconds.
        Crowd(key="8", base=8),
        # More than one pod carries.
        Crowd(key="16", base=16),
    )
}


def _poisson(rate: float, begin_s: float, end_s: float, seed: int) -> list[float]:
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(2 * rate * (end_s - begin_s) + 100)).cumsum()
    return [float(begin_s + at) for at in gaps if begin_s + at < end_s]


def minute(peak: float) -> list[float]:
    """The minute of the synthetic bursty hour in which the load rises most, from its start."""
    trace = synthetic.trace("bursty", peak)

    def rise(at: int) -> float:
        return _between(trace, at + 30, at + WINDOW_S) - _between(trace, at, at + 10)

    begin = max(range(3600 - WINDOW_S), key=rise)
    return [float(at - begin) for at in trace.arrivals if begin <= at < begin + WINDOW_S]


def _between(trace: Any, begin: float, end: float) -> float:
    return float(((trace.arrivals >= begin) & (trace.arrivals < end)).sum() / (end - begin))
