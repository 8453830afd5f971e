"""The HTTP front against another parser of the same bytes (h11): the same requests, or ours refuses.

A server behind a proxy that reads a stream otherwise than the proxy does answers requests that nobody has sent
(request smuggling). Ours may be stricter than h11, never laxer.
"""

import asyncio
from collections.abc import Iterator
from typing import cast

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.wire import LIMITS, Wire, fed

from corefit_runtime.http.connection import Connection
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import BadHead, Head, Response, parse_head
from corefit_runtime.http.server import Server

Request = tuple[bytes, bytes, bytes]
"""Method, target, body."""


PADDING = bytes(64)
"""Zeros between which no parser has a border: what comes `step` bytes at a time comes here as one piece."""


def pieces(stream: bytes, step: int) -> Iterator[bytes]:
    """The bytes, `step` at a time, and all at once where there is nothing but padding for a while."""
    start = 0
    while start < len(stream):
        stop = start + step
        if stream.startswith(PADDING, start):
            run = len(stream) - start - len(stream[start:].lstrip(b"\0"))
            stop = max(stop, start + run - len(PADDING) // 2)
        yield stream[start:stop]
        start = stop


async def handed_on(stream: bytes, step: int) -> list[tuple[Head, bytes]]:
    """The requests that the front hands on from these bytes, which come `step` at a time."""
    seen: list[tuple[Head, bytes]] = []

    def handler(exchange: Exchange) -> None:
        seen.append((exchange.head, bytes(exchange.body)))
        exchange.reply(Response(200))

    server = Server(handler, LIMITS, error_body=lambda message: message.encode())
    connection, wire = Connection(server), Wire()
    connection.connection_made(cast("asyncio.Transport", wire))
    for piece in pieces(stream, step):
        if wire.closed:
            break
        for _ in fed(connection, wire, piece):
            pass
        await asyncio.sleep(0)
    for _ in range(40):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    assert server.memory.held == 0
    return seen


def ours(runner: asyncio.Runner, stream: bytes, step: int) -> list[Request]:
    return [(head.method, head.url, body) for head, body in runner.run(handed_on(stream, step))]


def theirs(stream: bytes) -> list[Request]:
    """The requests that h11 reads from these bytes, up to what it refuses or to the connection's end."""
    seen: list[Request] = []
    while stream:
        request, stream = one(stream.lstrip(b"\r\n"))  # RFC 9112, 2.2: empty lines before a request; h11 takes none
        seen += [request] if request is not None else []
    return seen


def one(stream: bytes) -> tuple[Request | None, bytes]:
    """The first request, None where there is none, and what follows it where the connection goes on."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMITS.max_header)
    connection.receive_data(stream)
    request, body = None, b""
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                return None, b""
        assert request is not None
        connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
        connection.send(h11.EndOfMessage())
    except h11.ProtocolError:
        return None, b""
    rest = connection.trailing_data[0] if connection.our_state is h11.DONE else b""
    return (bytes(request.method), bytes(request.target), body), rest


HEADS = (
    b"GET / HTTP/1.1\r\n",
    b"POST /a HTTP/1.1\r\n",
    b"POST /b HTTP/1.0\r\n",
    b"HEAD http://h/c?d HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"CONNECT h:1 HTTP/1.1\r\n",
    b"get / HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n",
    b"GET  / HTTP/1.1\r\n",
    b"GET / HTTP/1.1\n",
    b"GET /\r\n",
)
FIELDS = (
    b"Host: x\r\n",
    b"host : x\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: +3\r\n",
    b"Content-Length: 3, 3\r\n",
    b"Content-Length: 0x3\r\n",
    b"Content-Length: 4\r\n",
    b"Content-Length: 5000\r\n",
    b"Content-Length:\r\n",
    b"Content-Length: 03\r\n",
    b"Content_Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: Chunked \r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked, gzip\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b" Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive, Upgrade\r\n",
    b"Upgrade: h2c\r\n",
    b"Expect: 100-continue\r\n",
    b"X: a\r\n b\r\n",
    b"X: a\0b\r\n",
    b"X: a\rb\r\n",
    b"X: \xe4\r\n",
    b"X\r\n",
    b": x\r\n",
    b"\n",
)
BODIES = (
    b"abc",
    bytes(5000),
    b"1388\r\n" + bytes(5000) + b"\r\n0\r\n\r\n",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"3;a=b\r\nabc\r\n0\r\n\r\n",
    b"3 ;a\r\nabc\r\n0\r\n\r\n",
    b"03\r\nabc\r\n00\r\n\r\n",
    b"3\r\nabc\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n",
    b"3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: y\r\n\r\n",
    b"3\r\nabc0\r\n\r\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"3\nabc\n0\n\n",
    b"3;\nabc\r\n0\r\n\r\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b"-3\r\nabc\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    b"0\r\n\r\n",
    b"0\r\nX\r\n\r\n",
    b"0\r\n X: a\r\n\r\n",
    b"\r\n",
    b"",
)

heads = st.builds(
    lambda line, fields, body: line + b"".join(fields) + b"\r\n" + body,
    st.sampled_from(HEADS[:2]) | st.sampled_from(HEADS),
    st.lists(st.sampled_from(FIELDS[:1]) | st.sampled_from(FIELDS), max_size=5).map(lambda fields: [FIELDS[0], *fields])
    | st.lists(st.sampled_from(FIELDS), max_size=4),
    st.sampled_from(BODIES),
)
mutations = st.lists(
    st.tuples(st.integers(0, 2000), st.sampled_from([b"", b"\r", b"\n", b" ", b"\t", b"\0", b"0", b":", b","])),
    max_size=2,
)


def mutated(stream: bytes, places: list[tuple[int, bytes]]) -> bytes:
    """The stream with bytes put in, or taken out where there are none to put in."""
    for place, what in places:
        at = place % (len(stream) + 1)
        stream = stream[:at] + what + stream[at + (not what) :]
    return stream


streams = st.builds(
    lambda requests, places: mutated(b"".join(requests), places), st.lists(heads, min_size=1), mutations
)
steps = st.sampled_from([1, 7, 4096])


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all examples."""
    with asyncio.Runner() as made:
        yield made


def agree(runner: asyncio.Runner, stream: bytes, step: int) -> None:
    found, expected = ours(runner, stream, step), theirs(stream)
    assert found == expected[: len(found)]


@settings(max_examples=300)
@given(stream=streams, step=steps)
def test_the_same_bytes_are_the_same_requests_or_are_refused(runner: asyncio.Runner, stream: bytes, step: int) -> None:
    agree(runner, stream, step)


@pytest.mark.nightly
@settings(max_examples=10_000)
@given(stream=streams, step=steps)
def test_many_bytes_are_the_same_requests_or_are_refused(runner: asyncio.Runner, stream: bytes, step: int) -> None:
    agree(runner, stream, step)


@pytest.mark.parametrize("step", [1, 3, 4096])
@pytest.mark.parametrize(
    "behind", [b"", b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Encoding: br\r\n\r\n"]
)
@pytest.mark.parametrize("trailer", [b"", b"Content-Encoding: br\r\n"])
async def test_nothing_behind_a_chunked_body_changes_its_request(step: int, behind: bytes, trailer: bytes) -> None:
    """Trailers and the next request's head were taken for this one's: `POST` elsewhere ran an inference."""
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    stream = head + b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n" + behind
    seen = await handed_on(stream, step)
    assert [(head.method, head.url, body) for head, body in seen] == [(b"POST", b"/a", b"abc")]
    assert seen[0][0].headers == {b"host": b"x", b"transfer-encoding": b"chunked"}


@pytest.mark.parametrize(
    ("codings", "status"), [(b"gzip, chunked", 501), (b"chunked, gzip", 400), (b"chunked, chunked", 400), (b"a", 400)]
)
def test_a_transfer_coding_that_is_not_known_is_said_so(codings: bytes, status: int) -> None:
    with pytest.raises(BadHead) as raised:
        parse_head(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + codings + b"\r\n\r\n")
    assert raised.value.status == status
