"""Long polling: requests that are answered when something happens, or after a while."""

import asyncio
from collections.abc import Callable

from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import Response


class Held:
    """Questions that wait for their answer to be another one, a while at most."""

    def __init__(self, seconds: float, answer: Callable[[], Response]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._answer = answer
        self._waiting: dict[Exchange, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def hold(self, exchange: Exchange) -> None:
        """Until it is released, or its time is over."""
        exchange.on_gone = lambda: self._waiting.pop(exchange).cancel()
        self._waiting[exchange] = self._loop.call_later(self._seconds, self._release, exchange)

    def release(self, answer: Response | None = None) -> None:
        """Answers all, by this where it is given."""
        for exchange in list(self._waiting):
            self._release(exchange, answer)

    def _release(self, exchange: Exchange, answer: Response | None = None) -> None:
        self._waiting.pop(exchange).cancel()
        exchange.reply(answer or self._answer())
