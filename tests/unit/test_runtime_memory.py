"""What is held follows the memory that the container has: bodies, answers that nobody reads, downloads, volumes."""

import array
import asyncio
import contextlib
import fcntl
import gzip
import http.server
import termios
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.sites import served
from unit.wire import LIMITS

from corefit_core.errors import ModelTooLarge
from corefit_core.pods import container as pod_container
from corefit_core.quantity import parse_bytes
from corefit_core.spec.decode import decode
from corefit_runtime.http import kernel
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.memory import AT_ONCE, Memory, Share
from corefit_runtime.http.messages import BadHead, Response
from corefit_runtime.http.server import Server
from corefit_runtime.memory import container
from corefit_runtime.models import store
from corefit_runtime.models.access import Access
from corefit_runtime.settings import settings

MIB = 1 << 20


def test_a_request_without_a_body_needs_no_room() -> None:
    """Answers that nobody read held more than there was: GET of health and metadata got 503 as well."""
    refused: list[str] = []
    pool = Memory(100, refused.append)
    Share(pool).hold(101)
    Share(pool).begin(0)
    assert refused == []
    with pytest.raises(BadHead):
        Share(pool).begin(1)
    assert refused == ["memory"]


def come(pool: Memory, lengths: list[int]) -> list[Share]:
    """Bodies of these lengths that come at once until there is no room, and then no further."""
    shares = [Share(pool) for _ in lengths]
    for share, length in zip(shares, lengths, strict=True):
        share.begin(length)
    with contextlib.suppress(BadHead):
        while True:
            for share, length in zip(shares, lengths, strict=True):
                share.charge(min(AT_ONCE, length - share.held))
            if all(share.held == length for share, length in zip(shares, lengths, strict=True)):
                break
    return shares


@pytest.mark.parametrize("lengths", [[9 * MIB, 9 * MIB], [15 * MIB], [6 * MIB, 6 * MIB, 6 * MIB]])
def test_large_bodies_that_stall_leave_room_for_small_ones(lengths: list[int]) -> None:
    """Two of them took all of the memory for bodies, and each request of another client got 503."""
    pool = Memory(16 * MIB, lambda _: None)
    stalled = come(pool, lengths)
    assert 14 * MIB < sum(share.held for share in stalled) <= 15 * MIB
    small = Share(pool)
    small.begin(MIB)
    small.charge(MIB - AT_ONCE)
    assert not stalled[0].adjust(1), "nor may what is made of it take that"
    assert not Share(pool).adjust(MIB + 1)


def test_a_chunked_body_is_large_when_it_has_become_it() -> None:
    pool = Memory(16 * MIB, lambda _: None)
    Share(pool).hold(14 * MIB)
    share = Share(pool)
    share.begin(0)
    share.charge(MIB)
    with pytest.raises(BadHead):
        share.charge(1)


async def test_a_body_that_never_finds_room_is_too_large_and_not_refused_for_now() -> None:
    async with serving(0, 16 * MIB) as (server, _):
        server.limits = replace(server.limits, max_body=64 * MIB)
        assert server.max_body == 15 * MIB
        server.memory.limit = MIB // 2
        assert server.max_body == MIB // 2


@pytest.mark.parametrize(
    ("text", "found"), [("134217728\n", 128 * MIB), ("max\n", None), ("9223372036854771712\n", None), (None, None)]
)
def test_the_cgroup_says_how_much_there_is(tmp_path: Path, text: str | None, found: int | None) -> None:
    path = tmp_path / "memory.max"
    if text is not None:
        path.write_text(text)
    assert container.memory_limit((tmp_path / "none", path)) == found


def test_the_pods_own_limit_wins_over_the_cgroups() -> None:
    assert settings.load(["--model", "m", "--memory", "128Mi"], {}).access.max_bytes == 128 * MIB
    assert 10 * MIB < container.resident_memory() < 10_000 * MIB


class _Models(http.server.BaseHTTPRequestHandler):
    """Answers with two MiB: with their length, without it, or as one KiB of gzip that becomes them."""

    def do_GET(self) -> None:
        body = bytes(2 * MIB)
        self.send_response(200)
        if self.path == "/gzip":
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def models() -> Iterator[str]:
    with served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Models)) as origin:
        yield origin


@pytest.mark.parametrize("path", ["plain", "endless", "gzip"])
def test_no_more_is_downloaded_than_could_be_served(models: str, path: str, tmp_path: Path) -> None:
    with pytest.raises(ModelTooLarge, match=r"spec\.resources\.memory"):
        store.fetch(f"{models}/{path}", "0" * 64, tmp_path, access=Access(max_bytes=MIB))
    assert list(tmp_path.iterdir()) == [], "nor is anything of it kept"


def test_every_volume_of_ours_has_a_size() -> None:
    service = decode(
        {"metadata": {"name": "a"}, "spec": {"model": {"uri": "http://m/a"}, "resources": {"memory": "1Gi"}}}
    )
    for place in (pod_container.OWN_POD, pod_container.AS_SIDECAR):
        for volume in pod_container.volumes(service, place):
            size = parse_bytes(volume["emptyDir"]["sizeLimit"])
            assert 0 < size <= 2 * service.memory_bytes + 64 * MIB
            if volume["name"].endswith("models"):
                assert size >= 2 * service.memory_bytes, "the model that is served, and the one that is fetched anew"


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(6000):
        if holds():
            return
        await asyncio.sleep(0.01)
    pytest.fail("not within a minute")


@contextlib.asynccontextmanager
async def serving(size: int, limit: int) -> AsyncIterator[tuple[Server, int]]:
    """A server whose answers have so many bytes."""

    def handler(exchange: Exchange) -> None:
        exchange.reply(Response(200, [bytes(size)]))

    limits = replace(LIMITS, max_connections=200, max_body_memory=limit)
    server = Server(handler, limits, error_body=str.encode)
    try:
        yield server, await server.start("127.0.0.1", 0)
    finally:
        await server.close(0)


def unsent(server: Server) -> list[int]:
    """Bytes that the kernel holds of answers, for each connection."""
    sockets = [connection._transport.get_extra_info("socket") for connection in server.connections]  # type: ignore[union-attr]
    return [array.array("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0] for sock in sockets]


async def test_the_kernel_holds_little_of_answers_that_nobody_reads() -> None:
    """It took up to 2.5 MB for each client: a hundred of them took 90 MB of a pod of 256, which nobody charged."""
    async with serving(4 * MIB, 64 * MIB) as (server, port):
        server.limits = replace(server.limits, pod_memory=256 * MIB)
        opened = [await asyncio.open_connection("127.0.0.1", port, limit=1024) for _ in range(12)]
        for reader, writer in opened:
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
            await reader.readuntil(b"\r\n")
        await until(lambda: max(unsent(server), default=MIB) < 400_000)
        for _, writer in opened:
            writer.close()
        await until(lambda: not server.connections)


@pytest.mark.parametrize("memory", [128 * MIB, 256 * MIB, 4096 * MIB])
def test_all_connections_together_have_a_bounded_part_of_the_kernels_memory(memory: int) -> None:
    allowed = [kernel.allowance(memory, count) for count in range(1, 2049)]
    assert sum(allowed) <= memory // 19 + 2048 * kernel.LEAST
    assert sum(allowed[:100]) <= memory // 30 + 100 * kernel.LEAST
    assert allowed == sorted(allowed, reverse=True)
    assert kernel.allowance(0, 1) == 0, "without a limit the kernel does as it likes"


async def test_answers_that_nobody_reads_are_held_up_to_the_bound_and_then_refused() -> None:
    size, limit, clients = 8 * MIB, 64 * MIB, 40
    async with serving(size, limit) as (server, port):
        opened = []
        for _ in range(clients):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            opened.append((reader, writer))
        heads = [await reader.readuntil(b"\r\n") for reader, _ in opened]
        sent = sum(head.startswith(b"HTTP/1.1 200") for head in heads)
        assert size * (sent - 1) <= server.memory.held <= limit, "a client that has read half of it holds it all"
        assert {int(head.split()[1]) for head in heads} == {200, 503}
        for _, writer in opened:
            writer.close()
        await until(lambda: not server.connections)
        assert server.memory.held == 0


async def test_who_reads_gets_all_answers_and_holds_nothing_then() -> None:
    size = 8 * MIB
    async with serving(size, 64 * MIB) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(20):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(size)
        await until(lambda: server.memory.held == 0)
        writer.close()


async def test_an_answer_that_is_larger_than_the_bound_is_sent_where_nothing_else_is_held() -> None:
    async with serving(8 * MIB, MIB) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert len(await reader.read()) > 8 * MIB
        writer.close()
