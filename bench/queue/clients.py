"""Clients that know nothing of pods, and how they connect. They send at fixed times, whatever becomes of it."""

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import msgspec

from corefit.load import Options, Recorder, Request
from corefit.load.generator import open_sender

FOR_EVER: Final = 10**9


class Clients(msgspec.Struct, frozen=True, kw_only=True):
    """How requests reach the service.

    Attributes:
        connections: that are open all the time, each with one request at a time and those that wait for it; 0: as many
            as there are requests at a time.
        requests_per_connection: after which a connection is closed.
    """

    key: str
    title: str
    connections: int = 0
    requests_per_connection: int = FOR_EVER


CLIENTS: Final = (
    Clients(key="kept", title="16 connections for ever", connections=16),
    Clients(key="each", title="a connection a request", requests_per_connection=1),
    Clients(key="renewed", title="renewed each 20 requests", requests_per_connection=20),
)


async def send(
    clients: Clients, url: str, requests: Sequence[Request], times: Sequence[float], *, recorder: Recorder, start: float
) -> None:
    """Sends `requests` in turn at `times`, seconds from `start`, and returns when the last has ended."""
    options = Options(
        requests_per_connection=clients.requests_per_connection,
        idle_s=3600.0 if clients.connections else 2.0,
        connections=1 if clients.connections else 0,
    )
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        senders = [
            await stack.enter_async_context(open_sender(url, recorder, options, start))
            for _ in range(max(1, clients.connections))
        ]
        for at, sender, request in zip(times, itertools.cycle(senders), itertools.cycle(requests), strict=False):
            await sender.until(at)
            tasks.create_task(sender.send(request, at))
