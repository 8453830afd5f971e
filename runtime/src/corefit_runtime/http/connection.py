"""One HTTP/1.1 connection: asyncio's BufferedProtocol over httptools' parser.

The head is parsed from a buffer that all connections share; the body goes straight into the memory that tensors are
made from: a byte is copied once, by the kernel. One request at a time a connection; pipelined ones wait. Every wait
for a client has a deadline, every size a limit.
"""

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Final, cast

from corefit_runtime.http.body import BodyReader
from corefit_runtime.http.chunks import ChunkedBody
from corefit_runtime.http.crowd import Activity
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.inbox import END, Inbox
from corefit_runtime.http.memory import Share
from corefit_runtime.http.messages import CONTINUE, BadHead, Head, Response, rendered
from corefit_runtime.http.patience import Patience

if TYPE_CHECKING:
    from corefit_runtime.http.listener import Listener

log: Final = logging.getLogger(__name__)
SCRATCH: Final = 65536
"""Bytes of one read of a head: the largest head that can be configured."""
SMALL_BODY: Final = 4096
"""Bytes up to which a body that came with its head is simply copied: cheaper than an aligned buffer for it."""
AGE_SPREAD: Final = 0.1
"""Of the age at which a connection ends: those that were made at once do not all come back at once."""
LINGER_S: Final = 2.0
"""Seconds that a refused client has to read why: what it sends meanwhile is thrown away."""
RETRY: Final = (b"retry-after", b"1")


class Connection(asyncio.BufferedProtocol):
    """One client. Its state is what it waits for: a head, a body, or the handler."""

    def __init__(self, server: "Listener[Connection]") -> None:
        self._server = server
        self._loop = server.loop
        self._transport: asyncio.Transport | None = None
        self._inbox = Inbox(server.limits.max_header)
        self._head: Head | None = None
        self._body = BodyReader(server.view)
        self._chunks: ChunkedBody | None = None
        self._refusal: Response | None = None
        self._exchange: Exchange | None = None
        self._keep_alive = True
        self._refused = False
        self._paused = False
        self._share = Share(server.memory)
        self._started_s = 0.0
        spread = random.uniform(1 - AGE_SPREAD, 1 + AGE_SPREAD)  # noqa: S311 - no secret
        self._old_from_s = server.loop.time() + spread * server.limits.connection_age_s
        self._patience = Patience(server.loop, server.limits.idle_timeout_s, self._too_late)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        server = self._server
        if not server.joined(self, transport):
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
        # Little at a time but of chunks: what comes before its turn is kept, and charged to nobody.
        return self._server.view if self._chunks is not None else self._server.head_view

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        if self._refused:
            return
        try:
            self._receive(nbytes)
        except BadHead as error:
            self._refuse(error.status, str(error))

    def _receive(self, nbytes: int) -> None:
        self._take(nbytes)
        transport = self._transport
        if self._inbox.full and transport is not None and not transport.is_closing():
            transport.pause_reading()

    def _take(self, nbytes: int) -> None:
        if self._body.active:
            self._body.received(nbytes)
            self._read_body()
        elif self._exchange is not None or (self._paused and self._head is None):
            # The client sends its next request before it has this answer: it is kept, up to a bound.
            self._inbox.pending += bytes(self._server.view[:nbytes])
        elif self._chunks is not None:
            self._read_chunked(self._chunks, bytes(self._server.view[:nbytes]))
        else:
            self._read_head(nbytes)

    def pause_writing(self) -> None:
        """The client reads more slowly than we write: it gets as long as for a body, and until then no other answer."""
        self._paused = True
        if not self._refused and self._transport is not None:
            self._patience.expect(self._server.limits.body_timeout_s)
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._paused = False
        if self._refused or self._transport is None:
            return
        limits = self._server.limits
        if self._exchange is not None:
            self._patience.our_turn()
        else:
            if self._head is None:
                self._share.release()
            self._patience.expect(limits.idle_timeout_s if self._head is None else limits.body_timeout_s)
        self._go_on(self._transport)

    def charge(self, count: int) -> bool:
        """More of the memory for bodies for the request that is being answered; False where there is no room."""
        return self._share.adjust(count)

    def answer(self, response: Response) -> None:
        """Writes the response, and goes on to the next request or hangs up."""
        exchange, self._exchange = self._exchange, None
        self._release()
        transport = self._transport
        if exchange is None or transport is None or transport.is_closing():
            return
        keep_alive = self._keep_alive and not self._server.draining and not self._is_old()
        if not self._paused:
            self._patience.expect(self._server.limits.idle_timeout_s)
        response = self._server.affordable(response)
        self._write(exchange.head, response, keep_alive=keep_alive)
        if transport.get_write_buffer_size():  # All of it is held until the last of it is read: `resume_writing`.
            self._share.hold(response.length)
        if not keep_alive:
            transport.close()
        elif self._inbox.pending:
            self._go_on(transport)

    def _is_old(self) -> bool:
        """Whether the client is to connect anew, perhaps to another pod; not while it has sent more already."""
        return self._loop.time() >= self._old_from_s and not self._inbox.pending

    def _go_on(self, transport: asyncio.Transport) -> None:
        """To what came while we were busy, unless the client doesn't take our answers."""
        if not self._paused and not transport.is_closing():
            self._read_on()
            self._loop.call_soon(self._read_pending)

    def _read_on(self) -> None:
        """More from the client, unless it is ahead of us by as much as is kept."""
        transport = self._transport
        if not self._inbox.full and transport is not None and not transport.is_closing():
            transport.resume_reading()

    @property
    def activity(self) -> Activity:
        """What it does at the moment."""
        if self._exchange is not None:
            return Activity.SERVING
        waiting = self._head is not None or self._inbox.pending or self._refused or self._paused
        return Activity.WAITING if waiting else Activity.IDLE

    def shut(self) -> None:
        """Ends an idle connection, once its client has read what was written; one that isn't ends with its answer."""
        held = self._exchange is not None or self._head is not None or self._inbox.pending or self._refused
        if not held and self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Ends the connection, whatever is left of it."""
        if self._transport is not None:
            self._transport.abort()

    def _read_head(self, nbytes: int) -> None:
        server = self._server
        if not self._inbox.pending:
            end = server.scratch.find(END, 0, nbytes)
            if 0 < end <= server.limits.max_header - 4:
                self._begin(bytes(server.view[: end + 4]), server.view[end + 4 : nbytes])
                return
        self._read_gathered(bytes(server.view[:nbytes]))

    def _read_gathered(self, data: bytes) -> None:
        anew = not self._inbox.pending
        found = self._inbox.head(data)
        if found is not None:
            self._begin(*found)
        elif anew and self._inbox.pending:
            self._patience.expect(self._server.limits.header_timeout_s)

    def _read_pending(self) -> None:
        idle = self._exchange is None and self._head is None and not self._paused
        if idle and self._inbox.pending and self._transport is not None:
            data, self._inbox.pending = self._inbox.pending, b""
            try:
                self._read_gathered(data)
            except BadHead as error:
                self._refuse(error.status, str(error))
            if not self._paused:
                self._read_on()

    def _begin(self, raw: bytes, rest: memoryview) -> None:
        """A head is complete: checks it, and makes room for its body."""
        self._started_s = time.monotonic()
        limits, head = self._server.limits, self._server.head_of(raw)
        self._head = head
        most = self._server.max_body
        if head.length > most:
            raise BadHead(413, f"a body of {head.length} bytes; at most {most} are taken (--max-body, --memory)")
        self._share.begin(head.length)
        # Where a proxy finds another end of a chunked body than we do, nothing behind it is a request.
        self._keep_alive = head.keep_alive and not head.chunked
        if head.headers.get(b"expect", b"").lower() == b"100-continue" and self._transport is not None:
            self._transport.write(CONTINUE)
        if head.chunked:
            self._chunks = ChunkedBody(self._server.max_body, limits.max_header)
            self._patience.expect(limits.body_timeout_s)
            self._read_chunked(self._chunks, bytes(rest))
        elif head.length == 0:
            self._inbox.pending = bytes(rest)
            self._dispatch(memoryview(b""))
        else:
            self._refusal = self._server.refusal(head, rest) if head.length > SMALL_BODY else None
            self._begin_body(head, rest)

    def _begin_body(self, head: Head, rest: memoryview) -> None:
        if len(rest) >= head.length <= SMALL_BODY:
            self._inbox.pending = bytes(rest[head.length :])
            self._dispatch(memoryview(bytes(rest[: head.length])))
            return
        if self._refusal is None:
            room = self._server.allocate(head.length + 1, head.number(self._server.align_header))
            self._body.begin(room, rest[: head.length])
        else:
            self._body.skip(head.length, rest[: head.length])
        self._inbox.pending = bytes(rest[head.length :])
        self._read_body()
        if self._body.active:
            self._patience.expect(self._server.limits.body_timeout_s)

    def _read_body(self) -> None:
        if self._body.filled > self._share.held and self._refusal is None:
            self._share.charge(self._body.filled - self._share.held)
        if self._transport is not None:
            self._body.attend(self._transport)
        ended = self._body.end()
        if ended is not None:
            body, more = ended
            self._inbox.pending += more
            self._dispatch(body)

    def _read_chunked(self, chunks: ChunkedBody, data: bytes) -> None:
        self._share.charge(len(data))
        chunks.feed(data)
        if chunks.complete:
            self._dispatch(memoryview(chunks.body))

    def _dispatch(self, body: memoryview) -> None:
        head, self._head, self._chunks = self._head, None, None
        if head is None:
            return
        exchange = self._exchange = Exchange(self, head, body, self._started_s)
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            exchange.reply(refusal)
            return
        if not self._paused:
            self._patience.our_turn()
        try:
            self._server.handler(exchange)
        except Exception:
            log.exception("a handler failed")
            exchange.reply(Response(500, [self._server.error_body("internal error; the log says more")]))

    def _refuse(self, status: int, message: str) -> None:
        """Answers what can't be handled, and hangs up: what the client sends on can't be told from a request.

        In two steps: a close with unread bytes is a reset, which may reach the client before the answer does.
        """
        transport, head = self._transport, self._head
        self._exchange = self._head = self._chunks = None
        self._inbox.pending = b""
        self._release()
        if self._refused or transport is None:
            return
        self._refused = True
        headers = [RETRY] if status == 503 else []
        self._write(head, Response(status, [self._server.error_body(message)], headers=headers), keep_alive=False)
        if not transport.is_closing():
            transport.write_eof()
        self._patience.expect(LINGER_S)

    def _write(self, head: Head | None, response: Response, *, keep_alive: bool) -> None:
        if self._transport is None:
            return
        bare = head is not None and head.method == b"HEAD"
        self._transport.writelines(rendered(response, keep_alive=keep_alive, bare=bare))
        if self._server.access is not None:
            self._server.access(head, response.status, time.monotonic() - self._started_s if head else 0.0)

    def _release(self) -> None:
        self._share.release()
        self._body.drop()

    def _too_late(self) -> None:
        transport = self._transport
        if transport is None:
            return
        if transport.is_closing() or transport.get_write_buffer_size():
            transport.abort()  # It doesn't read what we have written, nor would it read why.
        elif self._head is not None or self._inbox.pending:
            self._refuse(408, "the request did not come in time (--header-timeout, --body-timeout)")
        else:
            transport.close()
