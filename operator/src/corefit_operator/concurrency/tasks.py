"""How the program's parts run side by side and end: the first that ends, ends all. May not know what they do."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeAlias

Run: TypeAlias = Callable[[], Awaitable[None]]


class Stopping:
    """SIGTERM and SIGINT as something that can be waited for."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self.install()

    def install(self) -> None:
        """Takes the signals, also back from whoever has taken them meanwhile."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked.set)

    async def wait(self) -> None:
        """Until the process gets the signal to end."""
        await self._asked.wait()


async def first_of(*runs: Run, before_end: Run | None = None) -> None:
    """Runs all until one ends; the others are then cancelled, and its error, if it had one, is raised.

    Args:
        runs: what is run.
        before_end: awaited before the others are cancelled.
    """
    await first_ended([asyncio.ensure_future(run()) for run in runs], before_end)


async def first_ended(tasks: Collection[asyncio.Future[Any]], before_end: Run | None = None) -> None:
    """As `first_of`, for what runs already."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        if before_end is not None:
            await before_end()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
