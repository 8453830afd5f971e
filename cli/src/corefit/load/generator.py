"""Sends requests at the times given and notes what became of each. One event loop, one connection pool.

May not wait for an answer before it sends the next request, and never sends one twice: a client that retries
hides what it was made to find.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import msgspec

from corefit.load.record import Kind, Recorder, Sample
from corefit.load.target import Request

BEAT_S: Final = 0.1
"""Seconds between two looks at whether the generator gets to run: few next to the requests, short next to a timeout."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How it connects.

    Attributes:
        timeout_s: without an answer for so long a request is lost. 10 s: what most clients' patience is, and a
            hundred times a usual objective.
        requests_per_connection: mean number of requests on one connection before it is closed in good order.
            kube-proxy picks a pod for each connection, not for each request: connections that live for ever leave
            new pods idle. 20 keeps the handshake below a few percent of the work and still spreads within seconds.
        idle_s: an idle connection is closed after so many seconds. It has to be less than a server's drain delay
            (5 s and up), or a request could be written to a connection that is being closed.
        connections: the most that are open at a time; further requests wait for one. 0: no limit.
        max_in_flight: beyond it requests count as lost, so that a dead server can't take this machine's memory.
        seed: of the connections' lifetimes.
    """

    timeout_s: float = 10.0
    requests_per_connection: int = 20
    idle_s: float = 2.0
    connections: int = 0
    max_in_flight: int = 2000
    seed: int = 0


async def run(
    url: str,
    requests: Sequence[Request],
    times: Iterable[float],
    *,
    recorder: Recorder,
    options: Options | None = None,
    start: float | None = None,
) -> None:
    """Send `requests` in turn at `times`, seconds from `start`, and return when the last has ended.

    The recorder may be read while this runs. `start` is a time of the running loop's clock, now when None.
    """
    async with open_sender(url, recorder, options or Options(), start) as sender, asyncio.TaskGroup() as tasks:
        for number, at in enumerate(times):
            await sender.until(at)
            tasks.create_task(sender.send(requests[number % len(requests)], at))


@asynccontextmanager
async def open_sender(
    url: str, recorder: Recorder, options: Options, start: float | None = None
) -> AsyncIterator["Sender"]:
    """A sender with a connection pool of its own, closed at the end."""
    connector = aiohttp.TCPConnector(limit=options.connections, keepalive_timeout=options.idle_s)
    timeout = aiohttp.ClientTimeout(total=options.timeout_s)
    session = aiohttp.ClientSession(connector=connector, timeout=timeout, trace_configs=[_sendings()])
    async with session, _stalls(recorder):
        yield Sender(session, url, recorder, options, asyncio.get_running_loop().time() if start is None else start)


@asynccontextmanager
async def _stalls(recorder: Recorder) -> AsyncIterator[None]:
    """In the block, the recorder learns for how long this loop does not get to run."""
    task = asyncio.create_task(_beat(recorder))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _beat(recorder: Recorder) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + BEAT_S
        await asyncio.sleep(BEAT_S)
        recorder.stall_s = max(recorder.stall_s, loop.time() - due)


def _sendings() -> aiohttp.TraceConfig:
    """Notes in a request's own context that it had a connection and was sent."""

    async def sent(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
        context.trace_request_ctx["sent"] = True

    tracing = aiohttp.TraceConfig()
    tracing.on_request_headers_sent.append(sent)
    return tracing


class Sender:
    """Sends single requests and records them, on the clock of the running loop counted from `start`."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, recorder: Recorder, options: Options, start: float
    ) -> None:
        self._session = session
        self._url = url
        self._recorder = recorder
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._start = start
        self._random = random.Random(options.seed)  # noqa: S311 - connections' lifetimes, not secrets

    @property
    def now_s(self) -> float:
        """Seconds since the start of the run."""
        return self._loop.time() - self._start

    async def until(self, at_s: float) -> None:
        """Wait until the time has come; when it has passed let others go on, who could never catch up otherwise."""
        await asyncio.sleep(max(0.0, at_s - self.now_s))

    async def send(self, request: Request, intended_s: float) -> None:
        """Send one request and record its end. Never raises for what the server did."""
        sent_s = self.now_s
        if self._recorder.in_flight >= self._options.max_in_flight:
            kind, detail = Kind.ERROR, f"more than {self._options.max_in_flight} requests in flight: not sent"
        else:
            self._recorder.in_flight += 1
            try:
                kind, detail = await self._exchange(request)
            finally:
                self._recorder.in_flight -= 1
        self._recorder.add(
            Sample(intended_s=intended_s, sent_s=sent_s, done_s=self.now_s, kind=kind, detail=detail),
        )

    async def _exchange(self, request: Request) -> tuple[Kind, str]:
        came: dict[str, bool] = {}
        headers = self._headers(request)
        try:
            async with self._session.post(
                self._url, data=request.body, headers=headers, trace_request_ctx=came
            ) as response:
                return _judge(request, response, await response.read())
        except TimeoutError:
            what = "answer" if came else "connection"
            return Kind.ERROR, f"no {what} within {self._options.timeout_s:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return Kind.ERROR, f"{type(error).__name__}: {error}"

    def _headers(self, request: Request) -> dict[str, str]:
        last = self._random.random() < 1 / max(1, self._options.requests_per_connection)
        return {**request.headers, **({"Connection": "close"} if last else {})}


def _judge(request: Request, response: aiohttp.ClientResponse, body: bytes) -> tuple[Kind, str]:
    status = response.status
    if status == HTTPStatus.SERVICE_UNAVAILABLE and "Retry-After" in response.headers:
        return Kind.SHED, "503 with Retry-After"
    if status // 100 != 2:
        return Kind.ERROR, f"status {status}: {body[:120].decode(errors='replace')}"
    fault = request.wrong(body) if request.wrong else None
    return (Kind.WRONG, fault) if fault else (Kind.OK, "")
