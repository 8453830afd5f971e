"""The operator's own HTTP port: liveness, readiness, metrics. May not decide anything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from corefit_operator.metrics import Metrics

SHUTDOWN_S: Final = 1.0
"""Seconds for what is in flight: a probe or a scrape takes milliseconds."""


@asynccontextmanager
async def serving(host: str, port: int, metrics: Metrics, started: asyncio.Event) -> AsyncIterator[int]:
    """Serves /healthz, /readyz and /metrics while the block runs; gives the port, of use where 0 was asked for."""

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
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
