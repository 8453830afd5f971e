"""The timeouts of one connection: how long the client may take for what it has to do next. Knows no HTTP."""

import asyncio
import math
from collections.abc import Callable


class Patience:
    """One deadline after the other. The timer isn't moved with each of them: it looks again when it fires.

    Args:
        longest_s: at most so long until it looks again.
        over: called when a deadline has passed.
    """

    __slots__ = ("_expires_s", "_longest_s", "_loop", "_over", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, longest_s: float, over: Callable[[], None]) -> None:
        self._loop = loop
        self._longest_s = longest_s
        self._over = over
        self._expires_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, seconds: float) -> None:
        """The client has this long."""
        self._expires_s = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._expires_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._expires_s, self._look)

    def our_turn(self) -> None:
        """The client waits for us now."""
        self._expires_s = math.inf

    def end(self) -> None:
        """There is no client any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = self._loop.time()
        self._timer = None
        if now + 0.001 < self._expires_s:
            self._timer = self._loop.call_at(min(self._expires_s, now + self._longest_s), self._look)
        else:
            self._over()
