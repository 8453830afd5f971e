"""The baseline: the handler that anyone would write with aiohttp, one worker thread and no more.

It reads the tensor where it knows it to lie and sends the bytes of the answer: no queue limit, no deadline, no
validation, no JSON, no report. What it costs is what a server costs that does nothing but serve.
"""

import argparse
import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import uvloop
from aiohttp import web
from bench.models.cost import session


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--uvloop", action="store_true", help="uvloop in place of asyncio's own loop")
    arguments = parser.parse_args()
    if arguments.uvloop:
        uvloop.install()
    web.run_app(_app(arguments.model.read_bytes()), host="127.0.0.1", port=arguments.port, print=None, access_log=None)
    return 0


async def _app(model: bytes) -> web.Application:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(max_workers=1))
    runner = session(model)
    (node,) = runner.get_inputs()
    shape = (-1, *node.shape[1:])

    async def infer(request: web.Request) -> web.Response:
        body = await request.read()
        offset = int(request.headers["Inference-Header-Content-Length"])
        tensor = np.frombuffer(body, np.float32, offset=offset).reshape(shape)
        outputs = await asyncio.get_running_loop().run_in_executor(None, runner.run, None, {node.name: tensor})
        return web.Response(body=outputs[0].tobytes())

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/v2/models/{model}/infer", infer)
    return app


if __name__ == "__main__":
    raise SystemExit(main())
