"""The memory that bodies may hold, and each connection's share of it."""

import asyncio
import contextlib
import weakref
from collections.abc import Callable
from typing import Final

from corefit_runtime.http.messages import BadHead
from corefit_runtime.memory.reserve import room

AT_ONCE: Final = 65536
"""Bytes of a body that are charged with its head, the others when they come: else four clients that send no more than
heads hold all of the memory for bodies. 2048 connections, as many as there may be, hold half of it by this."""


class Memory:
    """What all connections together hold.

    Args:
        limit: bytes.
        refused: told of each request for which there is no room.

    Attributes:
        held: bytes.
    """

    __slots__ = ("_refused", "held", "limit")

    def __init__(self, limit: int, refused: Callable[[str], None]) -> None:
        self.limit = limit
        self.held = 0
        self._refused = refused

    def fits(self, count: int) -> bool:
        """Whether there is room for so many bytes of an answer; for one alone there always is: it is there already."""
        return self.held == 0 or self.held + count <= room(self.limit, count)

    def require(self, count: int, whole: int) -> None:
        """Sees that so many bytes more would find room; none always do, whatever answers hold (`Share.hold`).

        Args:
            count: bytes.
            whole: those of the request that they are part of.

        Raises:
            BadHead: they would not.
        """
        if count and self.held + count > room(self.limit, whole):
            self._refused("memory")
            raise BadHead(503, "the bodies that are being read fill the memory for them (--max-body-memory)")


class Share:
    """What one connection holds.

    Attributes:
        held: bytes.
    """

    __slots__ = ("_length", "_memory", "held")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._length = 0
        self.held = 0

    def begin(self, length: int) -> None:
        """A body of this length is going to come.

        Raises:
            BadHead: there is no room for it now.
        """
        self._length = length
        if length > AT_ONCE:
            self._memory.require(length, length)
        self.charge(min(length, AT_ONCE))

    def charge(self, count: int) -> None:
        """Takes so many bytes more.

        Raises:
            BadHead: there is no room for them.
        """
        self._memory.require(count, self._length or self.held + count)
        self._memory.held += count
        self.held += count

    def adjust(self, count: int) -> bool:
        """Takes so many bytes more, gives back where negative; False, and nothing is taken, where there is no room."""
        memory = self._memory
        if count > 0 and memory.held + count > room(memory.limit, max(self._length, self.held + count)):
            return False
        memory.held += count
        self.held += count
        return True

    def hold(self, count: int) -> None:
        """Takes so many bytes more that are there already, whether there is room for them or not."""
        self._memory.held += count
        self.held += count

    def release_after(self, user: object, loop: asyncio.AbstractEventLoop) -> None:
        """Gives all of it back, on the loop, when nobody holds `user` any more."""
        held, self.held = self.held, 0
        memory = self._memory

        def give_back() -> None:
            memory.held -= held

        def on_any_thread() -> None:
            with contextlib.suppress(RuntimeError):  # The loop has ended, and with it whoever would ask.
                loop.call_soon_threadsafe(give_back)

        weakref.finalize(user, on_any_thread).atexit = False

    def release(self) -> None:
        """Gives all of it back."""
        self._memory.held -= self.held
        self.held = 0
