"""The inference port without sockets: what is parsed aside, what it may hold, and how else a request may be written."""

import asyncio
import contextlib
import gzip
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from onnx import TensorProto, helper
from unit.wire import LIMITS, Wire

from corefit_core.batching import Line
from corefit_core.errors import Shed
from corefit_runtime import datatypes, settings
from corefit_runtime.api import InferenceApi
from corefit_runtime.engine import Engine, Threads
from corefit_runtime.facts import HEADER_LENGTH
from corefit_runtime.forms import Signature
from corefit_runtime.grant import Cgroup
from corefit_runtime.http_connection import Connection
from corefit_runtime.http_messages import Head, error_body
from corefit_runtime.http_server import Server
from corefit_runtime.jobs import Model
from corefit_runtime.meter import Meter
from corefit_runtime.offload import Offload
from corefit_runtime.pool import Pool
from corefit_runtime.protocol import Codec
from corefit_runtime.rooms import Rooms
from corefit_runtime.schedule import Limits
from corefit_runtime.service import Service

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

    def __init__(self, engine: Engine, memory: int) -> None:
        loop = asyncio.get_running_loop()
        sizes = {"max_body": LARGE, "max_body_memory": memory}
        given = replace(settings.load(["--model", "x", "--name", "m:v2"], {}), **sizes)
        self.service = Service(given, Cgroup([], str), Meter())
        limits = Limits(workers=1, depth=8, objective_s=60, line=Line(a=1e-2, b=0.0), chunk=0, batch=0)
        self.pool, self.offload = Pool(loop, self.service.meter, limits), Offload(loop)
        self.pool.apply(limits)
        self.service.pool = self.pool
        self.service.model = Model(engine, name="m:v2", version="1", sha256="")
        inputs, outputs = ({spec.name: spec for spec in specs} for specs in (engine.inputs, engine.outputs))
        self.service.codec = Codec("m:v2", "1", Signature(inputs, outputs), max_tensors=8, max_depth=16)
        self.api = InferenceApi(self.service, self.pool, self.offload)
        self.seen: list[tuple[str, int]] = []
        self.server = Server(
            self.api,
            replace(LIMITS, **sizes),
            error_body=error_body,
            allocate=Rooms(),
            align_header=HEADER_LENGTH,
            refused=self.service.meter.refused,
            refusal=self.api.refusal,
            access=self.note,
        )

    def note(self, head: Head | None, status: int, _seconds: float) -> None:
        self.seen.append((head.path if head else "", status))

    def send(self, data: bytes) -> tuple[Connection, Told]:
        """A client that sends this."""
        connection, wire = Connection(self.server), Told()
        connection.connection_made(cast("asyncio.Transport", wire))
        while data and not wire.closed:
            room = connection.get_buffer(-1)
            count = min(len(room), len(data))
            room[:count] = data[:count]
            connection.buffer_updated(count)
            data = data[count:]
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
async def port(engine: Engine, memory: int = 1 << 24) -> AsyncIterator[Port]:
    made = Port(engine, memory)
    yield made
    await asyncio.wait_for(made.pool.idle(), PATIENCE_S)
    made.offload.close()
    await made.pool.close()


def identity(folder: Any, kind: int) -> Engine:
    x, y = (helper.make_tensor_value_info(name, kind, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return Engine(path, Threads())


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return identity(tmp_path_factory.mktemp("floats"), TensorProto.FLOAT)


@pytest.fixture(scope="module")
def strings(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return identity(tmp_path_factory.mktemp("strings"), TensorProto.STRING)


def request(body: bytes, *headers: bytes, target: bytes = b"/v2/models/m:v2/infer") -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (target, lines, len(body), body)


def numbers(count: int, shape: list[int] | None = None) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": shape or [count], "data": [0] * count}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_whatever_fails_aside_is_answered_and_holds_nothing(
    floats: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answered what was raised after the parsing, and its body was charged for ever."""

    def submit(_job: object) -> None:
        raise OverflowError("int too large to convert to float")

    async with port(floats) as made:
        monkeypatch.setattr(made.pool, "submit", submit)
        assert status(await made.ask(request(numbers(100_000)))) == 500
        monkeypatch.undo()
        assert status(await made.ask(request(numbers(100_000)))) == 200


async def test_a_client_that_hangs_up_while_it_is_parsed_aside_gets_no_run(floats: Engine) -> None:
    async with port(floats) as made:
        gate = threading.Event()
        held = made.offload.run(gate.wait, PATIENCE_S)
        connection, wire = made.send(request(numbers(100_000)))
        await asyncio.sleep(0.01)
        connection.connection_lost(None)
        gate.set()
        await held
        assert status(await made.ask(request(numbers(100_000)))) == 200
        assert not wire.sent
        assert made.service.meter.admitted == made.service.meter.arrivals == 1


async def test_what_a_body_expands_to_is_charged(floats: Engine) -> None:
    body = numbers(100)
    packed = request(gzip.compress(body + b" " * 400_000), b"Content-Encoding: gzip")
    async with port(floats, memory=500_000) as made:
        assert status(await made.ask(packed)) == 413  # It may expand to more than there could ever be.
    async with port(floats, memory=3 << 20) as made:
        assert status(await made.ask(packed)) == 200
        made.server.memory.held = 5 << 19
        answer = await made.ask(packed)
        assert status(answer) == 503
        assert b"retry-after: 1" in answer
        assert made.service.meter.rejected["memory"] == 1


async def test_what_json_takes_when_it_is_decoded_is_charged(floats: Engine) -> None:
    """`[0,0,...` takes 16 bytes for each of its own, so that one request of 64 MB took more than a pod has."""
    async with port(floats, memory=2 << 20) as made:
        answer = await made.ask(request(numbers(200_000)))
        assert status(answer) == 413
        assert b"--max-body-memory" in answer
    async with port(floats) as made:
        assert status(await made.ask(request(numbers(200_000)))) == 200
        assert status(await made.ask(request(numbers(200_000, [1])))) == 400


@pytest.mark.parametrize("count", [100, 10_000])
async def test_many_strings_are_not_made_on_the_event_loop(
    strings: Engine, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """50,000 of them held it for tens of milliseconds."""
    threads = []
    plain = datatypes.from_bytes

    def noted(*args: Any) -> Any:
        threads.append(threading.current_thread())
        return plain(*args)

    monkeypatch.setattr(datatypes, "from_bytes", noted)
    data = bytes(datatypes.to_bytes("BYTES", np.array(["a"] * count, np.object_)))
    tensor = {"name": "x", "datatype": "BYTES", "shape": [count], "parameters": {"binary_data_size": len(data)}}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    async with port(strings) as made:
        answer = await made.ask(request(text + data, b"Inference-Header-Content-Length: %d" % len(text)))
    assert status(answer) == 200
    assert answer.endswith(data)
    assert [thread is threading.main_thread() for thread in threads] == [count == 100]


@pytest.mark.parametrize(
    "target",
    [
        b"/v2/models/m:v2/infer",
        b"/v2/models/m%3Av2/infer",
        b"/v2/models/m:v2/infer?trace=1",
        b"http://host:80/v2/models/m%3av2/versions/1/infer",
    ],
)
async def test_the_path_may_be_written_in_other_ways(floats: Engine, target: bytes) -> None:
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
    ],
)
async def test_what_is_not_asked_for_so_is_told_how(floats: Engine, line: bytes, code: int, says: bytes) -> None:
    async with port(floats) as made:
        answer = await made.ask(line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(answer) == code
    assert says in answer


async def test_head_is_answered_like_get_without_the_body(floats: Engine) -> None:
    """With a body, the next answer on the connection was read from the middle of it."""
    async with port(floats) as made:
        tail = b" /v2/models/m:v2 HTTP/1.1\r\nHost: x\r\n\r\n"
        full, bare = await made.ask(b"GET" + tail), await made.ask(b"HEAD" + tail)
    assert bare == full.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


async def test_a_wrong_header_is_named_in_a_crowd_as_well(floats: Engine) -> None:
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
        assert made.service.meter.invalid == 2


async def test_the_access_log_has_every_request(floats: Engine) -> None:
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
