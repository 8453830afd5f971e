"""The operator's own HTTP port: liveness, readiness, metrics. May not decide anything."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from corefit_operator.telemetry.metrics import Metrics

EVERYWHERE: Final = "::"
"""The kubelet and Prometheus reach it by the pod's address, of whichever family the cluster's network has given it."""
SHUTDOWN_S: Final = 1.0
"""Seconds for what is in flight: a probe or a scrape takes milliseconds."""


@asynccontextmanager
async def serving(host: str, port: int, metrics: Metrics, started: asyncio.Event) -> AsyncIterator[int]:
    """Serves /healthz, /readyz and /metrics while the block runs; gives the port, of use where it was to be any."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")  # answered by the loop that all work runs on: a stuck one doesn't answer

    async def readyz(_: web.Request) -> web.Response:
        if not started.is_set():
            return web.Response(status=503, text="not watching yet\n")
        # A follower is ready: it watches as the leader does, and takes over from one moment to the next.
        return web.Response(text="ok\n")

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", scrape)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        await _site(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _site(runner: web.AppRunner, host: str, port: int) -> web.BaseSite:
    """Where it listens; `::` is every address, by IPv6 and IPv4, which an event loop takes for IPv6 alone."""
    if host != EVERYWHERE:
        return web.TCPSite(runner, host, port)
    if not socket.has_dualstack_ipv6():
        return web.TCPSite(runner, "0.0.0.0", port)  # noqa: S104 - a node whose kernel knows no IPv6
    both = socket.create_server((EVERYWHERE, port), family=socket.AF_INET6, dualstack_ipv6=True)
    return web.SockSite(runner, both)
