"""How loaded the process is, for balancers of others: rates of the last second, and what waits now. Counts nothing.

Nothing is done while nobody asks: who asks first after a second begins the next one.
"""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from corefit_runtime.pool.pool import Pool
from corefit_runtime.serving.servable import Published
from corefit_runtime.telemetry.meter import Meter

WINDOW_S: Final = 1.0
"""Seconds over which rates are counted, at least: at one moment a worker is busy or not, and a balancer goes by the
last report alone."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One look.

    Attributes:
        cpu_utilization: CPU that the process used, over what it is granted.
        utilization: time that workers ran the model, and requests that wait for one now, over the workers: above 1
            where more comes than they can do; 1 while there is no model.
        requests: that came, a second; 0 until a second is over.
        errors: those that were refused, failed or came to their deadline, a second.
        waiting: requests that wait for a worker.
        running: requests that have one.
    """

    cpu_utilization: float
    utilization: float
    requests: float
    errors: float
    waiting: int
    running: int


class _Sums(msgspec.Struct, frozen=True, kw_only=True):
    at_s: float
    cpu_s: float
    busy_s: float
    arrivals: int
    errors: int


class LoadMeter:
    """See the module.

    Args:
        meter: what is counted.
        pool: who works.
        published: the plan in force.
        clock: monotonic seconds.
    """

    def __init__(
        self, meter: Meter, pool: Pool, published: Published, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._meter = meter
        self._pool = pool
        self._published = published
        self._clock = clock
        self._begun = self._ended = self._sums()

    def now(self) -> Load:
        """The load."""
        if self._clock() - self._ended.at_s >= WINDOW_S:
            self._begun, self._ended = self._ended, self._sums()
        begun, ended, gauges = self._begun, self._ended, self._pool.gauges()
        seconds = (ended.at_s - begun.at_s) or 1.0
        servable = self._published.servable
        workers, millicores = (servable.plan.workers, servable.plan.grant_millicores) if servable else (0, 0)
        busy = (ended.busy_s - begun.busy_s) / seconds + gauges.queued
        return Load(
            cpu_utilization=1000 * (ended.cpu_s - begun.cpu_s) / seconds / millicores if millicores else 0.0,
            utilization=busy / workers if workers else 1.0,
            requests=(ended.arrivals - begun.arrivals) / seconds,
            errors=(ended.errors - begun.errors) / seconds,
            waiting=gauges.queued,
            running=gauges.running,
        )

    def _sums(self) -> _Sums:
        meter = self._meter
        return _Sums(
            at_s=self._clock(),
            cpu_s=time.process_time(),
            busy_s=self._pool.busy_s(),
            arrivals=meter.arrivals,
            errors=sum(meter.rejected.values()) + meter.failed + meter.expired,
        )
