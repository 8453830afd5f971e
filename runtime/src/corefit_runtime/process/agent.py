"""Says to a load balancer how much this pod can take: HAProxy's agent protocol, one line a connection.

The line is a percentage, of the CPU that the pod has now over what counts as 100 %. Knows no HTTP.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from corefit_runtime.http.server import EVERYWHERE, everywhere


class Agent:
    """Listens, answers each connection and ends it.

    Args:
        granted: millicores of the plan in force; 0 while there is none.
        full: millicores that are 100 %.
    """

    def __init__(self, granted: Callable[[], int], full: int) -> None:
        self._granted = granted
        self._full = full
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Binds and listens; returns the port."""
        loop = asyncio.get_running_loop()
        if host == EVERYWHERE:
            self._server = await loop.create_server(lambda: _Answer(self.line), sock=everywhere(port))
        else:
            self._server = await loop.create_server(lambda: _Answer(self.line), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    def line(self) -> bytes:
        """What is said now.

        Nothing while there is no plan: a pod that starts again after a death may still be in DNS, refuses at once, and
        by the number of its requests would be the first choice of each.
        """
        granted = self._granted()
        return b"%d%%\n" % (max(1, round(100 * granted / self._full)) if granted else 0)

    def close(self) -> None:
        """Nobody is answered any more."""
        if self._server is not None:
            self._server.close()


class _Answer(asyncio.Protocol):
    def __init__(self, line: Callable[[], bytes]) -> None:
        self._line = line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The line, and the end of the connection."""
        peer = cast("asyncio.Transport", transport)
        peer.write(self._line())
        peer.close()
