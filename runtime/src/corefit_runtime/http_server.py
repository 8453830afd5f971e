"""An HTTP/1.1 server for few routes and large bodies: asyncio's BufferedProtocol over httptools' parser.

This is the listening side, with what all connections share. Knows no routes: the handler is a function.
"""

import asyncio
from collections.abc import Callable

from corefit_runtime.http_connection import SCRATCH, Connection
from corefit_runtime.http_exchange import Exchange
from corefit_runtime.http_messages import HttpLimits

Handler = Callable[[Exchange], None]
ErrorBody = Callable[[str], bytes]
Allocate = Callable[[int, int], memoryview]


def plain_room(length: int, _offset: int) -> memoryview:
    """Room for a body of which nobody makes tensors."""
    return memoryview(bytearray(length))


class Server:
    """Listens on one port: `start` binds, `drain` sends clients away, `close` ends it.

    Args:
        handler: answers each exchange; called on the loop, must not block.
        limits: what a client may cost.
        error_body: makes the body of the refusals that the server sends itself.
        allocate: makes room for a body, given its length and the offset in it that should be aligned.
        align_header: names the header that holds this offset.
        refused: told the cause of each refusal for lack of room.
    """

    def __init__(
        self,
        handler: Handler,
        limits: HttpLimits,
        *,
        error_body: ErrorBody,
        allocate: Allocate = plain_room,
        align_header: bytes = b"",
        refused: Callable[[str], None] = lambda _cause: None,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.error_body = error_body
        self.allocate = allocate
        self.align_header = align_header
        self.refused = refused
        self.connections: set[Connection] = set()
        self.body_bytes = 0
        self.draining = False
        self.scratch = bytearray(SCRATCH)
        self.view = memoryview(self.scratch)
        self._server: asyncio.Server | None = None
        self.loop = asyncio.get_running_loop()

    async def start(self, host: str, port: int) -> int:
        """Binds and listens; returns the port."""
        self._server = await self.loop.create_server(lambda: Connection(self), host, port, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    def drain(self) -> None:
        """From now on every response ends its connection, so that clients go to another pod."""
        self.draining = True

    async def close(self) -> None:
        """Stops listening and closes what is open; answers that are being made should have been awaited."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.shut()
