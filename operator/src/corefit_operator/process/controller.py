"""Works off the dirty resources: many at a time, each alone, with a backoff of its own.

An error of one resource never disturbs another: it is logged, counted, and that resource tried again later.
May not know what a reconcile does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from corefit_operator.cache.view import Key
from corefit_operator.concurrency.backoff import JITTER, Backoff, spread
from corefit_operator.concurrency.workqueue import WorkQueue
from corefit_operator.kube.api_error import ApiError
from corefit_operator.telemetry.metrics import Metrics

LOG: Final = logging.getLogger(__name__)
AT_ONCE: Final = 256
"""Reconciles at once. One of them waits for a silent pod for `collector.DEADLINE_S`; were they 16, as they once were,
forty resources with a silent pod each would make every round of all others last 5 s. Each is 10 KB."""
SHARE: Final = 128
"""Of them those of one namespace, however many resources it has."""
Reconcile = Callable[[Key], Awaitable[float | None]]


class Controller:
    """Hands dirty resources to the reconcile, and puts them back for when they are due again."""

    def __init__(self, queue: WorkQueue[Key], reconcile: Reconcile, metrics: Metrics) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._metrics = metrics
        self._failures: dict[Key, Backoff] = {}

    async def run(self) -> None:
        """Works until it is cancelled."""
        slots = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                key = await self._queue.get()
                self._metrics.dirty.set(len(self._queue))
                group.create_task(self._work(key)).add_done_callback(lambda _: slots.release())

    async def _work(self, key: Key) -> None:
        try:
            again_s = await self._attempt(key)
        finally:
            self._queue.done(key)
        if again_s is None:
            self._queue.forget(key)
        else:
            self._queue.add_after(key, again_s)

    async def _attempt(self, key: Key) -> float | None:
        try:
            with self._metrics.reconcile_seconds.time():
                again_s = await self._reconcile(key)
        except ApiError as error:
            return self._failed(key, error, error.retry_after_s)
        except Exception as error:  # one resource's trouble, a fault of ours included, must not end the others
            LOG.exception("%s: a fault in the operator", key)
            return self._failed(key, error, None)
        self._failures.pop(key, None)
        self._metrics.reconciles.labels("ok").inc()
        return None if again_s is None else again_s * spread(1 - JITTER)

    def _failed(self, key: Key, error: Exception, retry_after_s: float | None) -> float:
        wait = self._failures.setdefault(key, Backoff()).failed(retry_after_s)
        self._metrics.reconciles.labels(type(error).__name__).inc()
        LOG.warning("%s: again in %.1f s: %s", key, wait, error)
        return wait
