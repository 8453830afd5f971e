"""One HTTP/1.1 connection: asyncio's BufferedProtocol over httptools' parser.

A machine of few phases (`phase`): a request is received, handled, answered; or it is refused, and the connection ends.
What has come of a request is the reader's. One request at a time; pipelined ones wait. Every wait for a client has a
deadline, every size a limit.
"""

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Final, cast

from corefit_runtime.http import kernel
from corefit_runtime.http.crowd import Activity
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.inbox import Inbox
from corefit_runtime.http.memory import Share
from corefit_runtime.http.messages import BadHead, Head, Response, rendered
from corefit_runtime.http.patience import Patience
from corefit_runtime.http.phase import HANDLING, LOST, NOTHING, RECEIVING, REFUSED, Phase, step
from corefit_runtime.http.reader import Request, RequestReader

if TYPE_CHECKING:
    from corefit_runtime.http.listener import Listener

log: Final = logging.getLogger(__name__)
SCRATCH: Final = 65536
"""Bytes of one read of a head: the largest head that can be configured."""
AGE_SPREAD: Final = 0.1
"""Of the age at which a connection ends: those that were made at once do not all come back at once."""
LINGER_S: Final = 2.0
"""Seconds that a refused client has to read why: what it sends meanwhile is thrown away."""
RETRY: Final = (b"retry-after", b"1")
AT_ONCE: Final = 1 << 20
"""Bytes of an answer that asyncio may join, and copy again for a slow client. Of a larger one each piece goes by itself
and is let go of: there is no room for three of it."""


class Connection(asyncio.BufferedProtocol):
    """One client.

    Besides the phase there is one thing that it is at or not: whether the client takes our answers as fast as we write.
    """

    def __init__(self, server: "Listener[Connection]") -> None:
        self._server = server
        self._loop = server.loop
        self._transport: asyncio.Transport | None = None
        self._phase: Phase = RECEIVING
        self._paused = False
        self._allowance = 0
        self._share = Share(server.memory)
        self._inbox = Inbox(server.limits.max_header)
        self._reader = RequestReader(server, self._share, self._inbox)
        self._exchange: Exchange | None = None  # While its phase is HANDLING.
        spread = random.uniform(1 - AGE_SPREAD, 1 + AGE_SPREAD)  # noqa: S311 - no secret
        now_s, limits = server.loop.time(), server.limits
        self._old_from_s = now_s + spread * limits.connection_age_s
        self._old_refused_from_s = now_s + spread * limits.refused_connection_age_s
        self._patience = Patience(server.loop, server.limits.idle_timeout_s, self._too_late)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        self._reader.attach(self._transport)
        server = self._server
        if not server.joined(self, transport):
            self._refuse(503, f"{server.limits.max_connections} connections are open (--max-connections)")
            return
        self._allowance = server.allowance
        kernel.bound_unsent(transport, self._allowance)
        self._patience.expect(server.limits.header_timeout_s)

    def connection_lost(self, _exc: Exception | None) -> None:
        """The client has hung up, or we have."""
        self._phase = step(self._phase, LOST)
        self._transport = None
        self._server.lost(self)
        self._patience.end()
        exchange, self._exchange = self._exchange, None
        user = exchange.gone() if exchange is not None else None
        if user is not None:  # A run can't be ended: its body is there until it has.
            self._share.release_after(user, self._loop)
        self._share.release()
        self._reader.reset()

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        if self._phase is REFUSED:
            return
        reader = self._reader
        if self._phase is HANDLING or (self._paused and reader.head is None):
            # The client sends its next request before it has this answer: it is kept, up to a bound.
            reader.keep(nbytes)
        else:
            self._read(nbytes)
        if self._inbox.full:
            self._pause_reading()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write: it gets as long as for a body, and until then no other answer."""
        self._paused = True
        if self._phase is not REFUSED and self._transport is not None:
            self._patience.expect(self._server.limits.body_timeout_s)

    def resume_writing(self) -> None:
        """It has caught up."""
        self._paused = False
        if self._phase is REFUSED or self._transport is None:
            return
        limits, begun = self._server.limits, self._reader.head is not None
        if self._phase is HANDLING:
            self._patience.our_turn()
        else:
            if not begun:
                self._share.release()
            self._patience.expect(limits.body_timeout_s if begun else limits.idle_timeout_s)
        self._go_on(self._transport)

    @property
    def held(self) -> int:
        """Bytes of the memory for bodies that its request takes."""
        return self._share.held

    def charge(self, count: int) -> bool:
        """More of the memory for bodies for the request that is being answered; False where there is no room."""
        return self._share.adjust(count)

    def answer(self, response: Response) -> None:
        """Writes the response, and goes on to the next request or hangs up."""
        exchange, transport = self._exchange, self._transport
        self._share.release()
        if exchange is None or transport is None:
            return
        self._phase, self._exchange = step(self._phase, RECEIVING), None
        if transport.is_closing():
            return
        head = exchange.head
        # Where a proxy finds another end of a chunked body than we do, nothing behind it is a request.
        keep_alive = head.keep_alive and not head.chunked and not self._server.draining and not self._is_old(response)
        if not self._paused:
            self._patience.expect(self._server.limits.idle_timeout_s)
        response = self._server.affordable(response)
        length = self._write(head, response, exchange.arrived_s, keep_alive=keep_alive)
        if transport.get_write_buffer_size():  # All of it is held until the last of it is read: `resume_writing`.
            self._share.hold(length)
        if not keep_alive:
            self._hang_up(transport, expected=not head.keep_alive)
        elif self._inbox.pending:
            self._go_on(transport)

    @property
    def activity(self) -> Activity:
        """What it does at the moment."""
        if self._phase is HANDLING:
            return Activity.SERVING
        idle = self._reader.reading is NOTHING and self._phase is RECEIVING and not self._paused
        return Activity.IDLE if idle else Activity.WAITING

    def shut(self) -> None:
        """Ends an idle connection, once its client has read what was written; one that isn't ends with its answer."""
        idle = self._phase is RECEIVING and self._reader.reading is NOTHING
        if idle and self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Ends the connection, whatever is left of it."""
        if self._transport is not None:
            self._transport.abort()

    def _is_old(self, response: Response) -> bool:
        """Whether the client is to connect anew, perhaps to another pod; not while it has sent more already."""
        old_from_s = self._old_refused_from_s if response.status == 503 else self._old_from_s
        return self._loop.time() >= old_from_s and not self._inbox.pending

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

    def _pause_reading(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()
            kernel.bound_unread(transport, self._allowance)

    def _read_pending(self) -> None:
        reader = self._reader
        if self._phase is RECEIVING and reader.head is None and not self._paused and self._inbox.pending:
            self._read(None)
            if not self._paused:
                self._read_on()

    def _read(self, nbytes: int | None) -> None:
        """On with the request by so many bytes that have come; None: by those that were kept."""
        reader = self._reader
        before = reader.reading if nbytes is not None else NOTHING
        try:
            request = reader.read_pending() if nbytes is None else reader.read(nbytes)
        except BadHead as error:
            self._refuse(error.status, str(error))
            return
        if request is not None:
            self._dispatch(request)
        elif reader.reading is not before:
            limits = self._server.limits
            self._patience.expect(limits.body_timeout_s if reader.head is not None else limits.header_timeout_s)

    def _dispatch(self, request: Request) -> None:
        self._phase = step(self._phase, HANDLING)
        exchange = self._exchange = Exchange(self, request.head, request.body, request.started_s)
        if request.refusal is not None:
            exchange.reply(request.refusal)
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
        transport, head, started_s = self._transport, self._reader.head, self._reader.started_s
        self._reader.reset()
        self._share.release()
        if transport is None:
            return
        self._phase = step(self._phase, REFUSED)
        response = Response(status, [self._server.error_body(message)], headers=[RETRY] if status == 503 else [])
        self._write(head, response, started_s, keep_alive=False)
        if not transport.is_closing():
            transport.write_eof()
        self._patience.expect(LINGER_S)

    def _hang_up(self, transport: asyncio.Transport, *, expected: bool) -> None:
        """After an answer that says so.

        A client that does not expect it may have sent its next request already: a close would be a reset, as in
        `_refuse`. One that reads more slowly than we write has longer than `LINGER_S`.
        """
        if expected or transport.get_write_buffer_size():
            transport.close()
            return
        self._phase = step(self._phase, REFUSED)
        transport.write_eof()
        self._patience.expect(LINGER_S)

    def _write(self, head: Head | None, response: Response, started_s: float, *, keep_alive: bool) -> int:
        """Writes the response; returns the bytes of its body that nobody else charges."""
        if self._transport is None:
            return 0
        bare = head is not None and head.method == b"HEAD"
        length = response.length
        pieces = rendered(response, length, keep_alive=keep_alive, bare=bare)
        if length > AT_ONCE:
            _write_apart(self._transport, pieces, response)
        else:
            self._transport.writelines(pieces)
        if self._server.access is not None:
            self._server.access(head, response.status, time.monotonic() - started_s if head else 0.0)
        return length - response.charged

    def _too_late(self) -> None:
        transport = self._transport
        if transport is None:
            return
        if transport.is_closing() or transport.get_write_buffer_size():
            transport.abort()  # It doesn't read what we have written, nor would it read why.
        elif self._phase is RECEIVING and self._reader.reading is not NOTHING:
            self._refuse(408, "the request did not come in time (--header-timeout, --body-timeout)")
        else:
            transport.close()


def _write_apart(transport: asyncio.Transport, pieces: list[bytes | memoryview], response: Response) -> None:
    """Writes the pieces of a response one by one; none of them is there any more when the next one is written."""
    response.body.clear()
    pieces.reverse()
    while pieces:
        transport.write(memoryview(pieces.pop()))
