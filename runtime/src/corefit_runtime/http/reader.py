"""Requests from the bytes of one connection: heads that come in pieces, bodies of a known length, chunked ones.

The head is parsed from a buffer that all connections share; the body goes straight into the memory that tensors are
made from: a byte is copied once, by the kernel. One request at a time: what follows it is kept.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from corefit_runtime.http.body import BodyReader
from corefit_runtime.http.chunks import ChunkedBody
from corefit_runtime.http.inbox import END, Inbox
from corefit_runtime.http.memory import Share
from corefit_runtime.http.messages import CONTINUE, BadHead, Head, Response
from corefit_runtime.http.phase import BODY, CHUNKS, HEAD, NOTHING, Reading

if TYPE_CHECKING:
    from corefit_runtime.http.listener import Listener

SMALL_BODY: Final = 4096
"""Bytes up to which a body that came with its head is simply copied: cheaper than an aligned buffer for it."""


class Request(msgspec.Struct, frozen=True):
    """A request that has come whole.

    Attributes:
        started_s: monotonic, when its head was complete.
        refusal: its answer, where that was known before its body, which is then empty.
    """

    head: Head
    body: memoryview
    started_s: float
    refusal: Response | None


class RequestReader:
    """See the module.

    Args:
        server: its limits, the buffer that all share, room for bodies.
        share: of the memory for bodies, to which a body is charged while it comes.
        inbox: keeps what comes before its turn.

    Attributes:
        head: of the request whose body is coming; None where none is.
        started_s: monotonic, when that head was complete.
    """

    __slots__ = ("_body", "_chunks", "_inbox", "_refusal", "_server", "_share", "_transport", "head", "started_s")

    def __init__(self, server: "Listener[Any]", share: Share, inbox: Inbox) -> None:
        self._server = server
        self._share = share
        self._inbox = inbox
        self._transport: asyncio.Transport | None = None
        self._body = BodyReader(server.view)
        self._chunks: ChunkedBody | None = None
        self._refusal: Response | None = None
        self.head: Head | None = None
        self.started_s = 0.0

    def attach(self, transport: asyncio.Transport) -> None:
        """The transport is there by which the client is told to go on."""
        self._transport = transport

    @property
    def reading(self) -> Reading:
        """How much of the next request has come."""
        if self.head is not None:
            return BODY if self._chunks is None else CHUNKS
        return HEAD if self._inbox.pending else NOTHING

    def buffer(self) -> memoryview:
        """Where the next bytes go: into the body that is being read, else into the buffer that all share."""
        if self.head is None:  # Little at a time: what comes before its turn is kept, and charged to nobody.
            return self._server.head_view
        if self._body.active:
            return self._body.buffer()
        return self._server.view

    def keep(self, count: int) -> None:
        """So many bytes have come before it is their turn."""
        self._inbox.pending += bytes(self._server.view[:count])

    def read(self, count: int) -> Request | None:
        """So many bytes have come; the request that is whole by them.

        Raises:
            BadHead: they are none, or there is no room for it.
        """
        if self.head is None:
            return self._read_head(count)
        if self._chunks is not None:
            return self._read_chunks(self._chunks, bytes(self._server.view[:count]))
        self._body.received(count)
        return self._read_body()

    def read_pending(self) -> Request | None:
        """The request that is whole by what was kept; raises as `read`."""
        data, self._inbox.pending = self._inbox.pending, b""
        return self._gathered(data)

    def reset(self) -> None:
        """Nothing that has come is wanted any more, nor what comes."""
        self.head = self._chunks = self._refusal = None
        self._inbox.pending = b""
        self._body.drop()

    def _read_head(self, count: int) -> Request | None:
        server = self._server
        if not self._inbox.pending:
            end = server.scratch.find(END, 0, count)
            if 0 < end <= server.limits.max_header - 4:
                return self._begin(bytes(server.view[: end + 4]), server.view[end + 4 : count])
        return self._gathered(bytes(server.view[:count]))

    def _gathered(self, data: bytes) -> Request | None:
        found = self._inbox.head(data)
        return self._begin(*found) if found is not None else None

    def _begin(self, raw: bytes, rest: memoryview) -> Request | None:
        """A head is complete: checks it, and makes room for its body."""
        self.started_s = time.monotonic()
        server, head = self._server, self._server.head_of(raw)
        self.head = head
        most = server.max_body
        if head.length > most:
            raise BadHead(413, f"a body of {head.length} bytes; at most {most} are taken (--max-body, --memory)")
        self._share.begin(head.length)
        if head.headers.get(b"expect", b"").lower() == b"100-continue" and self._transport is not None:
            self._transport.write(CONTINUE)
        if head.chunked:
            self._chunks = ChunkedBody(most, server.limits.max_header)
            return self._read_chunks(self._chunks, bytes(rest))
        if head.length == 0:
            self._inbox.pending = bytes(rest)
            return self._whole(head, memoryview(b""))
        self._refusal = server.refusal(head, rest) if head.length > SMALL_BODY else None
        return self._begin_body(head, rest)

    def _begin_body(self, head: Head, rest: memoryview) -> Request | None:
        if len(rest) >= head.length <= SMALL_BODY:
            self._inbox.pending = bytes(rest[head.length :])
            return self._whole(head, memoryview(bytes(rest[: head.length])))
        if self._refusal is None:
            room = self._server.allocate(head.length + 1, head.number(self._server.align_header))
            self._body.begin(room, rest[: head.length])
        else:
            self._body.skip(head.length, rest[: head.length])
        self._inbox.pending = bytes(rest[head.length :])
        return self._read_body()

    def _read_body(self) -> Request | None:
        coming, share = self._body, self._share
        if coming.filled > share.held and self._refusal is None:
            share.charge(coming.filled - share.held)
        if self._transport is not None:
            coming.throw_away(self._transport)
            coming.gather(self._transport, self._gathered_by_kernel(coming.gatherable))
        ended = coming.end()
        if ended is None or self.head is None:
            return None
        body, more = ended
        self._inbox.pending += more
        return self._whole(self.head, body)

    def _gathered_by_kernel(self, wanted: int) -> int:
        """Of so many bytes, those that the kernel may gather: it holds them, so that there must be room for all."""
        here = self._body.filled if self._refusal is None else 0  # What is skipped is gone.
        more = here + wanted - self._share.held
        return wanted if more <= 0 or self._share.adjust(more) else 0

    def _read_chunks(self, chunks: ChunkedBody, data: bytes) -> Request | None:
        self._share.charge(len(data))
        chunks.feed(data)
        return self._whole(self.head, memoryview(chunks.body)) if chunks.complete and self.head is not None else None

    def _whole(self, head: Head, body: memoryview) -> Request:
        refusal, self._refusal = self._refusal, None
        self.head = self._chunks = None
        return Request(head, body, self.started_s, refusal)
