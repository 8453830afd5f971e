"""A page on which a person draws a digit; the model beside this process reads it.

    GET /         the page
    POST /read    64 numbers from 0 to 16, the drawing in 8x8 pixels -> {"digit": 7, "probabilities": [...], "ms": 1.4}
    GET /healthz  this process answers; whether the model does is the sidecar's own probe

The runtime is found by COREFIT_SOCKET, which its sidecar puts into the environment, and asked over one connection
pool for the life of the process. When it is away the page says so at once: a refused connection is an error of this
request and of nothing else. When it has too much to do, its refusal and when to come back are handed on.
"""

import os
import time
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientResponseError, ClientSession, ClientTimeout, UnixConnector, web

MODEL = "digits"
PIXELS = 64
PAGE = Path(__file__).with_name("index.html")
MODEL_API = web.AppKey("model_api", ClientSession)


async def page(_request: web.Request) -> web.FileResponse:
    """The page; it loads nothing from elsewhere."""
    return web.FileResponse(PAGE, headers={"Cache-Control": "no-store"})


async def healthz(_request: web.Request) -> web.Response:
    """For the kubelet."""
    return web.Response(text="ok\n")


async def read(request: web.Request) -> web.Response:
    """Asks the sidecar what is on the drawing."""
    pixels = drawing(await request.json())
    if pixels is None:
        raise web.HTTPBadRequest(text=f"send {PIXELS} numbers from 0 to 16\n")
    started = time.perf_counter()
    try:
        answer = await ask(request.app[MODEL_API], pixels)
    except (ClientError, TimeoutError) as error:
        status, headers = handed_on(error)
        return web.json_response({"error": f"the model can't be asked: {error}"}, status=status, headers=headers)
    return web.json_response({**answer, "ms": round(1000 * (time.perf_counter() - started), 2)})


def handed_on(error: Exception) -> tuple[int, dict[str, str]]:
    """The status of what went wrong beside us, and the runtime's word on when it may go well."""
    if isinstance(error, ClientResponseError) and error.headers and "Retry-After" in error.headers:
        return error.status, {"Retry-After": error.headers["Retry-After"]}
    return 502, {}


def drawing(sent: Any) -> list[float] | None:
    """The pixels, when that is what was sent."""
    if not isinstance(sent, list) or len(sent) != PIXELS:
        return None
    if not all(isinstance(x, int | float) and 0 <= x <= 16 for x in sent):
        return None
    return [float(x) for x in sent]


async def ask(session: ClientSession, pixels: list[float]) -> dict[str, Any]:
    """One row to the Open Inference Protocol, and back."""
    tensor = {"name": "X", "datatype": "FP32", "shape": [1, PIXELS], "data": pixels}
    async with session.post(f"/v2/models/{MODEL}/infer", json={"inputs": [tensor]}) as response:
        response.raise_for_status()
        outputs = {o["name"]: o["data"] for o in (await response.json())["outputs"]}
    return {"digit": outputs["label"][0], "probabilities": outputs["probabilities"]}


async def beside(app: web.Application) -> Any:
    """The connections to the sidecar, for as long as the process lives."""
    connector = UnixConnector(path=os.environ["COREFIT_SOCKET"])
    async with ClientSession("http://runtime", connector=connector, timeout=ClientTimeout(total=10)) as session:
        app[MODEL_API] = session
        yield


def main() -> None:
    """Serves until SIGTERM, then finishes what is held."""
    app = web.Application(client_max_size=16 * 1024)
    app.cleanup_ctx.append(beside)
    app.add_routes([web.get("/", page), web.get("/healthz", healthz), web.post("/read", read)])
    web.run_app(app, port=8080, access_log=None)


if __name__ == "__main__":
    main()
