"""One thread for what would hold the event loop: large JSON, gzip. One, since the cores belong to the workers."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")
log: Final = logging.getLogger(__name__)


class Offload:
    """Runs functions in order on a thread, and hands their outcome to the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="corefit-offload")

    def submit(self, work: Callable[[], T], done: Callable[[T | Exception], None]) -> None:
        """Runs `work` aside, then `done` on the loop with its result or its error."""

        def run() -> None:
            outcome: T | Exception
            try:
                outcome = work()
            except Exception as error:  # noqa: BLE001 - it is handed on
                outcome = error
            self._loop.call_soon_threadsafe(done, outcome)

        self._executor.submit(run)

    def close(self) -> None:
        """Lets the thread end."""
        self._executor.shutdown(wait=False)
