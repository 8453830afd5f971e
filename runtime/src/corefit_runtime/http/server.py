"""An HTTP/1.1 server for few routes and large bodies: asyncio's BufferedProtocol over httptools' parser.

This is the listening side, with what all connections share. Knows no routes: the handler is a function.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from corefit_runtime.http.connection import RETRY, SCRATCH, Connection
from corefit_runtime.http.crowd import Crowd
from corefit_runtime.http.kernel import allowance
from corefit_runtime.http.listener import Access, Allocate, ErrorBody, Handler, Refusal
from corefit_runtime.http.memory import Memory
from corefit_runtime.http.messages import Head, HttpLimits, Response, parse_head
from corefit_runtime.memo import MAX_KEY, Memo
from corefit_runtime.memory.reserve import largest

EVERYWHERE: Final = "::"
"""A pod is reached by its address, of whichever family the cluster's network has given it."""
HEAD_READ: Final = 8192
"""Bytes of the first read of a request: room for its head and a small body, in one system call."""
BACKLOG: Final = 1024
"""Connections that wait to be accepted; the kernel cuts it to net.core.somaxconn."""


SMALL_ANSWER: Final = 65536
"""Bytes up to which an answer is sent in any case: no more than the head of a request may take."""


def plain_room(length: int, _offset: int) -> memoryview:
    """Room for a body of which nobody makes tensors."""
    return memoryview(bytearray(length))


class Server:
    """Listens on ports and Unix sockets: `start` and `start_unix` bind, `drain` sends clients away, `close` ends it.

    What is held is told by the connections alone: a request's head, body, answer or unread bytes are always one's.

    Args:
        handler: answers each exchange; called on the loop, must not block.
        limits: what a client may cost.
        error_body: makes the body of the refusals that the server sends itself.
        allocate: makes room for a body, given its length and the offset in it that should be aligned.
        align_header: names the header that holds this offset.
        refused: told the cause of each refusal for lack of room.
        access: told of each answer: the head of its request, None where there was none, the status, and the seconds.
        refusal: the answer to a request by its head and the first of its body, which is then thrown away; None where
            all of it is to be read.
        refuses_nobody: where there are too many connections, the oldest one of the peer with the most ends, whatever
            it does. Else one ends only where no client waits for its answer, and a new one may be refused.
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
        access: Access | None = None,
        refusal: Refusal = lambda _head, _first: None,
        refuses_nobody: bool = False,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.error_body = error_body
        self.allocate = allocate
        self.align_header = align_header
        self.refused = refused
        self.access = access
        self.refusal = refusal
        self.connections: set[Connection] = set()
        self._crowd = Crowd[Connection](limits.max_connections, spares_serving=not refuses_nobody)
        self._heads: Memo[bytes, Head] = Memo(128)
        self.memory = Memory(limits.max_body_memory, refused)
        self.draining = False
        self._deserted = asyncio.Event()
        self.scratch = bytearray(SCRATCH)
        self.view = memoryview(self.scratch)
        self.head_view = self.view[:HEAD_READ]
        self._listening: list[asyncio.Server] = []
        self.loop = asyncio.get_running_loop()

    async def start(self, host: str, port: int) -> int:
        """Binds and listens, to every address by IPv6 and IPv4 where it is `::`; returns the port."""
        if host == EVERYWHERE:
            both = everywhere(port)
            server = await self.loop.create_server(lambda: Connection(self), sock=both, backlog=BACKLOG)
        else:
            server = await self.loop.create_server(lambda: Connection(self), host, port, backlog=BACKLOG)
        self._listening.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def start_unix(self, path: Path) -> None:
        """Binds and listens on a Unix socket that every user may connect to: who reaches its folder is who may.

        What a killed process left there makes room: until then clients are refused at once, by the kernel.

        Raises:
            OSError: the path is there and is no socket, or can't be made.
        """
        listener = _bound(path)
        server = await self.loop.create_unix_server(lambda: Connection(self), sock=listener, backlog=BACKLOG)
        self._listening.append(server)

    def head_of(self, raw: bytes) -> Head:
        """The head from its bytes; a client sends the same one again and again.

        Raises:
            BadHead: it is none.
        """
        head = self._heads.get(raw)
        if head is None:
            head = parse_head(raw)
            if len(raw) <= MAX_KEY:
                self._heads.put(raw, head)
        return head

    def drain(self) -> None:
        """From now on every response ends its connection, so that clients go to another pod."""
        self.draining = True

    @property
    def allowance(self) -> int:
        """Bytes that the kernel may hold each way for one more connection; 0: as many as it likes."""
        return allowance(self.limits.pod_memory, len(self.connections))

    def joined(self, connection: Connection, transport: asyncio.BaseTransport) -> bool:
        """A client has connected; False where there is no room for it."""
        self.connections.add(connection)
        peer = transport.get_extra_info("peername")
        crowded = self._crowd.joined(connection, str(peer[0]) if peer else "")
        if crowded is None:
            return True
        self.refused("connections")
        if crowded is connection:
            return False
        crowded.cut()
        return True

    @property
    def max_body(self) -> int:
        """Bytes of the largest body that is taken: it has to find room in the memory for bodies."""
        return min(self.limits.max_body, largest(self.memory.limit))

    def affordable(self, response: Response) -> Response:
        """The response, or, where what is still to be sent to others leaves no room for it, a refusal in its place."""
        length = response.length - response.charged
        if length <= SMALL_ANSWER or self.memory.fits(length):
            return response
        self.refused("memory")
        text = "answers that clients have yet to read fill the memory for them (--max-body-memory)"
        return Response(503, [self.error_body(text)], headers=[RETRY])

    def lost(self, connection: Connection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        self._crowd.left(connection)
        if self.draining and not self.connections:
            self._deserted.set()

    async def close(self, grace_s: float) -> int:
        """Stops listening, ends what is idle, and waits until what is held is answered and read.

        Returns how many connections had to be cut, since they were still at it after `grace_s` seconds.
        """
        self.drain()
        for server in self._listening:
            server.close()
        for connection in list(self.connections):
            connection.shut()
        self._deserted.clear()
        if self.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._deserted.wait(), grace_s)
        cut = list(self.connections)
        for connection in cut:
            connection.cut()
        return len(cut)


def everywhere(port: int) -> socket.socket:
    """One socket for both families: an event loop given `::` would listen by IPv6 alone."""
    if socket.has_dualstack_ipv6():
        return socket.create_server((EVERYWHERE, port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("0.0.0.0", port))  # noqa: S104 - a node whose kernel knows no IPv6


def _bound(path: Path) -> socket.socket:
    if path.is_socket():
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o666)
    except OSError:
        listener.close()
        raise
    return listener
