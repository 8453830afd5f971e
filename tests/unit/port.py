"""An inference port without sockets, with a model that gives back what it gets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

from onnx import helper
from unit.wire import LIMITS, Wire, fed

from corefit_core.batching import Line
from corefit_runtime.admin.report import NO_PLAN
from corefit_runtime.concurrency.offload import Offload
from corefit_runtime.dataplane.data_plane import DataPlane
from corefit_runtime.engine.onnxruntime import OnnxRuntimeEngine
from corefit_runtime.engine.types import Threads
from corefit_runtime.http.connection import Connection
from corefit_runtime.http.messages import Head, error_body
from corefit_runtime.http.server import Server
from corefit_runtime.memory.buffers import BufferPool
from corefit_runtime.pool.limits import Limits
from corefit_runtime.pool.model import Model
from corefit_runtime.pool.pool import Pool
from corefit_runtime.protocol.codec import Codec
from corefit_runtime.protocol.signature import Signature
from corefit_runtime.rest.api import InferenceApi
from corefit_runtime.rest.headers import HEADER_LENGTH
from corefit_runtime.serving.readiness import Readiness
from corefit_runtime.serving.servable import Published, Servable
from corefit_runtime.settings import settings
from corefit_runtime.telemetry.attention import Attention
from corefit_runtime.telemetry.meter import Meter

PATIENCE_S = 60.0
LARGE = 1 << 20


class Told(Wire):
    """A transport that tells when it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = asyncio.Event()

    def writelines(self, pieces: list[bytes]) -> None:
        super().writelines(pieces)
        self.answered.set()


class Port:
    """An inference port, and what it told its access log."""

    def __init__(self, engine: OnnxRuntimeEngine, memory: int) -> None:
        loop = asyncio.get_running_loop()
        sizes = {"max_body": LARGE, "max_body_memory": memory}
        given = replace(settings.load(["--model", "x", "--name", "m:v2"], {}), **sizes)
        self.meter, self.attention, self.published = Meter(), Attention(given.objective_s), Published()
        limits = Limits(workers=1, depth=8, objective_s=60, line=Line(a=1e-2, b=0.0), chunk=0, batch=0)
        self.pool, self.offload = Pool(loop, self.meter, limits), Offload(loop)
        self.pool.apply(limits)
        model = Model(engine, name="m:v2", version="1", sha256="")
        codec = Codec("m:v2", "1", Signature.of(engine), max_tensors=8, max_depth=16)
        self.published.publish(Servable(model=model, codec=codec, plan=NO_PLAN))
        self.plane = DataPlane(
            given,
            self.published,
            Readiness(),
            self.pool,
            self.offload,
            meter=self.meter,
            attention=self.attention,
        )
        self.api = InferenceApi(self.plane, name="m:v2", version="1")
        self.seen: list[tuple[str, int]] = []
        self.server = Server(
            self.api,
            replace(LIMITS, **sizes),
            error_body=error_body,
            allocate=BufferPool(),
            align_header=HEADER_LENGTH,
            refused=self.meter.refused,
            refusal=self.api.refusal,
            access=self.note,
        )

    def note(self, head: Head | None, status: int, _seconds: float) -> None:
        self.seen.append((head.path if head else "", status))

    def send(self, data: bytes) -> tuple[Connection, Told]:
        """A client that sends this."""
        connection, wire = Connection(self.server), Told()
        connection.connection_made(cast("asyncio.Transport", wire))
        for _ in fed(connection, wire, data):
            pass
        return connection, wire

    async def ask(self, data: bytes) -> bytes:
        """What a client that sends this is answered; then nothing more is held than before."""
        held = self.server.memory.held
        connection, wire = self.send(data)
        await asyncio.wait_for(wire.answered.wait(), PATIENCE_S)
        assert self.server.memory.held == held
        connection.connection_lost(None)
        return wire.sent


@contextlib.asynccontextmanager
async def port(engine: OnnxRuntimeEngine, memory: int = 1 << 24) -> AsyncIterator[Port]:
    made = Port(engine, memory)
    yield made
    await asyncio.wait_for(made.pool.idle(), PATIENCE_S)
    made.offload.close()
    await made.pool.close()


def identity(folder: Any, kind: int) -> OnnxRuntimeEngine:
    x, y = (helper.make_tensor_value_info(name, kind, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return OnnxRuntimeEngine(path, Threads())


def request(body: bytes, *headers: bytes, target: bytes = b"/v2/models/m:v2/infer") -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (target, lines, len(body), body)


def numbers(count: int, shape: list[int] | None = None) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": shape or [count], "data": [0] * count}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
