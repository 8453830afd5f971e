"""Answers on their way from the workers' threads to the event loop: it is woken once for all that are ready."""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from corefit_runtime.pool.jobs import Job


class Replies:
    """See the module.

    Args:
        loop: where they are delivered.
        deliver: takes a job, its answer and the time there.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, deliver: Callable[[Job, Any, float], None]) -> None:
        self._loop = loop
        self._deliver = deliver
        self._waiting: deque[tuple[Job, Any]] = deque()
        self._woken = False
        # Not `call_soon_threadsafe`: it holds the GIL while it wakes the loop's thread, which then waits for it.
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        loop.add_reader(self._bell, self._rung)

    def put(self, job: Job, answer: Any) -> None:
        """Hands an answer to the loop; from any thread."""
        self._waiting.append((job, answer))
        if not self._woken:
            self._woken = True
            os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        """Nothing more comes."""
        self._loop.remove_reader(self._bell)
        os.close(self._bell)

    def _rung(self) -> None:
        os.eventfd_read(self._bell)
        # First the flag, then the queue: an answer that comes after the last look sets the flag anew.
        self._woken = False
        now = time.monotonic()
        while self._waiting:
            job, answer = self._waiting.popleft()
            self._deliver(job, answer, now)
