"""The HTTP front without sockets: requests in pieces of any size, and bytes of any kind."""

import asyncio
import gc
import itertools
import socket
import tracemalloc
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.wire import LIMITS, Wire, fed

from corefit_runtime.http.chunks import SMALL_CHUNKS, ChunkedBody
from corefit_runtime.http.connection import Connection
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.inbox import KEPT
from corefit_runtime.http.messages import BadHead, Head, Response, parse_head
from corefit_runtime.http.reader import SMALL_BODY
from corefit_runtime.http.server import HEAD_READ, Server


def echo(exchange: Exchange) -> None:
    exchange.reply(Response(200, [b"<", bytes(exchange.body), b">"]))


def refusal(head: Head, _first: memoryview) -> Response | None:
    return Response(503, [b"no"]) if b"x-unwanted" in head.headers else None


async def converse(pieces: list[bytes]) -> tuple[bytes, Server]:
    """What a server that echoes bodies answers to these pieces."""
    server = Server(echo, LIMITS, error_body=lambda message: message.encode(), refusal=refusal)
    connection, wire = Connection(server), Wire()
    connection.connection_made(cast("asyncio.Transport", wire))
    for piece in pieces:
        for _ in fed(connection, wire, piece):
            pass
        await asyncio.sleep(0)
    for _ in range(len(pieces) + 30):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    return wire.sent, server


def test_an_exchange_that_has_ended_holds_on_to_nothing() -> None:
    """Bodies of 600 KB lived until the garbage collector came: 0.9 KB a request, and tens of MB at a time."""

    class Connection:
        def answer(self, response: Response) -> None:
            """Nothing."""

    class Held:
        """What the handler's function refers to, and what refers to the exchange: a job."""

        exchange: Exchange

    def ended(end: Callable[[Exchange], None]) -> weakref.ref[Held]:
        held = Held()
        held.exchange = Exchange(Connection(), parse_head(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), memoryview(b""), 0.0)
        held.exchange.on_gone = lambda: str(held)
        end(held.exchange)
        return weakref.ref(held)

    gc.disable()
    try:
        assert ended(lambda exchange: exchange.reply(Response()))() is None
        assert ended(lambda exchange: exchange.gone())() is None
    finally:
        gc.enable()


class Tapped(Wire):
    """A transport whose socket tells what is asked of the kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.low_water = 1

    def get_extra_info(self, name: str) -> "Tapped | None":  # type: ignore[override]  # it stands for its socket
        return self if name == "socket" else None

    def setsockopt(self, _level: int, option: int, value: int) -> None:
        assert option == socket.SO_RCVLOWAT
        self.low_water = value


@pytest.mark.parametrize("others", [0, 2_000_000, 2_900_000])
async def test_what_the_kernel_gathers_is_charged_before_it_comes(others: int) -> None:
    """It held up to 1 MiB for each connection, which nobody charged: clients that then stall."""
    limits = replace(LIMITS, max_body=3_000_000, max_body_memory=4_000_000)
    server = Server(echo, limits, error_body=lambda message: message.encode())
    connection, wire = Connection(server), Tapped()
    connection.connection_made(cast("asyncio.Transport", wire))
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
    for number, data in enumerate([head, *[bytes(20_000)] * 4]):
        server.memory.held += others if number == 1 else 0
        connection.get_buffer(-1)[: len(data)] = data
        connection.buffer_updated(len(data))
    gathered = wire.low_water if wire.low_water > 1 else 0
    assert gathered == (1 << 20 if others < 2_900_000 else 0), "where there is no room, we are woken for each piece"
    assert server.memory.held == others + 80_000 + gathered
    connection.connection_lost(None)
    assert server.memory.held == others


def test_a_body_that_comes_in_many_pieces_wakes_us_when_the_rest_is_there() -> None:
    """At 1 Gbit/s 600 KB came in 30 pieces, each of which interrupted the run of another request."""
    asyncio.run(drip())


async def drip() -> None:
    length, piece = 3_000_000, 20_000
    limits = replace(LIMITS, max_body=length, max_body_memory=2 * length)
    server = Server(echo, limits, error_body=lambda message: message.encode())
    connection, wire = Connection(server), Tapped()
    connection.connection_made(cast("asyncio.Transport", wire))

    def send(data: bytes) -> None:
        connection.get_buffer(-1)[: len(data)] = data
        connection.buffer_updated(len(data))

    for _ in range(2):
        send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length)
        left, marks = length, []
        while left:
            count = min(left, max(piece, wire.low_water))
            send(bytes(count))
            left -= count
            marks.append(wire.low_water)
        missing = length - 3 * piece
        assert marks == [1, 1, *(1 << 20 for _ in range(missing >> 20)), missing & ((1 << 20) - 1), 1]
        assert wire.sent.endswith(b"\0>")
    connection.connection_lost(None)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


# Those that are copied, and those that are received in place, of which several may come with one read.
bodies = st.lists(st.binary(max_size=300) | st.integers(4000, 6000).map(bytes), min_size=1, max_size=5)


@given(
    bodies=bodies,
    cuts=st.lists(st.integers(0, 30_000), max_size=12),
    wanted=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_requests_are_answered_in_order_however_they_are_cut(
    bodies: list[bytes], cuts: list[int], wanted: list[bool]
) -> None:
    """Those that are refused by their heads as well: what follows their bodies is a request again."""
    headers = [b"" if wish else b"X-Unwanted: 1\r\n" for wish in wanted]
    heads = [
        b"POST / HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n" % (header, len(body))
        for header, body in zip(headers, bodies, strict=False)
    ]
    stream = b"".join(head + body for head, body in zip(heads, bodies, strict=True))
    sent, server = asyncio.run(converse(split(stream, cuts)))
    rest = sent
    for body, wish in zip(bodies, wanted, strict=False):
        head, _, rest = rest.partition(b"\r\n\r\n")
        refused = not wish and len(body) > SMALL_BODY
        assert head.startswith(b"HTTP/1.1 503" if refused else b"HTTP/1.1 200 OK")
        answer = b"no" if refused else b"<" + body + b">"
        assert rest.startswith(answer)
        rest = rest[len(answer) :]
    assert rest == b""
    assert server.memory.held == 0


@given(
    body=st.binary(max_size=400), sizes=st.lists(st.integers(1, 99), min_size=1), cuts=st.lists(st.integers(0, 9999))
)
def test_a_chunked_body_is_put_together(body: bytes, sizes: list[int], cuts: list[int]) -> None:
    chunks, left = b"", body
    while left:
        size = sizes[len(left) % len(sizes)]
        chunks += b"%x\r\n%b\r\n" % (len(left[:size]), left[:size])
        left = left[size:]
    stream = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    sent, server = asyncio.run(converse(split(stream, cuts)))
    assert sent.endswith(b"\r\n\r\n<" + body + b">")
    assert server.memory.held == 0


METHODS = [b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST ", b"HTTP/1.1", b"\r\n", b"\r\n\r\n", b": ", b"\0"]
HEADERS = [b"Content-Length: ", b"5", b"99999", b"Transfer-Encoding: chunked\r\n", b"Upgrade: h2c\r\n", b"0\r\n\r\n"]
words = st.sampled_from([*METHODS, *HEADERS, b"Expect: 100-continue\r\n"])


@given(pieces=st.lists(words | st.binary(max_size=30), max_size=30))
def test_whatever_comes_is_answered_or_refused_and_leaves_nothing(pieces: list[bytes]) -> None:
    sent, server = asyncio.run(converse([piece for piece in pieces if piece]))
    assert b"HTTP/1.1 500" not in sent
    assert server.memory.held == 0
    assert not server.connections


async def test_a_client_that_runs_ahead_is_read_no_further_than_is_kept() -> None:
    """What was kept grew with each read while requests were answered at once, and was charged to nobody."""
    server = Server(echo, LIMITS, error_body=lambda message: message.encode())
    connection, wire = Connection(server), Wire()
    connection.connection_made(cast("asyncio.Transport", wire))
    one, count = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 20_000
    steps, most = fed(connection, wire, one * count), 0
    for _ in range(2 * count):
        if wire.reading:
            next(steps, None)
        most = max(most, len(connection._reader._inbox.pending))
        await asyncio.sleep(0)
    assert most <= KEPT + HEAD_READ
    assert wire.sent.count(b"HTTP/1.1 200 OK") == count
    assert wire.reading
    connection.connection_lost(None)


async def test_what_a_client_sends_before_its_answer_is_kept_up_to_a_bound() -> None:
    """It was 128 KiB of each connection, charged to nobody: of 1,200 that waited for a parser, 150 MB."""
    held: list[Exchange] = []
    server = Server(held.append, LIMITS, error_body=lambda message: message.encode())
    connection, wire = Connection(server), Wire()
    connection.connection_made(cast("asyncio.Transport", wire))
    for _ in fed(connection, wire, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100_000):
        if not wire.reading:
            break
    assert len(held) == 1
    assert len(connection._reader._inbox.pending) <= KEPT + HEAD_READ
    connection.connection_lost(None)


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_a_head_larger_than_what_is_kept_is_read_to_its_end(before: bytes) -> None:
    """Of a head of 12 KB in pieces nothing was read after the first 8 KB, and it got 408 in the end."""
    held: list[Exchange] = []
    limits = replace(LIMITS, max_header=2 * KEPT)
    server = Server(held.append, limits, error_body=lambda message: message.encode())
    connection, wire = Connection(server), Wire()
    connection.connection_made(cast("asyncio.Transport", wire))
    head = b"GET /large HTTP/1.1\r\nHost: x\r\nCookie: %b\r\n\r\n" % (b"x" * (KEPT + 4000))
    pieces = split(before + head, list(range(0, len(head), 1448)))
    for piece in pieces[:-1]:
        list(fed(connection, wire, piece))
    for exchange in held:
        exchange.reply(Response())
    await asyncio.sleep(0)
    assert wire.reading
    list(fed(connection, wire, pieces[-1]))
    assert held[-1].head.path == "/large"
    connection.connection_lost(None)


async def test_a_large_answer_is_not_there_three_times_while_it_is_written() -> None:
    """asyncio joins the pieces, and copies what the client has not taken: 84 MB of JSON took 250."""
    piece, count = 1 << 20, 32

    def answer(exchange: Exchange) -> None:
        tracemalloc.start()
        exchange.reply(Response(200, [bytes(piece) for _ in range(count)]))

    limits = replace(LIMITS, max_body_memory=2 * count * piece)
    server = Server(answer, limits, error_body=lambda message: message.encode())
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1.5 * count * piece
    assert server.memory.held == count * piece, "charged until the last of it is read"
    assert b"content-length: %d\r\n" % (count * piece) in head
    await reader.readexactly(count * piece)
    writer.close()
    await writer.wait_closed()
    await server.close(60)
    assert server.memory.held == 0


@pytest.mark.parametrize("size", [1, 10, 63])
def test_a_body_of_many_tiny_chunks_is_refused(size: int) -> None:
    """A chunk takes 3 us, however small it is: those of one byte in one read stopped the event loop for 30 ms."""
    chunks, limit = (b"%x\r\n%b\r\n" % (size, b"a" * size)) * 100_000, 10_000_000
    with pytest.raises(BadHead, match="fewer than 64 bytes on average: send larger chunks"):
        ChunkedBody(limit, 1000).feed(chunks)
    some = ChunkedBody(limit, 1000)
    some.feed((b"%x\r\n%b\r\n" % (size, b"a" * size)) * SMALL_CHUNKS)
    many = ChunkedBody(limit, 1000)
    many.feed((b"40\r\n%b\r\n" % (b"a" * 64)) * 100_000 + b"0\r\n\r\n")
    assert many.complete


@pytest.mark.parametrize(("version", "interim"), [(b"1.1", 1), (b"1.0", 0)])
async def test_only_a_client_that_knows_interim_answers_gets_one(version: bytes, interim: int) -> None:
    """Behind a proxy of HTTP/1.0 the interim answer was taken for the answer, and the answer for the next one."""
    head = b"POST / HTTP/%b\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n" % version
    sent, _ = await converse([head, b"ab"])
    assert sent.count(b"HTTP/1.1 100 Continue\r\n\r\n") == interim
    assert sent.endswith(b"<ab>")
