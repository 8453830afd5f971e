"""One event loop on a thread, and on it the connections to the API server: what proxies and nodes of an arena share.

A thread and a pool of connections for each of a hundred proxies would spend their time on handing the interpreter to
each other, and on TLS handshakes.
"""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
from faults.api import upstream

PATIENCE_S = 600.0
"""Seconds that something on the loop may take to begin or to end."""
LINE_BYTES = 2**20
"""The longest line of a watch: one object with everybody's account of its fields."""

T = TypeVar("T")


class Wire:
    """The loop runs, and the API server can be asked on it, as long as the block that it is entered by.

    Args:
        kubeconfig: of a user who may do everything that is asked for here.
    """

    session: aiohttp.ClientSession

    def __init__(self, kubeconfig: str | Path) -> None:
        self.server, self._tls = upstream(kubeconfig)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Has the loop do something, and waits for it; from any thread but the loop's own."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    async def _open(self) -> None:
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),  # whoever asks has limits of its own
            auto_decompress=False,
            read_bufsize=LINE_BYTES,
        )

    async def _close(self) -> None:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await self.session.close()
        await self.loop.shutdown_asyncgens()
        # aiohttp doesn't wait for the ends of TLS connections, and a socket that is open when its loop has gone fails
        # whichever test is run when it is collected.
        while transports := [each for each in self.loop._transports.values() if each._sock is not None]:
            for transport in transports:
                transport.abort()
            await asyncio.sleep(0)
