"""The control port: what changes something, or costs much. Other pods don't reach it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from corefit_core.errors import ModelUnavailable
from corefit_runtime.admin.routes import Route, Routes
from corefit_runtime.concurrency.coalescing import Coalescing
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import TEXT, Response
from corefit_runtime.telemetry import failures
from corefit_runtime.telemetry.cpu import CpuMeter

log: Final = logging.getLogger(__name__)
STARTING: Final = "the runtime is still starting"


class Lifecycle(Protocol):
    """What the control port may want of the model's lifecycle."""

    async def reload(self) -> str:
        """Loads the model anew; returns what went wrong, empty when all is well."""

    async def trace(self, seconds: float) -> bytes:
        """The time of each operator in the runs of the next seconds."""


class ControlApi(Routes):
    """The handler of the control port.

    Args:
        lifecycle: the model's; None while the runtime starts.
        cpu: what the debug endpoints show.
        debug: whether there are any.
    """

    def __init__(self, lifecycle: Callable[[], Lifecycle | None], cpu: CpuMeter, *, debug: bool) -> None:
        self._lifecycle = lifecycle
        self._reloading = Coalescing(self._reloaded)
        self._tasks: set[asyncio.Future[None]] = set()
        super().__init__({(b"POST", "/reload"): self._reload, **self._debug_routes(cpu, debug)})

    def _debug_routes(self, cpu: CpuMeter, debug: bool) -> dict[tuple[bytes, str], Route]:
        if not debug:
            return {}
        from corefit_runtime.admin.debug import routes  # noqa: PLC0415 - only where it is switched on

        return routes(cpu, self._background, self._trace)

    async def _trace(self, seconds: float) -> bytes:
        lifecycle = self._lifecycle()
        if lifecycle is None:
            raise ModelUnavailable(STARTING)
        return await lifecycle.trace(seconds)

    def _reload(self, exchange: Exchange) -> None:
        """POST /reload: answers when the new model serves, or with why it doesn't."""
        self._background(exchange, self._answer_reload(exchange))

    async def _answer_reload(self, exchange: Exchange) -> None:
        wrong = await self._reloading.result()
        exchange.reply(Response(500 if wrong else 200, [(wrong or "reloaded").encode() + b"\n"], TEXT))

    async def _reloaded(self) -> str:
        lifecycle = self._lifecycle()
        return await lifecycle.reload() if lifecycle is not None else STARTING

    def _background(self, exchange: Exchange, work: Awaitable[None]) -> None:
        # The loop keeps weak references to tasks only.
        task = asyncio.ensure_future(answered(exchange, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def answered(exchange: Exchange, work: Awaitable[None]) -> None:
    """Answers for what fails before it has: nobody else would, and its client would wait for ever."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - whatever it is
        _, message = failures.warned(log, "a request to the control port failed", error)
        exchange.reply(Response(500, [message.encode() + b"\n"], TEXT))
