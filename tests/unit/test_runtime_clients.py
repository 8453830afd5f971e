"""The HTTP front and clients that are slow, silent, or write their requests in unusual ways."""

import asyncio
import socket
from dataclasses import replace
from typing import cast

import pytest
from unit.wire import LIMITS, Wire

from corefit_runtime.http.connection import Connection
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.inbox import KEPT
from corefit_runtime.http.memory import AT_ONCE
from corefit_runtime.http.messages import BadHead, HttpLimits, Response, parse_head
from corefit_runtime.http.server import Server

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HASTY = replace(LIMITS, body_timeout_s=0.05, idle_timeout_s=60)


def echo(exchange: Exchange) -> None:
    exchange.reply(Response(200, [b"<", bytes(exchange.body), b">"]))


def refuse(exchange: Exchange) -> None:
    exchange.reply(Response(503, [b"full"]))


class Client:
    """A connection and its wire."""

    def __init__(self, server: Server) -> None:
        self.wire = Wire()
        self.connection = Connection(server)
        self.connection.connection_made(cast("asyncio.Transport", self.wire))

    def send(self, data: bytes) -> None:
        while data and not self.wire.closed:
            room = self.connection.get_buffer(-1)
            count = min(len(room), len(data))
            room[:count] = data[:count]
            self.connection.buffer_updated(count)
            data = data[count:]

    def answers(self) -> int:
        return self.wire.sent.count(b"HTTP/1.1 200 OK")


def server(limits: HttpLimits = LIMITS) -> Server:
    return Server(echo, limits, error_body=lambda message: message.encode())


async def rounds(count: int = 5) -> None:
    """Lets the loop come round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    """It was closed, which waits for what is written to be read: for ever."""
    client = Client(server(HASTY))
    client.send(GET)
    client.wire.unread = 100_000
    client.connection.pause_writing()
    await asyncio.sleep(0.2)
    assert client.wire.aborted
    client.connection.connection_lost(None)


async def test_what_follows_an_answer_that_is_not_read_waits() -> None:
    """Each of the pipelined requests was answered into memory, and gave the client more time."""
    client = Client(server())
    client.send(GET)
    client.connection.pause_writing()
    sent = 1
    while client.wire.reading and sent < 10_000:
        client.send(GET)
        sent += 1
        await rounds()
    assert client.answers() == 1
    assert sent * len(GET) < KEPT + 3 * len(GET), "no more is read than is kept of a next request"
    client.connection.resume_writing()
    await rounds(2 * sent)
    assert client.wire.reading
    assert client.answers() == sent
    client.connection.connection_lost(None)


async def test_an_answer_that_is_being_made_has_no_deadline_once_the_last_one_is_read() -> None:
    held: list[Exchange] = []
    limits = replace(LIMITS, idle_timeout_s=0.05)
    client = Client(Server(held.append, limits, error_body=lambda message: message.encode()))
    client.send(GET)
    client.connection.pause_writing()
    client.connection.resume_writing()
    await asyncio.sleep(0.2)
    assert not client.wire.closed
    held[0].reply(Response(200, [b"late"]))
    assert client.answers() == 1
    client.connection.connection_lost(None)


async def test_an_old_connection_ends_with_its_next_answer_and_says_so() -> None:
    """A client with connections for ever got all its answers from the pods that there were when it connected."""
    young, old = Client(server()), Client(server(replace(LIMITS, connection_age_s=0)))
    for client in (young, old):
        client.send(GET)
    await rounds()
    assert (young.answers(), old.answers()) == (1, 1)
    assert b"connection: close" in old.wire.sent.lower()
    assert b"connection: close" not in young.wire.sent.lower()
    assert (young.wire.closed, old.wire.closed) == (False, True)
    for client in (young, old):
        client.connection.connection_lost(None)


async def test_an_old_connection_answers_what_its_client_has_sent_already() -> None:
    client = Client(server(replace(LIMITS, connection_age_s=0)))
    client.send(GET + GET)
    await rounds()
    assert client.answers() == 2
    assert client.wire.closed
    client.connection.connection_lost(None)


async def test_a_refused_client_is_sent_to_another_pod_and_one_that_has_just_come_is_not() -> None:
    """48 connections stayed with the one pod that refused, while three others had nothing to do."""
    young, old = (
        Client(Server(refuse, replace(LIMITS, refused_connection_age_s=age), error_body=str.encode)) for age in (60, 0)
    )
    for client in (young, old):
        client.send(GET)
    await rounds()
    assert b"connection: close" not in young.wire.sent.lower()
    assert b"connection: close" in old.wire.sent.lower()
    assert (young.wire.closed, old.wire.closed) == (False, True)
    for client in (young, old):
        client.connection.connection_lost(None)


async def test_a_connection_that_is_refused_answers_what_its_client_has_sent_already() -> None:
    limits = replace(LIMITS, refused_connection_age_s=0)
    client = Client(Server(refuse, limits, error_body=str.encode))
    client.send(GET + GET + GET)
    await rounds()
    assert client.wire.sent.count(b"HTTP/1.1 503") == 3
    assert client.wire.sent.lower().count(b"connection: close") == 1
    assert client.wire.closed
    client.connection.connection_lost(None)


@pytest.mark.parametrize("limit", ["connection_age_s", "refused_connection_age_s"])
async def test_a_client_that_sends_on_when_its_connection_ends_reads_that_it_has(limit: str) -> None:
    """A close with unread bytes is a reset, which may reach the client before the answer does."""
    status = 503 if limit == "refused_connection_age_s" else 200

    def answer(exchange: Exchange) -> None:
        client.send(GET)  # Unread when the answer goes.
        exchange.reply(Response(status, [b"x"]))

    made = Server(answer, replace(LIMITS, **{limit: 0}), error_body=str.encode)
    port = await made.start("127.0.0.1", 0)
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setblocking(False)
        client.send(GET)
        received = b""
        while piece := await asyncio.wait_for(loop.sock_recv(client, 1 << 16), 60):
            received += piece
    assert received.startswith(b"HTTP/1.1 %d" % status)
    assert b"connection: close" in received
    assert received.count(b"HTTP/1.1") == 1
    await made.close(60)


async def test_a_body_is_charged_when_it_comes() -> None:
    """Four clients that sent nothing but heads held all of the memory for a minute."""
    size = 1_000_000
    made = server(replace(LIMITS, max_body=size, max_body_memory=size))
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (size - 2 * AT_ONCE)
    silent, busy, late = Client(made), Client(made), Client(made)
    silent.send(head)
    assert made.memory.held == AT_ONCE
    busy.send(head + bytes(size - 2 * AT_ONCE))
    assert busy.answers() == 1
    assert made.memory.held == AT_ONCE
    busy.send(head + bytes(size - 3 * AT_ONCE))
    late.send(head)
    assert late.wire.sent.startswith(b"HTTP/1.1 503")
    assert b"\r\nretry-after: 1\r\n" in late.wire.sent
    silent.send(bytes(4 * AT_ONCE))
    assert silent.wire.sent.startswith(b"HTTP/1.1 503")
    for client in (silent, busy, late):
        client.connection.connection_lost(None)
    assert made.memory.held == 0


async def test_a_refused_connection_is_told_when_to_come_back() -> None:
    made = server(replace(LIMITS, max_connections=1))
    first = Client(made)
    first.send(GET[:10])
    second = Client(made)
    assert b"\r\nretry-after: 1\r\n" in second.wire.sent
    for client in (first, second):
        client.connection.connection_lost(None)


@pytest.mark.parametrize("lines", [b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n\r\n"])
async def test_empty_lines_before_a_request_are_ignored(lines: bytes) -> None:
    """RFC 9112, 2.2."""
    client = Client(server())
    for piece in (lines + GET, lines, GET, lines[:1], lines[1:] + GET):
        client.send(piece)
        await rounds()
    assert client.answers() == client.wire.sent.count(b"HTTP/1.1") == 3
    client.connection.connection_lost(None)


@pytest.mark.parametrize(
    ("lines", "good"),
    [
        (b"HTTP/1.1\r\nHost: a", True),
        (b"HTTP/1.1\r\nHost:", True),
        (b"HTTP/1.1\r\nA: b", False),
        (b"HTTP/1.1\r\nHost: a\r\nhost: a", False),
        (b"HTTP/1.0\r\nA: b", True),
        (b"HTTP/1.0\r\nHost: a\r\nHost: b", False),
    ],
)
def test_a_request_has_one_host(lines: bytes, good: bool) -> None:
    """RFC 9112, 3.2."""
    data = b"GET / " + lines + b"\r\n\r\n"
    if good:
        parse_head(data)
        return
    with pytest.raises(BadHead, match="Host"):
        parse_head(data)


async def test_an_upgrade_is_ignored_where_the_body_is_chunked_as_well() -> None:
    """Java's HttpClient asks for h2c with its first request; the body was taken for the other protocol's."""
    client = Client(server())
    client.send(
        b"POST / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nHost: x\r\nUpgrade: h2c\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    )
    assert client.wire.sent.endswith(b"<{}>")
    client.connection.connection_lost(None)
