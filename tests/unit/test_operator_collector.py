"""Reports over real connections, from pods that are late, lie, or send without end: the others are never disturbed.

Each pod has a loopback address of its own, as each has an address in a cluster.
"""

import asyncio
import gzip
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
from unit.outcomes import Case

from corefit_core import naming, report
from corefit_core.api.status import InferenceServiceStatus
from corefit_core.naming import PORT_ADMIN
from corefit_core.report import ModelIdentity, PlanInForce, Report
from corefit_core.spec.decode import decode
from corefit_operator.collect import collector
from corefit_operator.collect.report_client import ReportAddress, ReportClient
from corefit_operator.diagnosis.pod_problems import problem
from corefit_operator.kube.pods import Pod, PodStatus, decode_pod
from corefit_operator.status import resource_status

SUBNET = f"127.{os.getpid() % 40 + 20}.{os.getpid() // 40 % 250}"
"""Of this process, so that test runs side by side don't take each other's ports; from 127.64 on are control planes."""
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
PLAN = PlanInForce(grant_millicores=1000, workers=1, threads_per_worker=1, queue_depth=4, why="as asked")


def _report(uid: str, **changes: Any) -> Report:
    base = Report(pod_uid=uid, boot_id="b", state="Ready", model=ModelIdentity(name="m"), plan=PLAN, clock_s=1.0)
    return msgspec.structs.replace(base, **changes)


def _pod(number: int) -> Pod:
    return decode_pod(
        {
            "metadata": {"name": f"p{number}", "namespace": "n", "uid": f"u{number}"},
            "status": {"podIP": f"{SUBNET}.{number}", "conditions": [{"type": "Ready", "status": "True"}]},
        }
    )


def _http(body: bytes, head: str = "200 OK", headers: str = "") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        start = f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
        writer.write(start.encode() + body)

    return answer


async def _late(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def _hangs_up(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")


async def _endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        writer.write(b" " * 65536)
        await writer.drain()


async def _endless_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: y\r\n" * 4096)
        await writer.drain()


async def _endless_chunk_extension(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
    while True:
        writer.write(b"x=y;" * 4096)
        await writer.drain()


async def _chunks_of_one(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\n{\r\n" * 4096)
        await writer.drain()


async def _endless_interim(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1024)
        await writer.drain()


async def _in_pieces(writer: asyncio.StreamWriter) -> None:
    writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0)


async def _dribbles(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


@asynccontextmanager
async def _pods(*answers: Answer) -> AsyncIterator[list[Pod]]:
    """A server for each answer, from address 1 on."""
    async with AsyncExitStack() as stack:
        for number, answer in enumerate(answers, start=1):

            async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer = answer) -> None:
                try:
                    await answer(writer)
                    await writer.drain()
                except (ConnectionError, asyncio.CancelledError):
                    pass
                finally:
                    writer.close()

            await stack.enter_async_context(await asyncio.start_server(serve, f"{SUBNET}.{number}", PORT_ADMIN))
        yield [_pod(number) for number in range(1, len(answers) + 1)]
        # Before 3.12 a server's connections outlive it: those that never end are ended here.
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


async def _collected(pods: list[Pod]) -> tuple[set[str], Counter[str]]:
    outcomes = Counter[str]()

    def observe(outcome: str) -> None:
        outcomes[outcome] += 1

    async with ReportClient(report.MAX_BYTES, time.monotonic) as client:
        found = await collector.Collector(collector.direct(client), observe).collect(pods)
    return set(found), outcomes


LIARS: dict[str, tuple[Answer, str]] = {
    "late": (_late, "timeout"),
    "dribbles": (_dribbles, "timeout"),
    "hangs up": (_hangs_up, "unreachable"),
    "garbage": (_http(b"\x00\xff not json"), "invalid"),
    "not a report": (_http(b"[1, 2, 3]"), "invalid"),
    "deep": (_http(b"[" * 60_000), "invalid"),
    "older version": (_http(b'{"version": 0}'), "invalid"),
    "newer version": (_http(report.encode(_report("u2", version=2))), "invalid"),
    "another pod": (_http(report.encode(_report("u1"))), "invalid"),
    "huge number": (_http(report.encode(_report("u2")).replace(b'"workers":1', b'"workers":' + b"9" * 30)), "invalid"),
    "error": (_http(b"{}", "500 Oh"), "invalid"),
    "redirect": (_http(b"", "302 Result", f"Location: http://{SUBNET}.1:{PORT_ADMIN}/report\r\n"), "invalid"),
    "endless": (_endless, "invalid"),
    "endless head": (_endless_head, "invalid"),
    "endless chunk extension": (_endless_chunk_extension, "invalid"),
    "chunks of one byte": (_chunks_of_one, "invalid"),
    "endless interim answers": (_endless_interim, "invalid"),
    "in pieces": (_in_pieces, "invalid"),
    "impossible count": (
        _http(report.encode(_report("u2")).replace(b'"clock_s":1.0', b'"clock_s":1' + b"0" * 400)),
        "invalid",
    ),
    "another protocol": (_http(b"", "101 Switching Protocols", "Upgrade: websocket\r\n"), "invalid"),
    # Nobody asked for it, and 64 KB of it could be 64 MB: it isn't unpacked, however small.
    "compressed": (_http(gzip.compress(report.encode(_report("u2"))), headers="Content-Encoding: gzip\r\n"), "invalid"),
}


@pytest.mark.parametrize("kind", LIARS)
async def test_a_pod_that_lies_or_stalls_is_missing_and_nothing_else(kind: str, monkeypatch: Any) -> None:
    answer, outcome = LIARS[kind]
    # The others have to be in time, and whoever lies, on a machine without CPU as well.
    monkeypatch.setattr(collector, "DEADLINE_S", 3.0 if outcome == "timeout" else 60.0)
    async with _pods(_http(report.encode(_report("u1"))), answer, _http(report.encode(_report("u3")))) as pods:
        found, outcomes = await _collected(pods)
    assert found == {"u1", "u3"}
    assert outcomes == Counter({"ok": 2, outcome: 1})


async def test_all_are_asked_at_once() -> None:
    """Forty pods that answer only when all of them have been asked."""
    all_asked = asyncio.Barrier(40)

    def together(number: int) -> Answer:
        async def answer(writer: asyncio.StreamWriter) -> None:
            await all_asked.wait()
            await _http(report.encode(_report(f"u{number}")))(writer)

        return answer

    async with _pods(*map(together, range(1, 41))) as pods:
        found, _ = await _collected(pods)
    assert len(found) == 40


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def _keeping(answers: int, answer: bytes = OK) -> AsyncIterator[tuple[ReportAddress, list[int]]]:
    """A pod that closes each connection after so many answers, without a word; how many came on each."""
    counts: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts.append(0)
        number = len(counts) - 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            for _ in range(answers):
                await reader.readuntil(b"\r\n\r\n")
                counts[number] += 1
                writer.write(answer)
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, f"{SUBNET}.1", PORT_ADMIN):
        yield ReportAddress(f"{SUBNET}.1", PORT_ADMIN), counts
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})


async def test_a_connection_is_kept_and_one_that_was_closed_meanwhile_is_replaced() -> None:
    async with _keeping(answers=2) as (address, counts), ReportClient(100, time.monotonic) as client:
        assert [await client.get(address) for _ in range(5)] == [b"ok"] * 5
        assert counts == [2, 2, 1]


async def test_a_connection_that_nobody_uses_is_given_up() -> None:
    now = 0.0
    async with _keeping(answers=9) as (address, counts), ReportClient(100, lambda: now) as client:
        for later in (0.0, 59.0, 59.0, 125.0):  # seconds between the answers
            now += later
            await client.get(address)
        assert counts == [3, 1]


async def test_what_comes_after_an_answer_is_not_taken_for_the_next() -> None:
    async with _keeping(answers=9, answer=OK * 2) as (address, counts), ReportClient(100, time.monotonic) as client:
        await client.get(address)
        await client.get(address)
        assert counts == [1, 1]


@pytest.mark.parametrize("port", ["0", "65536", "99999", "-1", "x", "9" * 5000])
async def test_a_port_that_is_none_is_not_asked(port: str) -> None:
    """99999 raised where connections are made, and the reports of all other pods of the resource were lost with it."""
    raw = {"metadata": {"name": "p", "annotations": {naming.ANNOTATION_ADMIN_PORT: port}}}
    assert decode_pod(raw).admin_port == PORT_ADMIN


async def test_a_fault_at_one_pod_leaves_the_reports_of_others() -> None:
    async def fetch(pod: Pod) -> bytes:
        if pod.metadata.uid == "u2":
            raise ZeroDivisionError
        return report.encode(_report(pod.metadata.uid))

    outcomes: list[str] = []
    found = await collector.Collector(fetch, outcomes.append).collect([_pod(1), _pod(2), _pod(3)])
    assert set(found) == {"u1", "u3"}


async def test_a_pod_without_an_address_or_on_its_way_out_is_not_asked() -> None:
    leaving = msgspec.structs.replace(
        _pod(1), metadata=msgspec.structs.replace(_pod(1).metadata, deletion_timestamp="2030-01-01T00:00:00Z")
    )
    nowhere = msgspec.structs.replace(_pod(2), status=PodStatus())
    assert await _collected([leaving, nowhere]) == (set(), Counter())


def test_the_longest_report_leaves_a_status_that_the_api_server_takes() -> None:
    """Every text that a pod chooses at its longest, every number at its largest."""
    text, most = "x" * 20_000, 2**31 - 1
    plan = PlanInForce(grant_millicores=most, workers=most, threads_per_worker=most, queue_depth=most, why=text)
    told = report.decode(report.encode(_report("u1", state="Failed", reason=text, message=text, plan=plan)))
    waiting = msgspec.structs.replace(_pod(1), status=msgspec.structs.replace(_pod(1).status, conditions=()))
    trouble = problem([waiting], {"u1": told}, None)
    found = Case(pods=(waiting,), reports={"u1": told}, problem=trouble)
    service = decode({"metadata": {"name": "a", "namespace": "n"}, "spec": {"model": {"uri": "http://m/a.onnx"}}})
    written = found.status(service, InferenceServiceStatus(), "2030-01-01T00:00:00Z")
    encoded = msgspec.json.encode(resource_status.encode(written))
    assert len(encoded) < 8192
    msgspec.json.decode(encoded, type=InferenceServiceStatus)  # by the very limits that the CRD is made from
