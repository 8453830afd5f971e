"""Whether this process may write now: every write to the cluster passes here, the Lease's own excepted.

A process that leads may write until a time that the Lease says; what it has sent by then must also be answered by
then, or is given up. May not do I/O, and may not know what is written.
"""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Fence:
    """Lets writes through while they are allowed, and knows how many are on their way.

    Args:
        left_s: seconds in which a write may still be sent and answered; infinite without an election.
    """

    def __init__(self, left_s: Callable[[], float] = lambda: math.inf) -> None:
        self._left_s = left_s
        self._closed = False
        self._writing = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def writing(self) -> Iterator[float]:
        """One write, which must have its answer within the seconds given; 0 or less forbids it."""
        self._writing += 1
        self._idle.clear()
        try:
            yield 0.0 if self._closed else self._left_s()
        finally:
            self._writing -= 1
            if not self._writing:
                self._idle.set()

    async def close(self, patience_s: float) -> None:
        """Forbids further writes, and waits for those on their way, but no longer than that."""
        self._closed = True
        try:
            async with asyncio.timeout(patience_s):
                await self._idle.wait()
        except TimeoutError:
            return
