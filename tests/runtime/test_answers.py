"""An answer is the client's own, from the model that was checked, whatever else is served; on real processes."""

import contextlib
import hashlib
import http.client
import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from unit.test_runtime_model_files import external, weights

N, V = helper.make_node, helper.make_tensor_value_info
F, I = TensorProto.FLOAT, TensorProto.INT64  # noqa: E741 - onnx's own letters


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], **values: Any) -> str:
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initial)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


def infer(runtime: Any, *inputs: tuple[str, str, list[int], list[Any]]) -> tuple[int, dict[str, Any]]:
    tensors = [dict(zip(("name", "datatype", "shape", "data"), each, strict=True)) for each in inputs]
    status, body, _ = runtime.call("POST /v2/models/m/infer", {"inputs": tensors})
    return status, json.loads(body)


def filtering(folder: Path, width: int = 1024) -> str:
    """Leaves rows of zeros out, after some work that makes joining pay."""
    random = np.random.default_rng(0)
    nodes = [
        N("MatMul", ["x", "w1"], ["a"]),
        N("MatMul", ["a", "w2"], ["b"]),
        N("MatMul", ["b", "w3"], ["c"]),
        N("Add", ["x", "c"], ["d"]),
        N("Abs", ["x"], ["e"]),
        N("ReduceMax", ["e"], ["f"], axes=[1], keepdims=0),
        N("Greater", ["f", "zero"], ["g"]),
        N("Compress", ["d", "g"], ["y"], axis=0),
    ]
    made = {
        name: random.standard_normal(shape, np.float32) for name, shape in (("w1", (8, width)), ("w2", (width, width)))
    }
    return save(
        folder / "m.onnx",
        nodes,
        [V("x", F, ["n", 8])],
        [V("y", F, ["kept", 8])],
        **made,
        w3=np.zeros((width, 8), np.float32),
        zero=np.float32(0),
    )


@pytest.mark.parametrize("options", [(), ("--assume-rows-independent", "--batch-rows", "32")])
def test_rows_that_a_model_drops_shift_nobodys_answer(start: Any, tmp_path: Path, options: tuple[str, ...]) -> None:
    """141 of 320 answers were another client's, with status 200."""
    runtime = start("--cpus", "1", "--objective-ms", "60000", *options, model=filtering(tmp_path))
    wrong: list[Any] = []

    def client(k: int) -> None:
        for i in range(12):
            value = 0.0 if k % 2 == 0 else float(1000 * k + i + 1)
            status, body = infer(runtime, ("x", "FP32", [1, 8], [value] * 8))
            [out] = body["outputs"]
            if (status, out["shape"], out["data"]) != (200, *(([1, 8], [value] * 8) if value else ([0, 8], []))):
                wrong.append((k, value, out))

    threads = [threading.Thread(target=client, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert runtime.report()["plan"].get("batch_rows", 0) == 0


def test_weights_in_files_of_their_own_are_those_that_were_checked(start: Any, tmp_path: Path) -> None:
    """Half overwritten, two models answered as one; cut, the process ended with SIGBUS."""
    path = external(tmp_path / "model")
    runtime = start(model=str(path))
    before = runtime.report()["model"]["sha256"]
    first = infer(runtime, ("i", "INT64", [2], [5, 63]))[1]["outputs"][0]["data"]
    with (path.parent / "e.data").open("r+b") as file:
        file.write(weights(7.0))
    assert infer(runtime, ("i", "INT64", [2], [5, 63]))[1]["outputs"][0]["data"] == first == [1.0, 1.0]
    assert runtime.call("POST /reload", control=True)[0] == 200
    assert runtime.report()["model"]["sha256"] != before
    os.truncate(path.parent / "e.data", 10)
    assert infer(runtime, ("i", "INT64", [2], [5, 63]))[1]["outputs"][0]["data"] == [7.0, 7.0]
    pinned = start("--model-sha256", before, model=str(path), wait="listening")
    pinned.wait(lambda: pinned.report()["state"] == "Failed", "failed")
    assert pinned.report()["reason"] in {"ChecksumMismatch", "ModelUnavailable", "ModelInvalid"}


def test_other_weights_are_not_taken_under_a_checksum_of_the_models_file(start: Any, tmp_path: Path) -> None:
    path = external(tmp_path / "model")
    runtime = start("--model-sha256", hashlib.sha256(path.read_bytes()).hexdigest(), model=str(path))
    assert "covers all" in runtime.report()["notes"]["checksum"]
    (path.parent / "e.data").write_bytes(weights(7.0))
    status, body, _ = runtime.call("POST /reload", control=True)
    assert status == 500
    assert b"the model's weights changed under a pinned checksum" in body
    assert infer(runtime, ("i", "INT64", [1], [5]))[1]["outputs"][0]["data"] == [1.0]


def test_a_strict_checksum_of_the_models_file_alone_is_refused_with_the_one_to_use(start: Any, tmp_path: Path) -> None:
    path = external(tmp_path / "model")
    pinned = hashlib.sha256(path.read_bytes()).hexdigest()
    refused = start("--model-sha256", pinned, "--strict-checksum", model=str(path), wait="listening")
    refused.wait(lambda: refused.report()["state"] == "Failed", "failed")
    assert refused.report()["reason"] == "ChecksumMismatch"
    found = re.search(r"([0-9a-f]{64}) covers all files", refused.report()["message"])
    assert found is not None
    runtime = start("--model-sha256", found[1], "--strict-checksum", model=str(path))
    assert runtime.report()["model"]["sha256"] == found[1]


def lstm(folder: Path) -> str:
    """Its first state is cut from one of 32 rows: batches of 1 to 32."""
    random, size, width = np.random.default_rng(0), 8, 4
    nodes = [
        N("Shape", ["x"], ["s"]),
        N("Gather", ["s", "z"], ["n"]),
        N("Slice", ["h0", "z", "n", "one"], ["h"]),
        N("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        N("LSTM", ["xt", "W", "R", "", "", "h", "h"], ["Y", "Yh", ""], hidden_size=size),
        N("Squeeze", ["Yh", "z"], ["y"]),
    ]
    return save(
        folder / "m.onnx",
        nodes,
        [V("x", F, ["n", 5, width])],
        [V("y", F, ["n", size])],
        W=random.standard_normal((1, 4 * size, width)).astype(np.float32),
        R=random.standard_normal((1, 4 * size, size)).astype(np.float32),
        h0=np.zeros((1, 32, size), np.float32),
        z=np.array([0]),
        one=np.array([1]),
    )


def divided(folder: Path, op: str) -> str:
    value = {"inputs": [V("a", I, ["n"]), V("b", I, ["n"])], "outputs": [V("y", I, ["n"])]}
    return save(folder / "m.onnx", [N(op, ["a", "b"], ["y"])], **value)


TWO = (("a", "INT64", [1], [9]), ("b", "INT64", [1], [3]))


@pytest.mark.parametrize("case", ["Div", "Mod", "LSTM"])
def test_no_made_up_input_decides_whether_a_model_serves(start: Any, tmp_path: Path, case: str) -> None:
    """A divisor of zero, and more rows than the model takes, made it Failed with 'a fault in Corefit'."""
    model = lstm(tmp_path) if case == "LSTM" else divided(tmp_path, case)
    runtime = start(model=model)
    status, body = infer(runtime, *([("x", "FP32", [1, 5, 4], [1.0] * 20)] if case == "LSTM" else TWO))
    assert status == 200, body
    assert "fault in Corefit" not in runtime.log.read_text()


def test_a_model_is_measured_with_sample_inputs_or_by_what_requests_take(start: Any, tmp_path: Path) -> None:
    model = divided(tmp_path, "Div")
    names = ("name", "datatype", "shape", "data")
    samples = json.dumps([dict(zip(names, each, strict=True)) for each in TWO])
    runtime = start("--calibration-inputs", samples, model=model)
    assert runtime.report()["profile"]
    wrong = start("--calibration-inputs", samples.replace("INT64", "FP32"), model=model)
    assert "the model takes INT64, and the request says FP32" in wrong.report()["notes"]["calibration"]
    runtime = start("--no-calibrate", "--no-warm-up", model=model)
    assert runtime.report()["notes"]["rows"] == "not measured: warming up is off"
    assert not runtime.report().get("profile")

    def measured() -> bool:
        assert infer(runtime, *TWO)[0] == 200
        return bool(runtime.report().get("profile"))

    runtime.wait(measured, "measured by requests")
    assert "assumed" not in runtime.report()["plan"]["why"]


def test_a_run_whose_length_depends_on_a_value_holds_nobody_else(start: Any, tmp_path: Path) -> None:
    """Runs of 50 us taught it that such may stay on the event loop; the next took 5 s, and /livez did not answer."""
    body = helper.make_graph(
        [N("Identity", ["c"], ["c2"]), N("Add", ["s", "one"], ["s2"])],
        "b",
        [V("i", I, []), V("c", TensorProto.BOOL, []), V("s", F, [1])],
        [V("c2", TensorProto.BOOL, []), V("s2", F, [1])],
        [numpy_helper.from_array(np.array([1], np.float32), "one")],
    )
    nodes = [N("Reshape", ["n", "none"], ["k"]), N("Loop", ["k", "t", "zero"], ["y"], body=body)]
    path = save(
        tmp_path / "m.onnx",
        nodes,
        [V("n", I, [1])],
        [V("y", F, [1])],
        t=np.array(True),
        zero=np.array([0], np.float32),
        none=np.array([], np.int64),
    )
    runtime = start("--cpus", "2", "--objective-ms", "60000", model=path)
    for _ in range(30):
        infer(runtime, ("n", "INT64", [1], [1]))

    def endless() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            infer(runtime, ("n", "INT64", [1], [2**40]))

    thread = threading.Thread(target=endless)
    thread.start()
    try:
        runtime.wait(lambda: runtime.report()["gauges"].get("busy_workers") == 1, "running")
        assert runtime.call("GET /livez", admin=True)[0] == 200
        assert infer(runtime, ("n", "INT64", [1], [1]))[0] == 200
        assert thread.is_alive(), "both were answered while the endless one ran"
    finally:
        runtime.process.kill()
        thread.join()
