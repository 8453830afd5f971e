"""One thread for what would hold the event loop: large JSON, gzip. One, since the cores belong to the workers."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Offload:
    """Runs functions on a thread for coroutines of the loop.

    Attributes:
        turn: held by the one that uses the thread: what it holds is known before the next one begins.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.turn: Final = asyncio.Lock()
        self._loop = loop
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="corefit-offload")
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Runs a coroutine that answers for its own errors."""
        task = self._loop.create_task(work)
        self._tasks.add(task)  # The loop keeps weak references to tasks only.
        task.add_done_callback(self._tasks.discard)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """What the function returns or raises on the thread."""
        return self._loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """Lets the thread end."""
        self._executor.shutdown(wait=False)
