"""A proxy before the API server, one for each operator under test: counts its writes, and does to them what is asked.

It forwards to the real API server with the administrator's certificate; nothing is answered from a model of one. What
it may do is lose, hold, repeat, swap, refuse and cut.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self

import aiohttp
from aiohttp import web
from faults.wire import Wire

WRITES = ("POST", "PUT", "PATCH", "DELETE")


class Write(NamedTuple):
    """A write that the operator sent."""

    method: str
    path: str
    status: int  # 0: it did not reach the API server
    at: float


class Reply(NamedTuple):
    """An answer that the API server is not asked for."""

    status: int
    headers: Mapping[str, str] = MappingProxyType({})
    message: str = "injected"

    def body(self) -> str:
        """What an API server would say."""
        return json.dumps({"kind": "Status", "apiVersion": "v1", "message": self.message, "code": self.status})


LOSE = "lose"
"""The request reaches the API server, the answer doesn't reach the operator."""
REFUSE = "refuse"
"""Neither does."""
Verdict = Reply | str | None
Judge = Callable[[web.Request], Verdict]
Events = Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]


class Proxy:
    """Forwards one operator's requests.

    `judge` sees each request, `events` turns the lines of a watch into others, `lists` what is read.
    """

    def __init__(self, wire: Wire) -> None:
        self.writes: list[Write] = []
        self.led_at = 0.0
        """When the operator last took or renewed a Lease, by the wall clock; such a write is none of the others."""
        self.judge: Judge = lambda _: None
        self.events: Events = lambda lines: lines
        self.before_write: Callable[[int], bool] = lambda _: False
        self.after_write: Callable[[int], bool] = lambda _: False
        self.lists: Callable[[web.Request, bytes], bytes] = lambda _, body: body
        self.watches: set[web.StreamResponse] = set()
        self._wire = wire
        self._sent = 0

    def __enter__(self) -> Self:
        self._wire.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.run(self._stop())

    def kubeconfig(self, folder: Path) -> str:
        """A kubeconfig that leads through here."""
        self._token = folder / f"proxy-{self.port}.token"
        self._token.write_text("first")
        named = {"name": "proxy"}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{**named, "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{**named, "user": {"tokenFile": str(self._token)}}],
            "contexts": [{**named, "context": {"cluster": "proxy", "user": "proxy"}}],
        }
        path = folder / f"proxy-{self.port}.kubeconfig"
        path.write_text(json.dumps(document))
        return str(path)

    def rotate(self, token: str) -> str:
        """Puts another token where the operator's kubeconfig says that it is."""
        self._token.write_text(token)
        return token

    def arm(self, count_from: int = 0) -> None:
        """Counts writes anew."""
        self._sent = count_from
        self.writes.clear()

    def watching(self) -> int:
        """How many watches are open, the operator's end included."""
        return sum(_transport(watch) is not None for watch in list(self.watches))

    def freeze(self) -> None:
        """Nothing goes through in either direction, and no connection ends: as if a network swallowed it all."""
        self._wire.loop.call_soon_threadsafe(self._thawed.clear)

    def thaw(self) -> None:
        """What was held goes on its way, however long ago whoever sent it has given up."""
        self._wire.loop.call_soon_threadsafe(self._thawed.set)

    def calm(self) -> None:
        """No fault any more."""
        self.judge = lambda _: None
        self.events = lambda lines: lines
        self.lists = lambda _, body: body
        self.thaw()
        self.cut_watches()

    def cut_watches(self) -> None:
        """Closes every watch that is open."""
        self._wire.loop.call_soon_threadsafe(lambda: [_cut(w) for w in list(self.watches)])

    async def _start(self) -> None:
        self._thawed = asyncio.Event()
        self._thawed.set()
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = int(self._runner.addresses[0][1])

    async def _stop(self) -> None:
        for watch in list(self.watches):
            _cut(watch)
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        leading = request.method in WRITES and "/leases" in request.path
        write = request.method in WRITES and not leading
        number = 0
        await self._thawed.wait()
        if write:
            self._sent += 1
            number = self._sent
            if self.before_write(number):
                return _dropped(request)
        verdict = self.judge(request)
        if isinstance(verdict, Reply):
            self._note(request, 0 if write else -1)
            body = json.dumps(
                {"kind": "Status", "apiVersion": "v1", "message": verdict.message, "code": verdict.status}
            )
            headers = {"Content-Type": "application/json", **verdict.headers}
            return web.Response(status=verdict.status, text=body, headers=headers)
        if verdict == REFUSE:
            self._note(request, 0 if write else -1)
            return _dropped(request)
        response = await self._forward(request, write=write)
        if leading and response.status < HTTPStatus.BAD_REQUEST:
            self.led_at = time.time()
        if (write and self.after_write(number)) or verdict == LOSE:
            return _dropped(request)
        return response

    async def _forward(self, request: web.Request, *, write: bool) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k in ("Content-Type", "Accept", "User-Agent")}
        headers["Accept-Encoding"] = "identity"  # lists over 128 KB would come compressed otherwise
        url = f"{self._wire.server}{request.raw_path}"
        body = await request.read() or None  # of an empty one aiohttp says that it is octets
        try:
            async with self._wire.session.request(request.method, url, data=body, headers=headers) as answer:
                if request.query.get("watch"):
                    return await self._watch(request, answer)
                data = await answer.read()
                if request.method == "GET" and answer.ok:
                    data = self.lists(request, data)
                self._note(request, answer.status if write else -1)
                kept = {k: v for k, v in answer.headers.items() if k in ("Content-Type", "Retry-After")}
                return web.Response(status=answer.status, body=data, headers=kept)
        except aiohttp.ClientError:
            return _dropped(request)

    async def _watch(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        self.watches.add(response)
        try:
            async for line in self.events(_lines(answer)):
                await self._thawed.wait()
                await response.write(line)
        except (ConnectionError, aiohttp.ClientError):
            _cut(response)
        finally:
            self.watches.discard(response)
        return response

    def _note(self, request: web.Request, status: int) -> None:
        if status >= 0:
            self.writes.append(Write(request.method, request.path, status, time.monotonic()))


def _dropped(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _transport(response: web.StreamResponse) -> asyncio.Transport | None:
    request = response._req
    return request.transport if request is not None else None


def _cut(response: web.StreamResponse) -> None:
    transport = _transport(response)
    if transport is not None:
        transport.abort()


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    rest = b""
    async for data in answer.content.iter_any():
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line + b"\n"
