"""The inference port without sockets: requests that were right once, and then damaged, down to the model and back."""

import asyncio
import json
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from unit.wire import LIMITS, Wire, fed

from corefit_core.batching import Line
from corefit_runtime.admin.report import NO_PLAN
from corefit_runtime.concurrency.offload import Offload
from corefit_runtime.dataplane.data_plane import DataPlane
from corefit_runtime.engine.onnxruntime import OnnxRuntimeEngine
from corefit_runtime.engine.types import Threads
from corefit_runtime.http.connection import Connection
from corefit_runtime.http.messages import error_body
from corefit_runtime.http.server import Server
from corefit_runtime.memory.buffers import BufferPool
from corefit_runtime.pool.limits import Limits
from corefit_runtime.pool.model import Model
from corefit_runtime.pool.pool import Pool
from corefit_runtime.protocol.codec import Codec
from corefit_runtime.protocol.signature import Signature
from corefit_runtime.rest.api import InferenceApi
from corefit_runtime.serving.readiness import Readiness
from corefit_runtime.serving.servable import Published, Servable
from corefit_runtime.settings import settings
from corefit_runtime.telemetry.attention import Attention
from corefit_runtime.telemetry.meter import Meter


@pytest.fixture(scope="module")
def negate(tmp_path_factory: pytest.TempPathFactory) -> OnnxRuntimeEngine:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    path = tmp_path_factory.mktemp("model") / "m.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )
    return OnnxRuntimeEngine(path, Threads())


def request(*, binary: bool) -> bytes:
    """A request that is right."""
    tensor: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [2, 4]}
    data = np.arange(8, dtype=np.float32)
    if binary:
        tensor["parameters"] = {"binary_data_size": data.nbytes}
    else:
        tensor["data"] = data.tolist()
    text = json.dumps({"id": "1", "inputs": [tensor], "parameters": {"binary_data_output": binary}}).encode()
    body = text + (data.tobytes() if binary else b"")
    head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nCorefit-Timeout-Ms: 60000\r\n"
    length = b"Inference-Header-Content-Length: %d\r\n" % len(text) if binary else b""
    return head + length + b"Content-Length: %d\r\n\r\n" % len(body) + body


damage = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 6), st.binary(max_size=6), st.booleans()), min_size=0, max_size=4
)


def damaged(data: bytes, changes: list[tuple[float, int, bytes, bool]]) -> bytes:
    """With some bytes at some places replaced by others, or these put in."""
    for place, count, instead, replaces in changes:
        at = int(place * len(data))
        data = data[:at] + instead + data[at + (count if replaces else 0) :]
    return data


@hypothesis_settings(max_examples=150)
@given(binary=st.booleans(), changes=damage, inline=st.booleans())
def test_a_damaged_request_is_answered_or_refused_and_leaves_nothing(
    negate: OnnxRuntimeEngine, binary: bool, changes: list[tuple[float, int, bytes, bool]], inline: bool
) -> None:
    sent = asyncio.run(converse(negate, damaged(request(binary=binary), changes), 1e-6 if inline else 1e-2))
    assert b"HTTP/1.1 500" not in sent
    if not changes:
        assert sent.startswith(b"HTTP/1.1 200 OK")


async def converse(engine: OnnxRuntimeEngine, data: bytes, run_s: float) -> bytes:
    """What the port answers; nothing of the request may be left when the client has gone."""
    given = settings.load(["--model", "m.onnx", "--name", "m"], {})
    meter, published, loop = Meter(), Published(), asyncio.get_running_loop()
    limits = Limits(workers=1, depth=8, objective_s=60, line=Line(a=run_s, b=0.0), chunk=1, batch=0)
    pool, offload = Pool(loop, meter, limits), Offload(loop)
    pool.apply(limits)
    model = Model(engine, name="m", version="1", sha256="")
    model.rows_independent = True
    codec = Codec("m", "1", Signature.of(engine), max_tensors=8, max_depth=16)
    published.publish(Servable(model=model, codec=codec, plan=NO_PLAN))
    attention = Attention(given.objective_s)
    plane = DataPlane(given, published, Readiness(), pool, offload, meter=meter, attention=attention)
    api = InferenceApi(plane, name="m", version="1")
    server = Server(
        api, LIMITS, error_body=error_body, allocate=BufferPool(), align_header=b"inference-header-content-length"
    )
    if run_s < 1e-3:  # One that a worker has measured to be short, so that others may stay on the loop.
        await speak(server, pool, request(binary=True))
    sent = await speak(server, pool, data)
    offload.close()
    await pool.close()
    gauges = pool.gauges()
    assert (gauges.queued, gauges.in_flight, server.memory.held) == (0, 0, 0)
    assert meter.admitted == meter.completed + meter.failed + meter.expired + meter.cancelled
    assert meter.failed == 0
    return sent


async def speak(server: Server, pool: Pool, data: bytes) -> bytes:
    """What one client is answered."""
    connection, wire = Connection(server), Wire()
    connection.connection_made(cast("asyncio.Transport", wire))
    for _ in fed(connection, wire, data):
        await asyncio.wait_for(pool.idle(), 60)
        await asyncio.sleep(0)
    connection.connection_lost(None)
    return wire.sent
