"""A real `corefit-runtime` process on ports of its own, and small models made here."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

PATIENCE_S = 300.0
"""Seconds; a start takes one or two of CPU, of which neighbours may leave a tenth."""


@dataclass
class Runtime:
    process: subprocess.Popen[bytes]
    log: Path
    port: int = 0
    admin: int = 0
    control: int = 0

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, f"the runtime ended: {self.log.read_text()}"
            assert time.monotonic() < until, f"not {what} in time: {self.log.read_text()}"
            time.sleep(0.02)

    def found_port(self, kind: str) -> int:
        match = re.search(rf"{kind} port (\d+)", self.log.read_text())
        return int(match[1]) if match else 0

    def call(
        self,
        request_line: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        admin: bool = False,
        control: bool = False,
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.control if control else self.admin if admin else self.port, timeout=PATIENCE_S
        )
        method, path = request_line.split()
        with contextlib.closing(connection):
            method, path = request_line.split()
            connection.request(
                method, path, body if isinstance(body, bytes | None) else json.dumps(body), headers or {}
            )
            response = connection.getresponse()
            return response.status, response.read(), {k.lower(): v for k, v in response.getheaders()}

    def ready(self) -> bool:
        return self.call("GET /readyz", admin=True)[0] == 200

    def report(self) -> dict[str, Any]:
        return dict(json.loads(self.call("GET /report", admin=True)[1]))

    def infer(self, rows: list[list[float]], **more: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
        flat = [v for row in rows for v in row]
        tensor = {"name": "x", "datatype": "FP32", "shape": [len(rows), len(rows[0])], "data": flat}
        status, body, headers = self.call("POST /v2/models/m/infer", {"inputs": [tensor], **more})
        return status, json.loads(body), headers

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        return self.process.wait(PATIENCE_S)


Start = Callable[..., Runtime]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts runtimes; ends them with the test."""
    running: list[Runtime] = []

    def begin(*options: str, model: str, wait: str = "ready", inside: tuple[str, ...] = ()) -> Runtime:
        """Starts one, by the command `inside` where it is to be in a certain place from its first instruction on."""
        log = tmp_path / f"runtime{len(running)}.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [
                    *inside,
                    *(sys.executable, "-m", "corefit_runtime", "--model", model, "--name", "m"),
                    *("--host", "127.0.0.1", "--port", "0", "--admin-port", "0", "--drain-seconds", "0"),
                    *("--model-dir", str(tmp_path / "cache"), *options),
                ],
                stderr=sink,
                env={**os.environ, "COREFIT_MODEL": ""},
            )
        runtime = Runtime(process, log)
        running.append(runtime)
        runtime.wait(lambda: runtime.found_port("admin") > 0, "listening")
        runtime.wait(lambda: runtime.found_port("control") > 0, "listening")
        runtime.admin, runtime.control = runtime.found_port("admin"), runtime.found_port("control")
        runtime.wait(lambda: runtime.found_port("inference") > 0, "listening")
        runtime.port = runtime.found_port("inference")
        if wait == "ready":
            runtime.wait(runtime.ready, "ready")
        return runtime

    yield begin
    for runtime in running:
        runtime.process.kill()
        runtime.process.wait()


def save(path: Path, nodes: list[Any], *, width: int | None = 4, kind: int = TensorProto.FLOAT) -> str:
    """A model from x to y, both with a free leading dimension."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, ["n", width])],
        [helper.make_tensor_value_info("y", kind, ["n", width])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return str(path)


@pytest.fixture
def negate(tmp_path: Path) -> str:
    """y = -x."""
    return save(tmp_path / "negate.onnx", [helper.make_node("Neg", ["x"], ["y"])])


@pytest.fixture
def coupled(tmp_path: Path) -> str:
    """y = x - max over the batch: the rows know of each other."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["y"]),
    ]
    return save(tmp_path / "coupled.onnx", nodes)


@pytest.fixture
def slow(tmp_path: Path) -> str:
    """Some tens of milliseconds a row."""
    return _products(tmp_path / "slow.onnx", 4)


@pytest.fixture
def slower(tmp_path: Path) -> str:
    """A second or two a row: what is seen while a request is held holds for long enough to be seen."""
    return _products(tmp_path / "slower.onnx", 60)


def _products(path: Path, count: int) -> str:
    """A chain of matrix products on rows of 900 x 900."""
    shape = helper.make_tensor("s", TensorProto.INT64, [3], [-1, 900, 900])
    back = helper.make_tensor("b", TensorProto.INT64, [2], [-1, 810_000])
    nodes = [helper.make_node("Reshape", ["x", "s"], ["t0"])]
    nodes += [helper.make_node("MatMul", [f"t{i}", f"t{i}"], [f"t{i + 1}"]) for i in range(count)]
    nodes += [helper.make_node("Reshape", [f"t{count}", "b"], ["r"]), helper.make_node("Clip", ["r"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 810_000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 810_000])],
        initializer=[shape, back],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return str(path)
