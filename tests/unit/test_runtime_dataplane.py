"""A transport of another format than the Open Inference Protocol's JSON is as thin over the data plane as REST."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from unit.port import PATIENCE_S, Port, identity, numbers, port

from corefit_core.errors import CorefitError, DeadlineExceeded, InvalidInput, Shed
from corefit_runtime.dataplane.request import Caller, InferenceRequest, Pieces, Renderer
from corefit_runtime.tensors.datatypes import Array


class Client:
    """The caller of raw bytes, and what it is answered."""

    def __init__(self, body: bytes, room: int = 1 << 24) -> None:
        self.body = memoryview(body)
        self.arrived_s = asyncio.get_running_loop().time()
        self.on_gone: Any = None
        self.charged, self.room = 0, room

    @property
    def held(self) -> int:
        return self.charged

    def alive(self) -> bool:
        return True

    def charge(self, count: int) -> bool:
        self.charged += count
        return self.charged <= self.room


class Form:
    """A row of floats."""

    names = ("y",)
    timeout_us = 0.0

    def __init__(self, count: int) -> None:
        self.rows = self.elements = count


class Floats:
    """Renders the first output as bytes, and says how much that takes."""

    def weight(self, _form: Form, outputs: list[Array]) -> int:
        return 2 * outputs[0].nbytes

    def render(self, _form: Form, outputs: list[Array]) -> tuple[bytes, Pieces]:
        return b"raw ", [outputs[0].tobytes()]


class RawRequest:
    """A request of raw floats, as such a transport makes it."""

    def __init__(self, caller: Caller, timeout_s: float = 0.0) -> None:
        self.caller, self.timeout_s = caller, timeout_s
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def render(self, head: bytes, pieces: Pieces, _charged: int) -> bytes:
        return head + b"".join(pieces)

    def reply(self, answer: bytes) -> None:
        self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        self.answer.set_exception(error)


async def ask(made: Port, request: RawRequest) -> bytes:
    """All that such a transport has to do."""
    try:
        body = request.caller.body
        if len(body) % 4:
            raise InvalidInput("floats have four bytes")
        array = np.frombuffer(body, np.float32)
        made.plane.submit(request, made.plane.loaded().model, Form(array.size), {"x": array}, Floats())
    except CorefitError as error:
        made.plane.fail(request, error)
    return await asyncio.wait_for(request.answer, PATIENCE_S)


FLOATS = np.arange(6, dtype=np.float32)
MANY = np.zeros(1 << 19, np.float32)


async def test_it_is_answered_in_its_own_format_and_counted(tmp_path: Path) -> None:
    async with port(identity(tmp_path, TensorProto.FLOAT)) as made:
        assert await ask(made, RawRequest(Client(FLOATS.tobytes()))) == b"raw " + FLOATS.tobytes()
        assert (made.meter.arrivals, made.meter.admitted, made.meter.completed) == (1, 1, 1)


async def test_what_it_finds_wrong_itself_is_counted(tmp_path: Path) -> None:
    async with port(identity(tmp_path, TensorProto.FLOAT)) as made:
        with pytest.raises(InvalidInput, match="four bytes"):
            await ask(made, RawRequest(Client(b"123")))
        assert (made.meter.arrivals, made.meter.invalid) == (0, 1)


async def test_its_deadline_counts(tmp_path: Path) -> None:
    async with port(identity(tmp_path, TensorProto.FLOAT)) as made:
        with pytest.raises((DeadlineExceeded, Shed)):
            await ask(made, RawRequest(Client(FLOATS.tobytes()), timeout_s=1e-9))


async def test_its_answer_is_charged_by_what_its_renderer_says(tmp_path: Path) -> None:
    async with port(identity(tmp_path, TensorProto.FLOAT)) as made:
        client = Client(MANY.tobytes(), room=2 * MANY.nbytes)
        assert len(await ask(made, RawRequest(client))) == 4 + MANY.nbytes
        assert client.charged == 2 * MANY.nbytes
        with pytest.raises(Shed, match="no room for the answer"):
            await ask(made, RawRequest(Client(MANY.tobytes(), room=MANY.nbytes)))


async def test_without_a_model_it_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with port(identity(tmp_path, TensorProto.FLOAT)) as made:
        made.published.servable = None
        with pytest.raises(Shed, match="not loaded yet"):
            await ask(made, RawRequest(Client(FLOATS.tobytes())))
        assert made.meter.rejected["loading"] == 1


async def test_the_bench_of_http_fronts_asks_the_data_plane(tmp_path: Path, bench: Callable[[str], ModuleType]) -> None:
    """It made its requests of a class that has become a protocol, and ended with the first of them."""
    async with port(identity(tmp_path, TensorProto.FLOAT)) as made:
        length, pieces = await bench("runtime.front_server").answered(made.plane, numbers(3), None)
    assert length is None
    assert json.loads(b"".join(pieces))["outputs"][0]["data"] == [0, 0, 0]


def test_the_types_agree() -> None:
    """A reader finds here what a transport and its format have to have."""
    _: tuple[type[InferenceRequest], type[Renderer]] = (RawRequest, Floats)
