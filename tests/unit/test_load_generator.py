"""The generator against a real HTTP server on the loopback address."""

import asyncio
import contextlib
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import aiohttp
import pytest
from aiohttp import web

from corefit.load import Kind, Options, Recorder, Request, Sample, run, zeros_request
from corefit.load.generator import BEAT_S, open_sender
from corefit.load.target import json_request
from corefit_core.errors import InvalidInput

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}/v2/models/m/infer"

    yield start
    for runner in runners:
        await runner.cleanup()


async def load(url: str, times: list[float], request: Request | None = None, timeout_s: float = 60.0) -> Recorder:
    recorder = Recorder()
    options = Options(timeout_s=timeout_s)
    await run(url, [request or Request(body=b"{}")], times, recorder=recorder, options=options)
    return recorder


async def test_a_server_that_stalls_is_still_asked_at_the_intended_times(serve: Serve) -> None:
    """The first answer waits until the last request has arrived: a closed loop would never get there."""
    count, arrived, everyone = 20, 0, asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        nonlocal arrived
        arrived += 1
        if arrived == count:
            everyone.set()
        await everyone.wait()
        return web.Response(text="ok")

    times = [0.01 * n for n in range(count)]
    recorder = await load(await serve(handler), times)
    by_intent = sorted(recorder, key=lambda s: s.intended_s)
    assert [s.kind for s in by_intent] == [Kind.OK] * count
    assert by_intent[0].latency_s >= 0.01 * (count - 1)
    assert recorder.in_flight == 0


async def test_latency_includes_the_time_that_a_request_was_sent_late(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    recorder = Recorder()
    start = asyncio.get_running_loop().time() - 5.0
    await run(await serve(handler), [Request(body=b"{}")], [0.0], recorder=recorder, start=start)
    (sample,) = recorder
    assert sample.latency_s >= 5.0
    assert sample.sent_s >= 5.0


async def test_statuses_are_told_apart(serve: Serve) -> None:
    answers = iter(
        [
            web.Response(text="ok"),
            web.Response(status=503, headers={"Retry-After": "1"}),
            web.Response(status=503, text="draining without a word on when"),
            web.Response(status=500, text="broken"),
            web.Response(status=404),
        ]
    )

    async def handler(_: web.Request) -> web.Response:
        return next(answers)

    url = await serve(handler)
    samples = [sample for _ in range(5) for sample in await load(url, [0.0])]
    assert [s.kind for s in samples] == [Kind.OK, Kind.SHED, Kind.ERROR, Kind.ERROR, Kind.ERROR]
    assert "broken" in samples[3].detail


async def test_a_wrong_answer_counts_as_wrong(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="8")

    url = await serve(handler)
    (right,) = await load(url, [0.0], Request(body=b"", wrong=lambda body: None if body == b"8" else "not 8"))
    (wrong,) = await load(url, [0.0], Request(body=b"", wrong=lambda body: None if body == b"3" else "not 3"))
    assert (right.kind, wrong.kind, wrong.detail) == (Kind.OK, Kind.WRONG, "not 3")


async def test_no_answer_and_no_server_are_lost_requests(serve: Serve) -> None:
    never = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    (slow,) = await load(await serve(handler), [0.0], timeout_s=0.2)
    never.set()
    (dead,) = await load("http://127.0.0.1:9/infer", [0.0])
    assert (slow.kind, dead.kind) == (Kind.ERROR, Kind.ERROR)
    assert "0.2 s" in slow.detail


async def test_a_request_that_gets_no_connection_is_not_said_to_get_no_answer() -> None:
    """On a machine that was short of CPU, connections came too late, and the server got the blame."""
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # the kernel drops what comes when nobody accepts
            peer = waiting.enter_context(socket.socket())
            peer.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                peer.connect(full.getsockname())
        (sample,) = await load(f"http://127.0.0.1:{full.getsockname()[1]}/infer", [0.0], timeout_s=0.3)
    assert (sample.kind, sample.detail) == (Kind.ERROR, "no connection within 0.3 s")


async def test_the_generator_notes_for_how_long_it_did_not_run(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(2 * BEAT_S)
        time.sleep(0.4)  # noqa: ASYNC251 - the generator's loop is this one
        await asyncio.sleep(2 * BEAT_S)
        return web.Response()

    recorder = await load(await serve(handler), [0.0])
    assert recorder.stall_s > 0.2


async def test_a_server_that_closes_on_us_is_asked_once_and_the_request_is_lost(serve: Serve) -> None:
    asked = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    (sample,) = await load(await serve(handler), [0.0])
    assert (sample.kind, asked) == (Kind.ERROR, 1)


async def test_connections_are_used_again_and_given_up_now_and_then(serve: Serve) -> None:
    peers: Counter[object] = Counter()

    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers[request.transport.get_extra_info("peername")] += 1
        return web.Response(text="ok")

    count, recorder, options = 400, Recorder(), Options(requests_per_connection=10, idle_s=60.0)
    async with open_sender(await serve(handler), recorder, options) as sender:
        for _ in range(count):  # One after the other: those that overlap take a connection each.
            await sender.send(Request(body=b"{}"), 0.0)
    assert [s.kind for s in recorder] == [Kind.OK] * count
    assert count / 20 <= len(peers) <= count / 5


async def test_requests_beyond_the_bound_are_lost_and_not_held_in_memory(serve: Serve) -> None:
    release = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response(text="ok")

    class Releasing(Recorder):
        """Lets the server answer once two requests have ended, which only those over the bound can."""

        def add(self, sample: Sample) -> None:
            super().add(sample)
            if len(self) == 2:
                release.set()

    url, recorder = await serve(handler), Releasing()
    await run(url, [Request(body=b"{}")], [0.0] * 5, recorder=recorder, options=Options(max_in_flight=3))
    assert Counter(s.kind for s in recorder) == {Kind.OK: 3, Kind.ERROR: 2}


async def test_a_generator_that_is_late_lets_answers_come_in(serve: Serve) -> None:
    """All times have passed: requests are sent and answered between them, or none would be until the last is due."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    recorder, due = Recorder(), 300

    def times() -> Iterator[float]:
        nonlocal due
        while due and not len(recorder):
            due -= 1
            yield 0.0

    await run(await serve(handler), [Request(body=b"{}")], times(), recorder=recorder)
    assert due


async def test_zeros_are_made_by_the_models_metadata(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        inputs = [
            {"name": "x", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "s", "datatype": "BYTES", "shape": [1]},
        ]
        return web.json_response({"name": "m", "inputs": inputs})

    async with aiohttp.ClientSession() as session:
        request = await zeros_request(session, await serve(handler), rows=2)
    inputs = json.loads(request.body)["inputs"]
    assert inputs[0] == {"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [0] * 6}
    assert inputs[1]["data"] == [""]


async def test_a_url_without_metadata_is_explained(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=404)

    url = await serve(handler)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(InvalidInput, match="no model metadata at"):
            await zeros_request(session, url)
        with pytest.raises(InvalidInput, match="--body"):
            await zeros_request(session, url.removesuffix("/infer"))


async def test_metadata_that_is_no_text_is_explained(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=b'{"inputs": [{"name": "\xff", "datatype": "FP32", "shape": [1]}]}')

    async with aiohttp.ClientSession() as session:
        with pytest.raises(InvalidInput, match="no model metadata at"):
            await zeros_request(session, await serve(handler))


def test_json_requests_are_compact() -> None:
    assert json_request({"a": [1, 2]}).body == b'{"a":[1,2]}'
