"""What is compared against: raw onnxruntime in a loop, and a bare aiohttp handler around `session.run`.

`python -m bench.runtime.baseline raw MODEL SECONDS` prints runs and CPU seconds;
`python -m bench.runtime.baseline aiohttp MODEL PORT` serves until it is told to stop.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from bench.models import cost


def raw(model: str, seconds: float) -> None:
    """Runs the model for so long on one thread, and prints how often and at what cost."""
    with open(model, "rb") as file:  # noqa: PTH123 - a bench's argument
        session = cost.session(file.read())
    feeds = cost.feeds(session)
    for _ in range(5):
        session.run(None, feeds)
    runs, begin, cpu = 0, time.monotonic(), time.process_time()
    while time.monotonic() - begin < seconds:
        session.run(None, feeds)
        runs += 1
    print(json.dumps({"runs": runs, "seconds": time.monotonic() - begin, "cpu": time.process_time() - cpu}))


def bare_aiohttp(model: str, port: int) -> None:
    """No queue, no deadline, no validation, no report: the body is the tensor, the answer the first output."""
    import asyncio

    from aiohttp import web

    with open(model, "rb") as file:  # noqa: PTH123 - a bench's argument
        session = cost.session(file.read())
    [node] = session.get_inputs()
    executor = ThreadPoolExecutor(1)

    async def infer(request: web.Request) -> web.Response:
        body = await request.read()
        start = int(request.headers["Inference-Header-Content-Length"])
        shape = json.loads(body[:start])["inputs"][0]["shape"]
        x = np.frombuffer(body, np.float32, offset=start).reshape(shape)
        loop = asyncio.get_running_loop()
        outputs = await loop.run_in_executor(executor, session.run, None, {node.name: x})
        return web.Response(body=outputs[0].tobytes())

    app = web.Application(client_max_size=2**30)
    app.router.add_post("/v2/models/m/infer", infer)
    web.run_app(app, host="127.0.0.1", port=port, print=lambda _: None)


if __name__ == "__main__":
    if sys.argv[1] == "raw":
        raw(sys.argv[2], float(sys.argv[3]))
    else:
        bare_aiohttp(sys.argv[2], int(sys.argv[3]))
