"""The inference port: how a request may be written, and what it is answered."""

import asyncio
import gc
import gzip
import json
import threading
from pathlib import Path
from typing import Any, cast

import pytest
from onnx import TensorProto, helper
from unit.port import identity, numbers, port, request, status
from unit.process import Process
from unit.wire import LIMITS, Wire

from corefit_core.errors import Shed
from corefit_runtime.admin.endpoints import Routes
from corefit_runtime.engine.onnxruntime import OnnxRuntimeEngine
from corefit_runtime.engine.types import Threads
from corefit_runtime.http.connection import Connection
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.messages import Response, error_body
from corefit_runtime.http.server import Server
from corefit_runtime.pool.jobs import Job
from corefit_runtime.protocol.forms import Form


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> OnnxRuntimeEngine:
    return identity(tmp_path_factory.mktemp("floats"), TensorProto.FLOAT)


@pytest.mark.parametrize(
    "target",
    [
        b"/v2/models/m:v2/infer",
        b"/v2/models/m%3Av2/infer",
        b"/v2/models/m:v2/infer?trace=1",
        b"http://host:80/v2/models/m%3av2/versions/1/infer",
    ],
)
async def test_the_path_may_be_written_in_other_ways(floats: OnnxRuntimeEngine, target: bytes) -> None:
    async with port(floats) as made:
        assert status(await made.ask(request(numbers(3), target=target))) == 200


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        (b"GET /v2/models/m:v2/infer", 405, b"\r\nallow: POST\r\n"),
        (b"DELETE /v2/health/ready", 405, b"\r\nallow: GET, HEAD\r\n"),
        (b"GET /v2/models/other/infer", 404, b"no such model"),
        (b"GET /v2/models/m:v2/ready", 503, b'{"name":"m:v2","ready":false}'),
        (b"GET /v2/health/ready", 503, b'{"ready":false}'),
        (b"GET /v2/models/m:v2/versions/2/config", 404, b"no such model or version"),
        (b"GET /v2/models/m:v2/stats", 404, b"/v2/models/m:v2/stats is not served here; /openapi.json lists what is"),
        (b"GET /v2/models/m:v2/versions/1/stats", 404, b"is not served here"),
        (b"POST /v2/repository/index", 404, b"is not served here"),
        (b"POST /v2/models/m:v2/config", 405, b"allow: GET, HEAD"),
    ],
)
async def test_what_is_not_asked_for_so_is_told_how(
    floats: OnnxRuntimeEngine, line: bytes, code: int, says: bytes
) -> None:
    async with port(floats) as made:
        answer = await made.ask(line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(answer) == code
    assert says in answer


async def test_head_is_answered_like_get_without_the_body(floats: OnnxRuntimeEngine) -> None:
    """With a body, the next answer on the connection was read from the middle of it."""
    async with port(floats) as made:
        tail = b" /v2/models/m:v2 HTTP/1.1\r\nHost: x\r\n\r\n"
        full, bare = await made.ask(b"GET" + tail), await made.ask(b"HEAD" + tail)
    assert bare == full.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("line", "code", "allow"),
    [(b"HEAD /livez", 200, None), (b"POST /livez", 405, b"GET, HEAD"), (b"GET /reload", 405, b"POST")],
)
async def test_the_admin_port_has_the_same_manners(line: bytes, code: int, allow: bytes | None) -> None:
    api = Routes({(b"POST", "/reload"): lambda e: e.reply(Response())}) if b"reload" in line else Process().api()
    connection, wire = Connection(Server(api, LIMITS, error_body=error_body)), Wire()
    connection.connection_made(cast("asyncio.Transport", wire))
    data = line + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    connection.get_buffer(-1)[: len(data)] = data
    connection.buffer_updated(len(data))
    connection.connection_lost(None)
    assert status(wire.sent) == code
    assert (b"allow: %b\r\n" % allow in wire.sent) if allow else wire.sent.endswith(b"\r\n\r\n")


async def test_a_wrong_header_is_named_in_a_crowd_as_well(floats: OnnxRuntimeEngine) -> None:
    """The connection was reset: it is looked at before there is an exchange to answer."""
    async with port(floats) as made:
        wrong = request(bytes(5000), b"Inference-Header-Content-Length: abc")
        assert status(await made.ask(wrong)) == 400

        def full() -> Shed:
            return Shed("full", cause="queue-full", retry_after_s=1)

        plain, made.pool.full = made.pool.full, full  # type: ignore[method-assign]  # as if a crowd waited
        assert status(await made.ask(request(numbers(100_000)))) == 503
        assert status(await made.ask(wrong)) == 400
        made.pool.full = plain  # type: ignore[method-assign]
        assert made.meter.invalid == 2


@pytest.mark.parametrize(("cause", "calls"), [("deadline", 2), ("queue-full", 2), ("memory", 0)])
async def test_who_asks_for_a_long_queue_hears_of_refusals_for_it(
    floats: OnnxRuntimeEngine, cause: str, calls: int
) -> None:
    """A crowd under a quota was refused by a full queue, of which as little time was expected as without the quota."""
    heard: list[str] = []
    async with port(floats) as made:
        made.attention.listen(lambda: heard.append(cause))

        def refused(*_: object) -> Shed:
            return Shed("it would be answered too late", cause=cause, retry_after_s=1)

        def submit(_: object) -> None:
            raise refused()

        made.pool.submit = submit  # type: ignore[method-assign]
        made.pool.full = made.pool.refusal = refused  # type: ignore[method-assign]
        assert status(await made.ask(request(numbers(3)))) == 503
        made.attention.listen(lambda: heard.append(cause))
        assert status(await made.ask(request(numbers(2000)))) == 503  # before its body is read
    assert len(heard) == calls


async def test_the_access_log_has_every_request(floats: OnnxRuntimeEngine) -> None:
    async with port(floats) as made:
        for data in (
            request(numbers(3)),
            request(b"{"),
            b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n",
            request(b"", b"Content-Length: 99999999"),
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
            b"rubbish\r\n\r\n",
        ):
            await made.ask(data)
        infer = "/v2/models/m:v2/infer"
        assert made.seen == [(infer, 200), (infer, 400), ("/v2", 200), ("", 400), ("/", 413), ("", 400)]


async def test_the_model_is_described_as_triton_does_it(floats: OnnxRuntimeEngine) -> None:
    """It was "no such model"."""
    async with port(floats) as made:
        for path in (b"/v2/models/m:v2/config", b"/v2/models/m:v2/versions/1/config"):
            answer = await made.ask(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            said = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (said["name"], said["platform"], said["max_batch_size"]) == ("m:v2", "onnxruntime_onnx", 0)
    assert said["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1]}]
    assert said["output"] == [{"name": "y", "data_type": "TYPE_FP32", "dims": [-1]}]


async def test_the_openapi_description_is_there_before_the_model_is(floats: OnnxRuntimeEngine) -> None:
    async with port(floats) as made:
        line = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        loaded = json.loads((await made.ask(line)).partition(b"\r\n\r\n")[2])
        made.published.servable = None
        early = json.loads((await made.ask(line)).partition(b"\r\n\r\n")[2])
    assert list(loaded["paths"]) == list(early["paths"])
    assert "/v2/models/{model}/versions/{version}/infer" in early["paths"]
    assert '"const": "x"' in json.dumps(loaded)
    assert '"const": "x"' not in json.dumps(early)


async def test_nothing_of_a_request_is_left_to_the_garbage_collector(tmp_path: Path) -> None:
    """A refused run held its body until the collector came: seven requests of 140 MB took 1 GB of 512 MB."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]) for name, size in (("x", "n"), ("y", "m")))
    sevens = helper.make_tensor("w", TensorProto.FLOAT, [7], [1.0] * 7)
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [sevens])
    made_of = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "add.onnx").write_bytes(made_of.SerializeToString())
    count = 5000
    text = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[%d],"parameters":{"binary_data_size":%d}}]}'
    head = text % (count, 4 * count)
    binary = request(head + bytes(4 * count), b"Inference-Header-Content-Length: %d" % len(head))
    gzipped = gzip.compress(numbers(20_000) + b"x")
    asked = {
        "it has its answer": (request(numbers(7)), 200),
        "the model refuses it": (binary, 400),
        "of JSON that is parsed aside": (request(numbers(100_000)), 400),
        "its JSON is wrong": (request(numbers(100_000)[:-1]), 400),
        "its encoding is wrong": (request(gzipped, b"Content-Encoding: gzip"), 400),
    }
    async with port(OnnxRuntimeEngine(tmp_path / "add.onnx", Threads())) as made:
        for data, code in asked.values():
            assert status(await made.ask(data)) == code
        for what, (data, code) in asked.items():
            gc.collect()
            gc.disable()
            try:
                assert status(await made.ask(data)) == code
                await asyncio.sleep(0.05)
                gc.set_debug(gc.DEBUG_SAVEALL)
                gc.collect()
                left = [each for each in gc.garbage if isinstance(each, (Job, Exchange, Form, BaseException))]
                assert not left, what
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()


async def test_a_body_is_charged_as_long_as_a_run_uses_it(floats: OnnxRuntimeEngine) -> None:
    """It was given back with the connection: who hung up and came again held a body for each worker uncharged."""
    begun, gate = threading.Event(), threading.Event()
    plain = floats.run

    def run(names: list[str] | None, feeds: Any) -> Any:
        begun.set()
        gate.wait(60)
        return plain(names, feeds)

    async with port(floats) as made:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(floats, "run", run)
            running, _ = made.send(request(numbers(2000)))
            await asyncio.to_thread(begun.wait, 60)
            waiting, _ = made.send(request(numbers(3000)))
            both = made.server.memory.held
            waiting.connection_lost(None)
            one = made.server.memory.held
            running.connection_lost(None)
            assert made.server.memory.held == one
            assert 0 < one < both
            gate.set()
            for _ in range(1000):
                if made.server.memory.held == 0:
                    break
                await asyncio.sleep(0.01)
        assert made.server.memory.held == 0
