"""What the process counts about itself; `/report` and `/metrics` show it.

Touched by the event loop's thread only, so an increment needs no lock. May not know HTTP or onnxruntime.
"""

import resource
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from corefit_core.errors import DeadlineExceeded, InvalidInput
from corefit_core.histogram import BOUNDS_S, Histogram

if TYPE_CHECKING:
    from corefit_runtime.pool.jobs import Job

CAUSES: Final = ("queue-full", "deadline", "memory", "connections", "loading")
"""Why requests are turned away; all of them are exported from the start, so that a rate has a first value."""


class LiveHistogram:
    """A histogram that grows; `frozen` is its value now."""

    __slots__ = ("counts", "sum_s", "sum_sq_s2")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0
        self.sum_sq_s2 = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one duration."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds
        self.sum_sq_s2 += seconds * seconds

    def frozen(self) -> Histogram:
        """The value now, without the empty buckets at the end."""
        last = max((i for i, c in enumerate(self.counts) if c), default=-1)
        return Histogram(counts=tuple(self.counts[: last + 1]), sum_s=self.sum_s, sum_sq_s2=self.sum_sq_s2)


class Meter:
    """Monotonic counters since the start, and histograms."""

    def __init__(self) -> None:
        self.arrivals = 0
        self.admitted = 0
        self.rejected = dict.fromkeys(CAUSES, 0)
        self.completed = 0
        self.failed = 0
        self.invalid = 0
        self.expired = 0
        self.cancelled = 0
        self.queue_wait = LiveHistogram()
        self.service_time = LiveHistogram()
        self.computed_s = 0.0
        self.computed_sq_s2 = 0.0
        self.total = LiveHistogram()
        self.loop_lag = LiveHistogram()

    def shed(self, cause: str) -> None:
        """Counts a request that was turned away."""
        self.rejected[cause] = self.rejected.get(cause, 0) + 1

    def refused(self, cause: str) -> None:
        """Counts a request that was turned away before it was read."""
        self.arrivals += 1
        self.shed(cause)

    def answered(self, job: "Job", answer: object, now: float) -> None:
        """Counts how an admitted job ended, and how long it took."""
        if isinstance(answer, DeadlineExceeded):
            self.expired += 1
            return
        self.queue_wait.observe(job.started_s - job.arrived_s)
        self.service_time.observe(job.busy_s)
        self.computed_s += job.computed_s
        self.computed_sq_s2 += job.computed_s**2
        self.total.observe(now - job.arrived_s)
        if isinstance(answer, Exception) and not isinstance(answer, InvalidInput):
            self.failed += 1
        else:
            # An input that onnxruntime finds unfit has had its run and its answer.
            self.completed += 1
            self.invalid += isinstance(answer, InvalidInput)


def max_resident_bytes() -> int:
    """The largest resident set so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
