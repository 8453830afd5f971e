"""One HTTP/1.1 connection: asyncio's BufferedProtocol over httptools' parser.

The head is parsed from a buffer that all connections share; the body goes straight into the memory that tensors are
made from: a byte is copied once, by the kernel. One request at a time a connection; pipelined ones wait. Every wait
for a client has a deadline, every size a limit.
"""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final, cast

from corefit_runtime.http_body import BodyReader
from corefit_runtime.http_exchange import Exchange
from corefit_runtime.http_messages import CONTINUE, BadHead, Head, Response, head_bytes
from corefit_runtime.http_patience import Patience

if TYPE_CHECKING:
    from corefit_runtime.http_server import Server

log: Final = logging.getLogger(__name__)
SCRATCH: Final = 65536
"""Bytes of one read of a head: the largest head that can be configured."""
SMALL_BODY: Final = 4096
"""Bytes up to which a body that came with its head is simply copied: cheaper than an aligned buffer for it."""
LINGER_S: Final = 2.0
"""Seconds that a refused client has to read why: what it sends meanwhile is thrown away."""
JOIN_BELOW: Final = 16384
"""Bytes up to which head and body are sent as one piece: a copy of 1 us against a longer vector of buffers."""
_END: Final = b"\r\n\r\n"


class Connection(asyncio.BufferedProtocol):
    """One client. Its state is what it waits for: a head, a body, or the handler."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._loop = server.loop
        self._transport: asyncio.Transport | None = None
        self._pending = b""
        self._head: Head | None = None
        self._body = BodyReader(server.view)
        self._refusal: Response | None = None
        self._exchange: Exchange | None = None
        self._keep_alive = True
        self._refused = False
        self._charged = 0
        self._started_s = 0.0
        self._patience = Patience(server.loop, server.limits.idle_timeout_s, self._too_late)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        server = self._server
        server.connections.add(self)
        if len(server.connections) > server.limits.max_connections:
            server.refused("connections")
            self._refuse(503, f"{server.limits.max_connections} connections are open (--max-connections)")
            return
        self._patience.expect(server.limits.header_timeout_s)

    def connection_lost(self, _exc: Exception | None) -> None:
        """The client has hung up, or we have."""
        self._transport = None
        self._server.lost(self)
        self._patience.end()
        exchange, self._exchange = self._exchange, None
        self._release()
        if exchange is not None:
            exchange.gone()

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where the next bytes go: into the body that is being read, else into the buffer that all share."""
        if self._body.active:
            return self._body.buffer()
        # What follows a head is received to where it belongs: a larger piece of the body would be copied from here.
        return self._server.view if self._head is not None or self._exchange is not None else self._server.head_view

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        if self._refused:
            return
        if self._exchange is not None:
            self._store(bytes(self._server.view[:nbytes]))
        elif self._body.active:
            self._body.received(nbytes)
            self._read_body()
        elif self._head is not None:
            self._read_chunked(self._head, bytes(self._server.view[:nbytes]))
        else:
            self._read_head(nbytes)

    def pause_writing(self) -> None:
        """The client reads more slowly than we write: it gets as long as for a body."""
        self._patience.expect(self._server.limits.body_timeout_s)

    def resume_writing(self) -> None:
        """It has caught up."""
        self._patience.expect(self._server.limits.idle_timeout_s)

    def answer(self, response: Response) -> None:
        """Writes the response, and goes on to the next request or hangs up."""
        self._exchange = None
        self._release()
        if self._transport is None or self._transport.is_closing():
            return
        keep_alive = self._keep_alive and not self._server.draining
        self._patience.expect(self._server.limits.idle_timeout_s)
        self._write(response, keep_alive=keep_alive)
        if not keep_alive:
            self._transport.close()
        elif self._pending:
            self._transport.resume_reading()
            self._loop.call_soon(self._read_pending)

    def shut(self) -> None:
        """Ends an idle connection, once its client has read what was written; one that isn't ends with its answer."""
        held = self._exchange is not None or self._head is not None or self._pending or self._refused
        if not held and self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Ends the connection, whatever is left of it."""
        if self._transport is not None:
            self._transport.abort()

    def _read_head(self, nbytes: int) -> None:
        server = self._server
        if self._pending:
            data = self._pending + bytes(server.view[:nbytes])
            end = data.find(_END)
        else:
            data, end = b"", server.scratch.find(_END, 0, nbytes)
            if end < 0:
                data = bytes(server.view[:nbytes])
            elif end + 4 <= server.limits.max_header:
                self._begin(bytes(server.view[: end + 4]), server.view[end + 4 : nbytes])
                return
        self._read_gathered(data, end)

    def _read_gathered(self, data: bytes, end: int) -> None:
        limits = self._server.limits
        if (end < 0 and len(data) > limits.max_header) or end + 4 > limits.max_header:
            self._refuse(431, f"the head is larger than {limits.max_header} bytes (--max-header)")
        elif end < 0:
            if not self._pending:
                self._patience.expect(limits.header_timeout_s)
            self._pending = data
        else:
            self._pending = b""
            self._begin(data[: end + 4], memoryview(data)[end + 4 :])

    def _read_pending(self) -> None:
        if self._exchange is None and self._pending and self._transport is not None:
            data, self._pending = self._pending, b""
            self._read_gathered(data, data.find(_END))

    def _begin(self, raw: bytes, rest: memoryview) -> None:
        """A head is complete: checks it, and makes room for its body."""
        self._started_s = time.monotonic()
        try:
            head = self._server.head_of(raw)
            self._check(head)
        except BadHead as error:
            self._refuse(error.status, str(error))
            return
        self._head = head
        self._keep_alive = head.keep_alive
        if head.headers.get(b"expect", b"").lower() == b"100-continue" and self._transport is not None:
            self._transport.write(CONTINUE)
        if head.chunked:
            self._begin_chunked(head, rest)
        elif head.length == 0:
            self._pending = bytes(rest)
            self._dispatch(memoryview(b""))
        else:
            self._refusal = self._server.refusal(head, rest) if head.length > SMALL_BODY else None
            self._begin_body(head, rest)

    def _check(self, head: Head) -> None:
        limits = self._server.limits
        if head.length > limits.max_body:
            raise BadHead(413, f"a body of {head.length} bytes; at most {limits.max_body} are taken (--max-body)")
        self._charge(head.length)

    def _begin_body(self, head: Head, rest: memoryview) -> None:
        if len(rest) >= head.length <= SMALL_BODY:
            self._pending = bytes(rest[head.length :])
            self._dispatch(memoryview(bytes(rest[: head.length])))
            return
        if self._refusal is None:
            room = self._server.allocate(head.length + 1, head.number(self._server.align_header))
            self._body.begin(room, rest[: head.length])
        else:
            self._body.skip(head.length, rest[: head.length])
        self._pending = bytes(rest[head.length :])
        self._read_body()
        if self._body.active:
            self._patience.expect(self._server.limits.body_timeout_s)

    def _read_body(self) -> None:
        if self._transport is not None:
            self._body.attend(self._transport)
        ended = self._body.end()
        if ended is not None:
            body, more = ended
            self._pending += more
            self._dispatch(body)

    def _begin_chunked(self, head: Head, rest: memoryview) -> None:
        # What follows the last chunk can't be told from it by this parser: the connection ends with the answer.
        self._keep_alive = False
        self._patience.expect(self._server.limits.body_timeout_s)
        self._read_chunked(head, bytes(rest))

    def _read_chunked(self, head: Head, data: bytes) -> None:
        limits = self._server.limits
        try:
            self._charge(len(data))
            head.feed(data, limits.max_body)
        except BadHead as error:
            self._refuse(error.status, str(error))
            return
        body = head.chunked_body()
        if body is not None:
            self._dispatch(body)

    def _store(self, data: bytes) -> None:
        """The client sends its next request before it has this answer: it is kept, up to a bound."""
        self._pending += data
        if len(self._pending) > SCRATCH and self._transport is not None:
            self._transport.pause_reading()

    def _dispatch(self, body: memoryview) -> None:
        head, self._head = self._head, None
        if head is None:
            return
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            self.answer(refusal)
            return
        self._patience.our_turn()
        exchange = self._exchange = Exchange(self, head, body, self._started_s)
        try:
            self._server.handler(exchange)
        except Exception:
            log.exception("a handler failed")
            exchange.reply(Response(500, [self._server.error_body("internal error; the log says more")]))

    def _refuse(self, status: int, message: str) -> None:
        """Answers what can't be handled, and hangs up: what the client sends on can't be told from a request.

        In two steps: a close with unread bytes is a reset, which may reach the client before the answer does.
        """
        transport = self._transport
        self._exchange = self._head = None
        self._pending = b""
        self._release()
        if self._refused or transport is None:
            return
        self._refused = True
        self._write(Response(status, [self._server.error_body(message)]), keep_alive=False)
        if not transport.is_closing():
            transport.write_eof()
        self._patience.expect(LINGER_S)

    def _write(self, response: Response, *, keep_alive: bool) -> None:
        if self._transport is None:
            return
        length = sum(map(len, response.body))
        head = head_bytes(response, length, keep_alive=keep_alive)
        if length < JOIN_BELOW:
            self._transport.write(b"".join((head, *response.body)))
        else:
            self._transport.writelines([head, *response.body])

    def _charge(self, count: int) -> None:
        server = self._server
        if server.body_bytes + count > server.limits.max_body_memory:
            server.refused("memory")
            raise BadHead(503, "the bodies that are being read fill the memory for them (--max-body-memory)")
        server.body_bytes += count
        self._charged += count

    def _release(self) -> None:
        self._server.body_bytes -= self._charged
        self._charged = 0
        self._body.drop()

    def _too_late(self) -> None:
        if self._transport is None:
            return
        if self._head is not None or self._pending:
            self._refuse(408, "the request did not come in time (--header-timeout, --body-timeout)")
        elif self._transport.is_closing():
            self._transport.abort()
        else:
            self._transport.close()
