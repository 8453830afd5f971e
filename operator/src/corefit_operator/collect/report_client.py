"""GETs of the admin port over connections that are kept, one a pod and path, with nothing of HTTP that isn't needed.

A report of each pod every two seconds is most of what the operator does.
May not know what a report says.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NamedTuple, Self, cast

import httptools

from corefit_core.errors import InvalidInput
from corefit_core.report import REPORT_PATH

HEAD_MAX: Final = 16 * 1024
"""Bytes of an answer beyond its body, i.e. headers and the framing of chunks: the runtime sends about 200."""
PIECES_MAX: Final = 1024
"""Segments of an answer. The most that is read makes 60 segments of the usual size; each costs a turn of the loop."""
IDLE_S: Final = 60.0
"""Seconds that a connection is kept without being used: its pod is gone, or no longer asked."""


class ReportAddress(NamedTuple):
    """Where a pod's admin port is, and the path to ask there."""

    address: str
    port: int
    path: str = REPORT_PATH

    def request(self) -> bytes:
        """What is sent."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"GET {self.path} HTTP/1.1\r\nHost: {host}:{self.port}\r\nUser-Agent: corefit-operator\r\n\r\n".encode()


class ReportClient:
    """Asks pods, and keeps the connections.

    Args:
        max_bytes: of a body; a longer one is not read.
        clock: monotonic seconds.
    """

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: dict[ReportAddress, _Connection] = {}
        self._swept_at = clock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._kept.values():
            connection.close()
        self._kept.clear()

    async def get(self, address: ReportAddress) -> bytes:
        """The body of the answer.

        Raises:
            OSError: the pod can't be reached, or hung up.
            InvalidInput: the answer is no 200, no HTTP, or too long.
        """
        self._sweep()
        kept = self._kept.pop(address, None)
        if kept is not None and kept.open:
            try:
                return await self._fetch(address, kept)
            except ConnectionError:
                if kept.answered:
                    raise
                # It was closed while it was kept, which shows only now; nothing has been answered twice.
        return await self._fetch(address, await self._connected(address))

    async def _connected(self, address: ReportAddress) -> "_Connection":
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(self._max_bytes), address.address, address.port
        )
        return connection

    async def _fetch(self, address: ReportAddress, connection: "_Connection") -> bytes:
        try:
            body = await connection.ask(address.request())
        except BaseException:
            connection.close()  # the answer may still come, and would be taken for the next one's
            raise
        if connection.open:
            connection.used_at = self._clock()
            other, self._kept[address] = self._kept.get(address), connection
            if other is not None:
                other.close()
        return body

    def _sweep(self) -> None:
        """Closes what has not been used for long."""
        now = self._clock()
        if now - self._swept_at < IDLE_S:
            return
        self._swept_at = now
        for address, connection in list(self._kept.items()):
            if not connection.open or now - connection.used_at > IDLE_S:
                connection.close()
                del self._kept[address]


class _Connection(asyncio.Protocol):
    """One connection, and the answer that is waited for on it."""

    def __init__(self, max_bytes: int) -> None:
        self.open = True
        self.answered = False
        """Whether anything has come for the request that was sent last."""
        self._received = self._pieces = 0
        self.used_at = 0.0
        self._max_bytes = max_bytes
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes) -> "asyncio.Future[bytes]":
        """Sends a request; the body of its answer."""
        self._body.clear()
        self.answered = False
        self._received = self._pieces = 0
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """At once; nothing on its way is waited for."""
        self.open = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._waited_for:
            self.close()
            return
        self.answered = True
        self._received += len(data)
        self._pieces += 1
        if self._received > self._max_bytes + HEAD_MAX or self._pieces > PIECES_MAX:
            self._fail(InvalidInput(f"more than {self._max_bytes} bytes, or too many headers or pieces"))
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(InvalidInput(f"no HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._fail(ConnectionResetError(f"hung up: {exc or 'in the midst of an answer'}"))

    def on_message_begin(self) -> None:
        """Of the parser: an answer begins, maybe one without a request."""
        if not self._waited_for:
            self.close()

    def on_body(self, body: bytes) -> None:
        """Of the parser: a part of the body."""
        self._body += body
        if len(self._body) > self._max_bytes:
            self._fail(InvalidInput(f"more than {self._max_bytes} bytes"))

    def on_message_complete(self) -> None:
        """Of the parser: the answer is whole."""
        if not self._parser.should_keep_alive():
            self.close()
        status = self._parser.get_status_code()
        if status != HTTPStatus.OK:
            self._fail(InvalidInput(f"status {status}"))
        elif self._answer is not None and self._waited_for:
            self._answer.set_result(bytes(self._body))

    @property
    def _waited_for(self) -> bool:
        return self._answer is not None and not self._answer.done()

    def _fail(self, error: Exception) -> None:
        self.close()
        if self._answer is not None and self._waited_for:
            self._answer.set_exception(error)
