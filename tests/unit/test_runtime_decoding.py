"""What is parsed aside: it is answered whatever happens, and holds no more memory than there is."""

import asyncio
import gzip
import json
import threading
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from unit.port import PATIENCE_S, identity, numbers, port, request, status

from corefit_runtime.engine.onnxruntime import OnnxRuntimeEngine
from corefit_runtime.protocol import json_data
from corefit_runtime.protocol.codec import Codec
from corefit_runtime.tensors import datatypes


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> OnnxRuntimeEngine:
    return identity(tmp_path_factory.mktemp("floats"), TensorProto.FLOAT)


@pytest.fixture(scope="module")
def strings(tmp_path_factory: pytest.TempPathFactory) -> OnnxRuntimeEngine:
    return identity(tmp_path_factory.mktemp("strings"), TensorProto.STRING)


async def test_whatever_fails_aside_is_answered_and_holds_nothing(
    floats: OnnxRuntimeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answered what was raised after the parsing, and its body was charged for ever."""

    def submit(_job: object) -> None:
        raise OverflowError("int too large to convert to float")

    async with port(floats) as made:
        monkeypatch.setattr(made.pool, "submit", submit)
        assert status(await made.ask(request(numbers(100_000)))) == 500
        monkeypatch.undo()
        assert status(await made.ask(request(numbers(100_000)))) == 200


async def test_a_client_that_hangs_up_while_it_is_parsed_aside_gets_no_run(floats: OnnxRuntimeEngine) -> None:
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
        assert made.meter.admitted == made.meter.arrivals == 1


async def test_a_client_that_hangs_up_meanwhile_has_nothing_more_made_of_what_it_sent(
    floats: OnnxRuntimeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It isn't charged any more."""
    gate, begun = threading.Event(), threading.Event()

    def weight(_text: memoryview) -> int:
        begun.set()
        gate.wait(PATIENCE_S)
        return 0

    async with port(floats) as made:
        monkeypatch.setattr(json_data, "weight", weight)
        connection, wire = made.send(request(numbers(100_000)))
        assert await asyncio.to_thread(begun.wait, PATIENCE_S)
        connection.connection_lost(None)
        monkeypatch.undo()
        monkeypatch.setattr(Codec, "form", None)
        gate.set()
        async with made.offload.turn:
            assert not wire.sent
        assert made.server.memory.held == 0
        assert made.meter.arrivals == 0


async def test_what_a_body_expands_to_is_charged(floats: OnnxRuntimeEngine) -> None:
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
        assert made.meter.rejected["memory"] == 1


async def test_what_json_takes_when_it_is_decoded_is_charged(floats: OnnxRuntimeEngine) -> None:
    """`[0,0,...` takes 16 bytes for each of its own, so that one request of 64 MB took more than a pod has."""
    async with port(floats, memory=2 << 20) as made:
        answer = await made.ask(request(numbers(200_000)))
        assert status(answer) == 413
        assert b"--max-body-memory" in answer
    async with port(floats) as made:
        assert status(await made.ask(request(numbers(200_000)))) == 200
        assert status(await made.ask(request(numbers(200_000, [1])))) == 400


async def test_an_answer_that_never_fits_beside_its_request_is_too_large(floats: OnnxRuntimeEngine) -> None:
    """It got 503 and Retry-After for ever: only what would not fit without its request was too large."""
    async with port(floats, memory=1_700_000) as made:
        answer = await made.ask(request(numbers(60_000)))
        assert status(answer) == 413
        assert b"with its answer the request may take 18" in answer
        assert b"binary_data_output" in answer
    async with port(floats, memory=1_700_000) as made:
        made.server.memory.held = 800_000
        assert status(await made.ask(request(numbers(45_000)))) == 503, "there is no room for it now"


async def test_what_the_loaded_model_leaves_no_room_for_is_too_large(floats: OnnxRuntimeEngine) -> None:
    """It got 503 and Retry-After for ever: only what --max-body-memory never has room for was too large."""
    async with port(floats) as made:
        made.server.memory.limit = 2 << 20
        made.plane.bound_memory(2 << 20)
        assert status(await made.ask(request(numbers(200_000)))) == 413


@pytest.mark.parametrize("count", [100, 10_000])
async def test_many_strings_are_not_made_on_the_event_loop(
    strings: OnnxRuntimeEngine, monkeypatch: pytest.MonkeyPatch, count: int
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
