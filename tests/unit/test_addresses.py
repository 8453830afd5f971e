"""Pods are reached by the address that the cluster's network gives them, be it of IPv6, of IPv4, or one of each."""

import asyncio
import socket

import aiohttp
import pytest
from unit.wire import LIMITS

from corefit_operator.collect.report_client import ReportAddress, ReportClient
from corefit_operator.process import health
from corefit_operator.telemetry.metrics import Metrics
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import Response
from corefit_runtime.http.server import Server
from corefit_runtime.settings.options import OPTIONS

ADDRESSES = ("127.0.0.1", "::1")


def _families(monkeypatch: pytest.MonkeyPatch, family: str) -> tuple[str, ...]:
    """The addresses that must answer on a machine that has both families, or IPv4 alone."""
    if family == "both" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: family == "both")
    return ADDRESSES if family == "both" else ADDRESSES[:1]


def _told(field: str) -> str:
    return next(str(option.default) for option in OPTIONS if option.field == field)


@pytest.mark.parametrize("family", ["both", "IPv4"])
async def test_the_runtime_answers_the_operator_at_every_address(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = _families(monkeypatch, family)

    def report(exchange: Exchange) -> None:
        exchange.reply(Response(200, [b"a report"]))

    server = Server(report, LIMITS, error_body=str.encode)
    port = await server.start(_told("host"), 0)
    async with ReportClient(1000, asyncio.get_running_loop().time) as client:
        for address in addresses:
            assert await client.get(ReportAddress(address, port)) == b"a report"
    await server.close(1.0)


@pytest.mark.parametrize("family", ["both", "IPv4"])
async def test_the_operator_is_probed_at_every_address(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = _families(monkeypatch, family)
    async with (
        health.serving(health.EVERYWHERE, 0, Metrics(), asyncio.Event()) as port,
        aiohttp.ClientSession() as session,
    ):
        for address in addresses:
            host = f"[{address}]" if ":" in address else address
            async with session.get(f"http://{host}:{port}/healthz") as answer:
                assert answer.status == 200
