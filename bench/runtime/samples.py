"""What the client is asked to do and what it answers, and the figures read from its samples. May not do I/O."""

import itertools
from typing import Any, Final

import msgspec
import numpy as np

INTENDED: Final = 0
SENT: Final = 1
DONE: Final = 2
STATUS: Final = 3
"""Columns of a sample: seconds from the start of the run, and the answer's HTTP status or one of the two below."""
NOT_SENT: Final = -1
"""All of the stream's connections were busy."""
UNANSWERED: Final = 0
"""The connection was closed or the run ended before the answer."""
OK: Final = 200

Array = np.ndarray[Any, np.dtype[np.float64]]
"""Samples, one a row."""


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """Equal requests at given rates (open loop), or as fast as the answers come (closed loop: no steps).

    Attributes:
        request_file: the request as bytes, head and body.
        steps: pairs of requests a second and seconds.
        poisson: exponential instead of even gaps. Even gaps show what a server adds to its own service time;
            Poisson arrivals queue by themselves (M/D/1).
        connections: opened before the start.
        max_connections: beyond it a request counts as not sent.
    """

    name: str
    port: int
    request_file: str
    host: str = "127.0.0.1"
    steps: tuple[tuple[float, float], ...] = ()
    poisson: bool = False
    seed: int = 0
    connections: int = 1
    max_connections: int = 1000

    @property
    def closed(self) -> bool:
        """Whether the next request waits for the last answer."""
        return not self.steps

    def times(self) -> list[float]:
        """When to send, seconds from the start."""
        random = np.random.default_rng(self.seed)
        starts = itertools.accumulate((seconds for _, seconds in self.steps), initial=0.0)
        times: list[float] = []
        for start, (rate, seconds) in zip(starts, self.steps, strict=False):
            count = int(rate * seconds)
            gaps = random.exponential(1 / rate, count) if self.poisson else np.full(count, 1 / rate)
            within = start + np.cumsum(gaps)
            times.extend(within[within < start + seconds].tolist())
        return times


def within(samples: Array, start: float, end: float, column: int = INTENDED) -> Array:
    """The samples whose `column` lies in [start, end)."""
    chosen = samples[:, column]
    result: Array = samples[(chosen >= start) & (chosen < end)]
    return result


def answered(samples: Array) -> Array:
    """The samples with status 200."""
    result: Array = samples[samples[:, STATUS] == OK]
    return result


def latency_s(samples: Array, quantile: float) -> float:
    """The quantile of the latency from the intended send time of the answers with status 200; NaN without any."""
    good = answered(samples)
    return float(np.quantile(good[:, DONE] - good[:, INTENDED], quantile)) if len(good) else float("nan")


def lateness_s(samples: Array, quantile: float = 0.99) -> float:
    """By how much the client itself sent late."""
    return float(np.quantile(samples[:, SENT] - samples[:, INTENDED], quantile)) if len(samples) else float("nan")


def statuses(samples: Array) -> dict[str, int]:
    """How often each status came."""
    values, counts = np.unique(samples[:, STATUS].astype(int), return_counts=True)
    names = {NOT_SENT: "not sent", UNANSWERED: "unanswered"}
    return {names.get(int(v), str(int(v))): int(c) for v, c in zip(values, counts, strict=True)}
