"""Which resources are dirty: each at most once, never two workers at the same one, later ones by a timer.

The semantics of client-go's workqueue: a key that is added while it is worked on is handed out again afterwards.
May not know what the keys mean.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

K = TypeVar("K")


class WorkQueue(Generic[K]):
    """Dirty keys in the order in which they became so."""

    def __init__(self) -> None:
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()
        self._working: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._wakeup = asyncio.Event()

    def __len__(self) -> int:
        return len(self._dirty)

    def add(self, key: K) -> None:
        """Now."""
        self._cancel_timer(key)
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._working:
            self._push(key)

    def add_after(self, key: K, seconds: float) -> None:
        """In so many seconds, unless it is wanted earlier; a key has one timer, the earliest."""
        loop = asyncio.get_running_loop()
        pending = self._timers.get(key)
        if key in self._dirty or (pending is not None and pending.when() <= loop.time() + seconds):
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(seconds, self.add, key)

    def forget(self, key: K) -> None:
        """Drops the key's timer: nothing is due until it is added again."""
        self._cancel_timer(key)

    async def get(self) -> K:
        """The next key; the caller owes `done` for it."""
        while not self._ready:
            self._wakeup.clear()
            await self._wakeup.wait()
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """The work on it is over; it is handed out again when it became dirty meanwhile."""
        self._working.discard(key)
        if key in self._dirty:
            self._push(key)

    def _push(self, key: K) -> None:
        self._ready.append(key)
        self._wakeup.set()

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
