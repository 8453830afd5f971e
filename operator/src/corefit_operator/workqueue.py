"""Which resources are dirty: each at most once, never two workers at the same one, later ones by a timer.

The semantics of client-go's workqueue: a key that is added while it is worked on is handed out again afterwards.
Keys that something happened to go before those whose time has come, or with many resources a change would wait for a
whole round of reports. May not know what the keys mean.
"""

import asyncio
from typing import Final, Generic, TypeVar

K = TypeVar("K")
DUE_SHARE: Final = 4
"""Of so many keys handed out one is a due one while there are both kinds: a storm of changes silences no reports."""


class WorkQueue(Generic[K]):
    """Dirty keys, the changed before the due, and each kind in the order in which they became so."""

    def __init__(self) -> None:
        self._changed: dict[K, None] = {}
        self._due: dict[K, None] = {}
        self._again: dict[K, bool] = {}
        self._working: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._wakeup = asyncio.Event()
        self._passed_over = 0

    def __len__(self) -> int:
        return len(self._changed) + len(self._due) + len(self._again)

    def add(self, key: K) -> None:
        """Now: something happened to it."""
        self._cancel_timer(key)
        self._due.pop(key, None)
        self._push(key, changed=True)

    def add_after(self, key: K, seconds: float) -> None:
        """In so many seconds, unless it is wanted earlier; a key has one timer, the earliest."""
        loop = asyncio.get_running_loop()
        pending = self._timers.get(key)
        if self._dirty(key) or (pending is not None and pending.when() <= loop.time() + seconds):
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(seconds, self._come_due, key)

    def forget(self, key: K) -> None:
        """Drops the key's timer: nothing is due until it is added again."""
        self._cancel_timer(key)

    async def get(self) -> K:
        """The next key; the caller owes `done` for it."""
        while not (self._changed or self._due):
            self._wakeup.clear()
            await self._wakeup.wait()
        key = self._next()
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """The work on it is over; it is handed out again when it became dirty meanwhile."""
        self._working.discard(key)
        changed = self._again.pop(key, None)
        if changed is not None:
            self._push(key, changed=changed)

    def _next(self) -> K:
        both = bool(self._changed and self._due)
        self._passed_over = self._passed_over + 1 if both else 0
        lane = self._due if not self._changed or self._passed_over >= DUE_SHARE else self._changed
        if lane is self._due:
            self._passed_over = 0
        key = next(iter(lane))
        del lane[key]
        return key

    def _come_due(self, key: K) -> None:
        del self._timers[key]
        if not self._dirty(key):
            self._push(key, changed=False)

    def _push(self, key: K, *, changed: bool) -> None:
        if key in self._working:
            self._again[key] = changed or self._again.get(key, False)
            return
        (self._changed if changed else self._due)[key] = None
        self._wakeup.set()

    def _dirty(self, key: K) -> bool:
        return key in self._changed or key in self._due or key in self._again

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
