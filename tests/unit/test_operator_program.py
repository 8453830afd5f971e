"""How the operator's parts are joined: what one of them waits for keeps nobody else waiting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from kubernetes.aio.client import Configuration

from corefit_operator.kube.pods import decode_pod
from corefit_operator.process import program
from corefit_operator.telemetry.metrics import Metrics

CONNECTIONS = 4


@asynccontextmanager
async def _pod_proxy() -> AsyncIterator[tuple[Configuration, asyncio.Semaphore]]:
    """An API server whose pods hold the question for attention; tells of each that is held."""
    held = asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"/proxy/attention " in head:
                    held.release()
                    await reader.read()
                    break
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        configuration = Configuration(host=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        configuration.connection_pool_maxsize = CONNECTIONS
        yield configuration, held


async def test_questions_that_are_held_through_the_proxy_keep_no_report_waiting() -> None:
    pod = decode_pod({"metadata": {"name": "p", "namespace": "n", "uid": "u"}})
    async with AsyncExitStack() as stack:
        configuration, held = await stack.enter_async_context(_pod_proxy())
        reports, questions = await program._fetches(stack, "proxy", configuration, Metrics())
        asking = [asyncio.ensure_future(questions(pod)) for _ in range(CONNECTIONS)]
        for _ in asking:
            await asyncio.wait_for(held.acquire(), 60)
        try:
            assert await asyncio.wait_for(reports(pod), 60) == b"ok"
        finally:
            for each in asking:
                each.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
