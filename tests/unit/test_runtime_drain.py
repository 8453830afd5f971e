"""A server that closes: what was begun is answered and read to its end, and nobody keeps it longer than the grace."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
import uvloop
from unit.wire import LIMITS, Wire

from corefit_runtime.http.connection import Connection
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import Response
from corefit_runtime.http.server import Server

PATIENCE_S = 60.0
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000\r\n\r\n" + b"x" * 8000


class Line(Wire):
    """A transport that tells its connection that it has ended."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.connection = Connection(server)
        self.connection.connection_made(cast("asyncio.Transport", self))

    def close(self) -> None:
        if not self.closed:
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)
        super().close()

    abort = close
    write_eof = close  # Its client hangs up when it has read the end.

    def send(self, data: bytes) -> None:
        while data:
            room = self.connection.get_buffer(-1)
            count = min(len(room), len(data))
            room[:count] = data[:count]
            self.connection.buffer_updated(count)
            data = data[count:]


def serving(handler: Callable[[Exchange], None]) -> Server:
    return Server(handler, LIMITS, error_body=lambda message: message.encode())


def count(exchange: Exchange) -> None:
    exchange.reply(Response(200, [b"%d" % len(exchange.body)]))


async def begun(server: Server, grace_s: float) -> "asyncio.Task[int]":
    """A server that is closing."""
    task = asyncio.create_task(server.close(grace_s))
    for _ in range(10):
        await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("sent", [10, len(REQUEST) - 8000, len(REQUEST) - 1])
async def test_a_request_that_is_still_coming_is_read_and_answered(sent: int) -> None:
    server = serving(count)
    line = Line(server)
    line.send(REQUEST[:sent])
    closing = await begun(server, PATIENCE_S)
    assert not closing.done()
    line.send(REQUEST[sent:])
    assert await closing == 0
    assert line.sent.endswith(b"\r\n\r\n8000")
    assert b"connection: close" in line.sent.lower()


async def test_a_request_that_is_being_worked_on_is_answered() -> None:
    held: list[Exchange] = []
    server = serving(held.append)
    line = Line(server)
    line.send(REQUEST)
    closing = await begun(server, PATIENCE_S)
    assert not closing.done()
    count(held[0])
    assert await closing == 0
    assert line.sent.endswith(b"\r\n\r\n8000")


async def test_what_is_idle_is_ended_at_once_and_what_goes_on_when_the_grace_is_over() -> None:
    server = serving(lambda _exchange: None)
    idle, _gone = Line(server), Line(server).close()
    assert await (await begun(server, PATIENCE_S)) == 0
    assert idle.closed
    stuck = Line(server)
    stuck.send(REQUEST)
    assert await server.close(0.01) == 1
    assert stuck.closed


def test_an_answer_that_its_client_has_not_read_yet_is_not_lost() -> None:
    """The model is done with it, the kernel's buffers are full, and the rest is still ours: on the runtime's loop."""
    size = 16 << 20

    async def test() -> None:
        server = serving(lambda exchange: exchange.reply(Response(200, [bytes(size)])))
        port = await server.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        closing = await begun(server, PATIENCE_S)
        assert not closing.done()
        assert len(await reader.read()) == size, head
        assert await closing == 0
        writer.close()
        await writer.wait_closed()

    run(test())


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
