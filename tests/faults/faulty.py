"""The ways in which a view or an answer may be wrong, as things that a proxy can be told to do."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from faults.proxy import Events, Judge, Proxy, Reply, Verdict

TICK_S = 0.2
"""Seconds after which a buffer that nothing more comes to is handed on."""


def held(seconds: float) -> Events:
    """Each event comes so much later."""

    async def events(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for due, line in _timed(lines):
            await asyncio.sleep(due + seconds - time.monotonic())
            yield line

    return events


def dropped(one_of: int) -> Events:
    """One of so many events never comes; with 1, none does."""

    async def events(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        number = 0
        async for line in lines:
            number += 1
            if number % one_of:
                yield line

    return events


async def duplicated(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Each event comes twice."""
    async for line in lines:
        yield line
        yield line


async def reordered(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What comes at nearly the same time comes backwards."""
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()
    reader = asyncio.create_task(_fill(queue, lines))
    try:
        line = await queue.get()
        while line is not None:
            await asyncio.sleep(TICK_S * 2)
            together = [line, *(queue.get_nowait() for _ in range(queue.qsize()))]
            for each in reversed([line for line in together if line is not None]):
                yield each
            line = None if None in together else await queue.get()
    finally:
        reader.cancel()


def failing(code: int, after: int) -> Events:
    """Each watch ends with an ERROR after some events."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "injected"}

    async def events(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        left = after
        async for line in lines:
            if not left:
                yield json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
                return
            left -= 1
            yield line

    return events


def closed(after: int) -> Events:
    """Each watch ends after some events, without a word."""

    async def events(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        left = after
        async for line in lines:
            yield line
            left -= 1
            if not left:
                return

    return events


def first_tries(verdict: Verdict, applies: Callable[[web.Request], bool]) -> Judge:
    """The first request of a kind to each path comes to that."""
    seen: set[tuple[str, str]] = set()

    def judge(request: web.Request) -> Verdict:
        key = request.method, request.path
        if not applies(request) or key in seen:
            return None
        seen.add(key)
        return verdict

    return judge


def every_other(verdict: Verdict, applies: Callable[[web.Request], bool]) -> Judge:
    """Every other request of a kind comes to that."""
    numbers = itertools.count()
    return lambda request: verdict if applies(request) and next(numbers) % 2 == 0 else None


def always(verdict: Verdict) -> Judge:
    """Every request comes to that."""
    return lambda _: verdict


def token(expected: str) -> Judge:
    """Requests with another token are unauthorized."""
    return lambda request: None if request.headers.get("Authorization") == f"Bearer {expected}" else Reply(401)


class OldLists:
    """Remembers the lists of now, and answers the next list of each resource with them."""

    def __init__(self, proxy: Proxy, applies: Callable[[web.Request], bool]) -> None:
        self._applies = applies
        self._known: dict[str, bytes] = {}
        self._replayed: set[str] | None = None
        proxy.lists = self.list

    def list(self, request: web.Request, body: bytes) -> bytes:
        """What is answered instead."""
        key = request.path
        if not self._applies(request):
            return body
        if self._replayed is None:
            self._known[key] = body
        elif key not in self._replayed:
            self._replayed.add(key)
            return self._known.get(key, body)
        return body

    def replay(self) -> None:
        """From now on."""
        self._replayed = set()


async def _timed(lines: AsyncIterator[bytes]) -> AsyncIterator[tuple[float, bytes]]:
    """Lines with the time at which they came, however late they are taken."""
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()
    times: asyncio.Queue[float] = asyncio.Queue()

    async def stamped() -> AsyncIterator[bytes]:
        async for line in lines:
            times.put_nowait(time.monotonic())
            yield line

    reader = asyncio.create_task(_fill(queue, stamped()))
    try:
        while (line := await queue.get()) is not None:
            yield times.get_nowait(), line
    finally:
        reader.cancel()


async def _fill(queue: asyncio.Queue[bytes | None], lines: AsyncIterator[bytes]) -> None:
    try:
        async for line in lines:
            queue.put_nowait(line)
    finally:
        queue.put_nowait(None)
