"""The runtime's data plane behind one of several HTTP fronts, for `fronts.py`: our own, aiohttp's, granian's.

The others have no limits, deadlines or refusals of their own, and charge no memory: what they cost is the least that
such a front costs.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import uvloop
from aiohttp import web

from corefit_core.sizing import Grant
from corefit_runtime.dataplane.data_plane import DataPlane
from corefit_runtime.dataplane.request import Pieces
from corefit_runtime.memory import heap
from corefit_runtime.process.inference import Inference
from corefit_runtime.serving.readiness import Readiness
from corefit_runtime.serving.servable import Published
from corefit_runtime.settings import settings
from corefit_runtime.telemetry.attention import Attention
from corefit_runtime.telemetry.meter import Meter

LENGTH: Final = "inference-header-content-length"
Answer = tuple[int | None, Pieces]


class Caller:
    """Whoever waits for an answer, by a front that knows nothing of memory."""

    held = 0

    def __init__(self, body: bytes) -> None:
        self.body = memoryview(body)
        self.arrived_s = asyncio.get_running_loop().time()
        self.on_gone: Callable[[], None] | None = None

    def alive(self) -> bool:
        """Nobody goes in this measurement."""
        return True

    def charge(self, _count: int) -> bool:
        """There is room for all."""
        return True


class Request:
    """An `EncodedRequest` of such a front."""

    timeout_s = 0.0
    aligned = False
    coding = None

    def __init__(self, body: bytes, json_length: int | None) -> None:
        self.caller = Caller(body)
        self.json_length = json_length
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def render(self, length: int | None, pieces: Pieces, _charged: int) -> Answer:
        """The front makes its own response of it."""
        return length, pieces

    def reply(self, answer: Answer) -> None:
        """Hands it to the front."""
        self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Hands the error to the front."""
        self.answer.set_exception(error)


async def answered(plane: DataPlane, body: bytes, json_length: str | None) -> Answer:
    """What the data plane answers."""
    request = Request(body, int(json_length) if json_length else None)
    plane.infer(request)
    return await request.answer


async def own(inference: Inference, port: int) -> None:
    """By our own front."""
    await inference.server.start("127.0.0.1", port)
    await asyncio.Event().wait()


async def aiohttp(inference: Inference, port: int) -> None:
    """By aiohttp."""

    async def infer(request: web.Request) -> web.Response:
        length, pieces = await answered(inference.plane, await request.read(), request.headers.get(LENGTH))
        headers = {LENGTH: str(length)} if length is not None else {"content-type": "application/json"}
        return web.Response(body=b"".join(pieces), headers=headers)

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/v2/models/m/infer", infer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


async def granian(inference: Inference, port: int) -> None:
    """By granian and its interface RSGI; it is no dependency of ours: `uv pip install granian` first."""
    from granian.constants import Interfaces  # noqa: PLC0415 - see above
    from granian.server.embed import Server  # noqa: PLC0415

    async def infer(scope: Any, protocol: Any) -> None:
        length, pieces = await answered(inference.plane, await protocol(), scope.headers.get(LENGTH))
        headers = [(LENGTH, str(length))] if length is not None else [("content-type", "application/json")]
        protocol.response_bytes(200, headers, b"".join(pieces))

    await Server(infer, address="127.0.0.1", port=port, interface=Interfaces.RSGI, log_enabled=False).serve()


FRONTS: Final[dict[str, Callable[[Inference, int], Awaitable[None]]]] = {
    "own": own,
    "aiohttp": aiohttp,
    "granian": granian,
}


async def serve(front: str, model: Path, port: int) -> None:
    """Until the process is ended."""
    given = settings.load(["--model", str(model), "--name", "m", "--no-calibrate", "--connection-age", "86400"], {})
    published, readiness, meter, attention = Published(), Readiness(), Meter(), Attention(given.objective_s)
    inference = Inference(given, published, readiness, meter, attention, doubt="")
    await inference.lifecycle.load(Grant(cpus=1))
    await FRONTS[front](inference, port)


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("front", choices=FRONTS)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    heap.configure()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(arguments.front, arguments.model, arguments.port))


if __name__ == "__main__":
    main()
