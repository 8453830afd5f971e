"""Places for what is done at the same time, shared fairly: among those that wait each group has its turn.

A plain semaphore serves whoever comes first, so that a namespace which wants much holds up all others. Here the groups
that wait are served in turns (round robin, as in API Priority and Fairness), and no group holds more than its share, so
that a place comes free for others however long that group takes. May not know what is done.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

G = TypeVar("G")


class FairSemaphore(Generic[G]):
    """See the module.

    Args:
        places: how many may hold one at a time.
        share: how many of them one group may hold.
    """

    def __init__(self, places: int, share: int) -> None:
        self._free = places
        self._share = share
        self._held: Counter[G] = Counter()
        self._waiting: OrderedDict[G, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def of(self, group: G) -> AsyncIterator[None]:
        """Holds a place for a member of the group."""
        await self._take(group)
        try:
            yield
        finally:
            self._give_back(group)

    async def _take(self, group: G) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(group, deque()).append(turn)
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(group)  # it came at the same moment
            raise

    def _give_back(self, group: G) -> None:
        self._free += 1
        self._held[group] -= 1
        if not self._held[group]:
            del self._held[group]
        self._hand_out()

    def _hand_out(self) -> None:
        while self._free and (group := self._next()) is not None:
            waiting = self._waiting[group]
            turn = waiting.popleft()
            if waiting:
                self._waiting.move_to_end(group)
            else:
                del self._waiting[group]
            if not turn.done():  # else it was cancelled while it waited
                self._free -= 1
                self._held[group] += 1
                turn.set_result(None)

    def _next(self) -> G | None:
        return next((group for group in self._waiting if self._held[group] < self._share), None)
