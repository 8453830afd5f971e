"""Which resources are dirty: each at most once, never two workers at the same one, later ones by a timer.

The semantics of client-go's workqueue: a key that is added while it is worked on is handed out again afterwards.
Keys that something happened to go before those whose time has come, or with many resources a change would wait for a
whole round of reports. Keys are of groups, which have turns: what is dirty in one group waits for none of another's.
May not know what the keys mean.
"""

import asyncio
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
DUE_SHARE: Final = 4
"""Of so many keys handed out one is a due one while there are both kinds: a storm of changes silences no reports."""


class WorkQueue(Generic[K]):
    """Dirty keys, the changed before the due, and those of a group in the order in which they became so.

    Args:
        group: of a key.
        share: how many keys of one group may be worked on at a time.
    """

    def __init__(self, group: Callable[[K], Hashable] = lambda _: None, share: float = math.inf) -> None:
        self._group = group
        self._share = share
        self._changed: _Lane[K] = _Lane(group)
        self._due: _Lane[K] = _Lane(group)
        self._again: dict[K, bool] = {}
        self._working: set[K] = set()
        self._busy: Counter[Hashable] = Counter()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._wakeup = asyncio.Event()
        self._passed_over = 0

    def __len__(self) -> int:
        return len(self._changed) + len(self._due) + len(self._again)

    def add(self, key: K) -> None:
        """Now: something happened to it."""
        self._cancel_timer(key)
        self._due.discard(key)
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
        while (key := self._next()) is None:
            self._wakeup.clear()
            await self._wakeup.wait()
        self._working.add(key)
        self._busy[self._group(key)] += 1
        return key

    def done(self, key: K) -> None:
        """The work on it is over; it is handed out again when it became dirty meanwhile."""
        self._working.discard(key)
        group = self._group(key)
        self._busy[group] -= 1
        if not self._busy[group]:
            del self._busy[group]
        changed = self._again.pop(key, None)
        if changed is not None:
            self._push(key, changed=changed)
        self._wakeup.set()  # there is room for another of its group

    def _next(self) -> K | None:
        lanes = [lane for lane in (self._changed, self._due) if lane.ready(self._may)]
        if not lanes:
            return None
        self._passed_over = self._passed_over + 1 if len(lanes) > 1 else 0
        lane = lanes[-1] if self._passed_over >= DUE_SHARE else lanes[0]
        if lane is self._due:
            self._passed_over = 0
        return lane.pop(self._may)

    def _may(self, group: Hashable) -> bool:
        return self._busy[group] < self._share

    def _come_due(self, key: K) -> None:
        del self._timers[key]
        if not self._dirty(key):
            self._push(key, changed=False)

    def _push(self, key: K, *, changed: bool) -> None:
        if key in self._working:
            self._again[key] = changed or self._again.get(key, False)
            return
        (self._changed if changed else self._due).push(key)
        self._wakeup.set()

    def _dirty(self, key: K) -> bool:
        return key in self._changed or key in self._due or key in self._again

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()


class _Lane(Generic[K]):
    """Dirty keys of one kind, by group; the group that comes next is first."""

    def __init__(self, group: Callable[[K], Hashable]) -> None:
        self._group = group
        self._keys: OrderedDict[Hashable, dict[K, None]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._keys.values()))

    def __contains__(self, key: K) -> bool:
        return key in self._keys.get(self._group(key), ())

    def push(self, key: K) -> None:
        """Last of its group, unless it is there."""
        self._keys.setdefault(self._group(key), {})[key] = None

    def discard(self, key: K) -> None:
        """Takes it out, if it is there."""
        group = self._group(key)
        keys = self._keys.get(group, {})
        keys.pop(key, None)
        if not keys:
            self._keys.pop(group, None)

    def ready(self, may: Callable[[Hashable], bool]) -> bool:
        """Whether a group that may has a key."""
        return any(may(group) for group in self._keys)

    def pop(self, may: Callable[[Hashable], bool]) -> K:
        """The first key of the first group that may, whose turn comes again after the others'."""
        group = next(group for group in self._keys if may(group))
        key = next(iter(self._keys[group]))
        self.discard(key)
        if group in self._keys:
            self._keys.move_to_end(group)
        return key
