"""The admin port under floods: probes have room, reloads are done once, and nothing that changes anything is there."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.process import Process
from unit.wire import LIMITS

from corefit_runtime.concurrency.coalescing import Coalescing
from corefit_runtime.http.crowd import Activity, Crowd
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import Response
from corefit_runtime.http.server import Server
from corefit_runtime.process import app
from corefit_runtime.settings import settings

FLOOD = 300
"""Connections; the admin port keeps LIMITS' four."""
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def admin() -> AsyncIterator[int]:
    """The admin port's server; its port."""
    server = Server(Process().api(), LIMITS, error_body=str.encode, refuses_nobody=True)
    try:
        yield await server.start("127.0.0.1", 0)
    finally:
        await server.close(0)


async def probe(port: int, source: str = "127.0.0.1") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        writer.write(LIVEZ)
        return await reader.read()
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def flooded(port: int, says: bytes, prober: str = "127.0.0.1") -> AsyncIterator[None]:
    """Connections of one peer, each of which begins to say something; every fiftieth is followed by a probe of another.

    They are open while the block runs.
    """
    opened: list[asyncio.StreamWriter] = []
    try:
        for count in range(FLOOD):
            _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            opened.append(writer)
            with contextlib.suppress(ConnectionError):
                writer.write(says)
            if count % 50 == 49:
                assert (await probe(port, prober)).startswith(b"HTTP/1.1 200")
        yield
    finally:
        for writer in opened:
            writer.close()


@pytest.mark.parametrize("says", [b"", b"GET /attention HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /livez HTT"])
async def test_a_flood_of_connections_leaves_room_for_probes(says: bytes) -> None:
    async with admin() as port, flooded(port, says):
        assert (await probe(port)).startswith(b"HTTP/1.1 200")


async def test_who_asked_first_keeps_its_connection_beside_a_flood_of_another() -> None:
    """As the operator, which keeps one for its reports."""
    async with admin() as port:
        reader, kept = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.3", 0))
        opened = [await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0)) for _ in range(20)]
        kept.write(LIVEZ)
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        for _, writer in [(reader, kept), *opened]:
            writer.close()


@dataclass(eq=False)
class Stub:
    """A connection that says what it does."""

    peer: str
    number: int
    activity: Activity = Activity.IDLE


PEERS = st.sampled_from("abcd")


@given(peers=st.lists(PEERS, max_size=60), limit=st.integers(1, 8))
def test_nobody_loses_a_connection_while_another_has_more(peers: list[str], limit: int) -> None:
    stubs = [Stub(peer, number) for number, peer in enumerate(peers)]
    crowd, held = Crowd[Stub](limit), dict[int, str]()
    for number, peer in enumerate(peers):
        victim = crowd.joined(stubs[number], peer)
        gone = victim.number if victim is not None else None
        held[number] = peer
        if gone is not None:
            counts = {p: list(held.values()).count(p) for p in held.values()}
            assert counts[held[gone]] == max(counts.values())
            assert gone == min(n for n, p in held.items() if p == held[gone])
            assert len(held) == limit + 1
            del held[gone]
        assert len(crowd) == len(held) <= limit
    for number in held:
        crowd.left(stubs[number])
    assert len(crowd) == 0


@given(
    arrivals=st.lists(st.tuples(PEERS, st.sampled_from(Activity)), max_size=60),
    changes=st.lists(st.tuples(st.integers(0, 59), st.sampled_from(Activity)), max_size=60),
    limit=st.integers(1, 8),
)
def test_whoever_waits_for_an_answer_is_spared(
    arrivals: list[tuple[str, Activity]], changes: list[tuple[int, Activity]], limit: int
) -> None:
    crowd, held = Crowd[Stub](limit, spares_serving=True), list[Stub]()
    for number, (peer, activity) in enumerate(arrivals):
        if number < len(changes) and changes[number][0] < len(held):
            held[changes[number][0]].activity = changes[number][1]
        newcomer = Stub(peer, number)
        victim = crowd.joined(newcomer, peer)
        newcomer.activity = activity
        held.append(newcomer)
        if victim is not None:
            held.remove(victim)
        assert len(crowd) == len(held) <= limit
        counts = Counter(stub.peer for stub in (*held, *([victim] if victim else [])))
        if victim is newcomer:
            mine = [stub for stub in held if stub.peer == peer]
            assert all(stub.activity > Activity.IDLE for stub in mine)
            largest = max(counts.values())
            assert (
                counts[peer] == largest
                or all(stub.activity is Activity.SERVING for stub in held if counts[stub.peer] == largest)
                or len([p for p in counts if counts[p] == largest]) > 1
            )
        elif victim is not None:
            assert victim.activity is not Activity.SERVING
            assert victim.activity is Activity.IDLE or counts[victim.peer] >= counts[peer]


async def answers_late(exchange: Exchange, after: asyncio.Event) -> None:
    await after.wait()
    exchange.reply(Response(200, [b"late"]))


@pytest.mark.parametrize(
    "says", [b"", b"GET / HTTP/1.1\r\nHos", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"]
)
async def test_one_peer_can_not_hold_all_connections_of_the_serving_port(says: bytes) -> None:
    """With 2,048 connections it kept everybody else out."""
    begun, go_on, tasks = asyncio.Event(), asyncio.Event(), set[asyncio.Task[None]]()

    def handler(exchange: Exchange) -> None:
        if exchange.head.path == "/late":
            tasks.add(asyncio.ensure_future(answers_late(exchange, go_on)))
            begun.set()
        else:
            exchange.reply(Response(200, [b"here"]))

    server = Server(handler, LIMITS, error_body=str.encode)
    port = await server.start("127.0.0.1", 0)
    try:
        reader, in_service = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
        in_service.write(LIVEZ.replace(b"/livez", b"/late"))
        await begun.wait()
        async with flooded(port, says, "127.0.0.3"):
            go_on.set()
            assert (await reader.read()).startswith(b"HTTP/1.1 200"), "the flood took no answer away"
            in_service.close()
    finally:
        await server.close(0)


async def test_three_hundred_reloads_at_once_are_two() -> None:
    begun: list[int] = []
    go_on = asyncio.Event()

    async def work() -> int:
        begun.append(len(begun))
        await go_on.wait()
        return begun[-1]

    reloads = Coalescing(work)
    first = asyncio.ensure_future(reloads.result())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.ensure_future(reloads.result()) for _ in range(FLOOD)]
    await asyncio.sleep(0)
    rest[0].cancel()
    go_on.set()
    assert await first == 0
    assert await asyncio.gather(*rest[1:]) == [1] * (FLOOD - 1), "it began after they had asked"
    assert begun == [0, 1]


async def test_a_reload_that_fails_keeps_the_next_from_nothing() -> None:
    outcomes = iter([OSError("gone"), None])

    async def work() -> str:
        error = next(outcomes)
        if error is not None:
            raise error
        return "done"

    reloads = Coalescing(work)
    with pytest.raises(OSError, match="gone"):
        await reloads.result()
    assert await reloads.result() == "done"


async def ask(address: str, port: int, line: str) -> int:
    """The status of a request's answer; 0 where nobody listens."""
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return 0
    writer.write(f"{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1])


@pytest.mark.parametrize(("options", "elsewhere"), [((), 0), (("--control-host", "0.0.0.0"), 500)])
async def test_what_changes_anything_listens_on_the_loopback_address_unless_switched_on(
    options: tuple[str, ...], elsewhere: int, tmp_path: Path
) -> None:
    made = app.App(settings.load(["--model", "m", "--host", "0.0.0.0", "--admin-port", "0", "--debug", *options], {}))
    servers = await made.open_first_ports()
    admin_port, control_port = (server._listening[0].sockets[0].getsockname()[1] for server in servers)
    try:
        assert await ask("127.0.0.1", control_port, "POST /reload") == 500, "there is no model yet"
        assert await ask("127.0.0.1", control_port, "GET /debug/sched") == 200
        assert await ask("127.0.0.2", control_port, "POST /reload") == elsewhere
        for line in ("POST /reload", "GET /debug/sched"):
            assert await ask("127.0.0.2", admin_port, line) == 404
    finally:
        for server in servers:
            await server.close(0)


async def _opened_where_others_have_the_control_port() -> tuple[tuple[Server, Server], int]:
    """The first ports of a process, and the port that it would have taken for the control port."""
    while True:
        with socket.socket() as others:
            others.bind(("127.0.0.1", 0))
            others.listen()
            taken = int(others.getsockname()[1])
            made = app.App(settings.load(["--model", "m", "--host", "127.0.0.1", "--admin-port", str(taken - 1)], {}))
            with contextlib.suppress(OSError):  # Somebody on this machine has the one before it as well: another pair.
                return await made.open_first_ports(), taken


async def test_a_control_port_that_others_have_keeps_no_model_from_being_served() -> None:
    """An application of the same pod listens there, or the serving port is the one after the admin port."""
    servers, taken = await _opened_where_others_have_the_control_port()
    port = servers[1]._listening[0].sockets[0].getsockname()[1]
    try:
        assert port != taken
        assert await ask("127.0.0.1", port, "POST /reload") == 500, "there is no model yet"
    finally:
        for server in servers:
            await server.close(0)


def test_clients_of_the_serving_port_leave_files_for_probes() -> None:
    code = "import resource as r, corefit_runtime.main as m; m.open_files(); print(*r.getrlimit(r.RLIMIT_NOFILE))"
    start = ["prlimit", "--nofile=256:4096", sys.executable, "-c", code]
    done = subprocess.run(start, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["4096", "4096"]
