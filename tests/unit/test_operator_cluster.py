"""Answers of an API server, over a real connection, that are none."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import ClientError
from kubernetes.aio.client import ApiClient, Configuration

from corefit_operator.kube import connection
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster


@asynccontextmanager
async def _answering(body: bytes) -> AsyncIterator[Cluster]:
    """An API server, or a proxy before one, that answers everything with this and 200."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, ApiClient(Configuration(host=f"http://127.0.0.1:{port}")) as client:
        yield Cluster(client, lambda *_: None)


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"", b"[]", b'{"cut": "of', b'{"a": "\xff"}'])
async def test_an_answer_that_is_no_object_is_somebody_elses_fault_and_tried_again(body: bytes) -> None:
    async with _answering(body) as cluster:
        with pytest.raises(ApiError, match="no JSON object from the API server or a proxy before it") as caught:
            await cluster.get("Pod", "n", "a")
    assert not caught.value.refused


async def test_a_request_that_waits_for_its_turn_is_not_late() -> None:
    """Each is answered in time; the last has waited for longer than one may take."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(0.2)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    configuration = Configuration(host=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    configuration.connection_pool_maxsize = 1
    async with server, ApiClient(configuration) as client:
        cluster = Cluster(client, lambda *_: None, timeout_s=4.0)
        got = await asyncio.gather(*(cluster.get("Pod", "n", str(number)) for number in range(25)))
    assert got == [{}] * 25


async def test_requests_of_one_namespace_that_take_for_ever_hold_up_no_other() -> None:
    """Three hundred held requests of one namespace made a change in another take 225 s."""
    hold = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"/namespaces/greedy/" in head:
                    await hold.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    configuration = Configuration(host=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    configuration.connection_pool_maxsize = 4
    async with server, ApiClient(configuration) as client:
        cluster = Cluster(client, lambda *_: None, timeout_s=600.0)
        greedy = [asyncio.create_task(cluster.get("Pod", "greedy", str(number))) for number in range(300)]
        for number in range(20):
            await asyncio.wait_for(cluster.get("Pod", "honest", str(number)), 60)
        hold.set()
        await asyncio.gather(*greedy)


async def test_a_request_without_an_answer_is_counted_as_well() -> None:
    """An API server that is away was not to be seen in the operator's own metrics."""
    seen: list[tuple[str, str, int]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with ApiClient(Configuration(host=f"http://127.0.0.1:{port}")) as client:
        with pytest.raises(ApiError):
            await Cluster(client, lambda *what: seen.append(what)).get("Pod", "n", "a")
    assert seen == [("GET", "pods", 0)]


async def test_a_pod_behind_the_api_servers_proxy_leads_the_operator_nowhere(tmp_path: Path) -> None:
    """Its redirect was followed to whatever address it named, with the operator's certificate."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0])
        writer.write(
            b"HTTP/1.1 302 Found\r\nLocation: /api/v1/secrets\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    file = tmp_path / "kubeconfig"
    named = [{"name": "a", "cluster": {"server": address}, "user": {}, "context": {"cluster": "a", "user": "a"}}]
    kinds = {"clusters": named, "users": named, "contexts": named}
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "a", **kinds}))
    async with server, ApiClient(await connection.load(str(file), None)) as client:
        with pytest.raises(ClientError, match="not followed"):
            await Cluster(client, lambda *_: None).pod_get("n", "p", 8081, "report", 100)
    assert asked == [b"GET /api/v1/namespaces/n/pods/p:8081/proxy/report HTTP/1.1"]
