"""Work that many ask for at the same time and that is done once. Knows nothing of what it is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Coalescing(Generic[_T]):
    """Runs `work` once at a time. Who asks while it runs gets the result of the next run, which all of them share.

    The next run and not the present one, since that may have read what has changed meanwhile.
    """

    def __init__(self, work: Callable[[], Awaitable[_T]]) -> None:
        self._work = work
        self._running: asyncio.Future[_T] | None = None
        self._next: asyncio.Future[_T] | None = None

    async def result(self) -> _T:
        """What a run that has begun after this call comes to.

        Raises:
            Exception: what `work` raises.
        """
        if self._next is None:
            self._next = asyncio.ensure_future(self._after(self._running))
        # One who asks and goes must not end it for the others.
        return await asyncio.shield(self._next)

    async def _after(self, before: "asyncio.Future[_T] | None") -> _T:
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        return await self._work()
