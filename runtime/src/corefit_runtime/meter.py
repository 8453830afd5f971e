"""What the process counts about itself, and the snapshot of it that `/report` and `/metrics` show.

Touched by the event loop's thread only, so an increment needs no lock. May not know HTTP or onnxruntime.
"""

import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from corefit_core import report
from corefit_core.report import BOUNDS_S, Counters, Gauges, Histogram

from corefit_runtime.grant import Throttling

TASKS: Final = Path("/proc/self/task")
CAUSES: Final = ("queue-full", "deadline", "memory", "connections", "loading", "draining")
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
        self.counts[report.bucket(seconds)] += 1
        self.sum_s += seconds
        self.sum_sq_s2 += seconds * seconds

    def frozen(self) -> Histogram:
        """The value now, without the empty buckets at the end."""
        last = max((i for i, c in enumerate(self.counts) if c), default=-1)
        return Histogram(counts=tuple(self.counts[: last + 1]), sum_s=self.sum_s, sum_sq_s2=self.sum_sq_s2)


class Meter:
    """Monotonic counters since the start, histograms, and the sources that are read at a snapshot.

    Args:
        throttling: reads the CFS accounting.
        gauges: reads the pool.
        busy_now_s: worker-seconds of the runs that are under way.
    """

    def __init__(
        self, throttling: Callable[[], Throttling], gauges: Callable[[], Gauges], busy_now_s: Callable[[], float]
    ) -> None:
        self._throttling = throttling
        self._gauges = gauges
        self._busy_now_s = busy_now_s
        self._busy_reported_s = 0.0
        self._run_queue = RunQueueWait()
        self.arrivals = 0
        self.admitted = 0
        self.rejected = dict.fromkeys(CAUSES, 0)
        self.completed = 0
        self.failed = 0
        self.expired = 0
        self.cancelled = 0
        self.invalid = 0
        self.busy_s = 0.0
        self.rows = 0
        self.runs = 0
        self.queue_wait = LiveHistogram()
        self.service_time = LiveHistogram()
        self.total = LiveHistogram()
        self.loop_lag = LiveHistogram()

    def gauges(self) -> Gauges:
        """The pool's gauges now."""
        return self._gauges()

    def counters(self) -> Counters:
        """The counters now. Busy seconds include runs under way and never go back when one of them ends early."""
        throttled = self._throttling()
        self._busy_reported_s = max(self._busy_reported_s, self.busy_s + self._busy_now_s())
        return Counters(
            arrivals=self.arrivals,
            admitted=self.admitted,
            rejected={cause: count for cause, count in self.rejected.items() if count},
            completed=self.completed,
            failed=self.failed,
            expired=self.expired,
            cancelled=self.cancelled,
            busy_worker_seconds=self._busy_reported_s,
            cpu_seconds=time.process_time(),
            throttled_periods=throttled.periods,
            throttled_seconds=throttled.seconds,
            runqueue_wait_seconds=self._run_queue.total_s(),
        )

    @staticmethod
    def max_resident_bytes() -> int:
        """The largest resident set so far."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class RunQueueWait:
    """Seconds that our threads were runnable without a CPU: what neighbours and throttling take.

    `/proc/self/schedstat` covers the main thread alone, so the tasks are summed, and by differences, since the
    sum over living threads would fall when one ends.
    """

    def __init__(self, tasks: Path = TASKS) -> None:
        self._tasks = tasks
        self._seen: dict[str, int] = {}
        self._total_ns = 0

    def total_s(self) -> float:
        """The sum since the start, as far as it was looked at while the threads lived."""
        now = read_run_queue_ns(self._tasks)
        self._total_ns += sum(max(0, ns - self._seen.get(task, 0)) for task, ns in now.items())
        self._seen = dict(now)
        return self._total_ns / 1e9


def read_run_queue_ns(tasks: Path = TASKS) -> Mapping[str, int]:
    """Nanoseconds of run-queue wait by thread id; empty where the kernel doesn't count it."""
    waits: dict[str, int] = {}
    try:
        folders = list(tasks.iterdir())
    except OSError:
        return waits
    for folder in folders:
        try:
            waits[folder.name] = int((folder / "schedstat").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            continue
    return waits
