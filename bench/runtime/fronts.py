"""What an HTTP front costs: our own, aiohttp's and granian's over the same data plane, in CPU time a request.

A client asks one after the other, round by round: a neighbour that is there for a while is there for all of them. CPU
time is the kernel's (`/proc/PID/task/*/schedstat`), of all threads. Granian is left out where it isn't installed.
"""

import contextlib
import importlib.util
import itertools
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from bench.runtime.contenders import process
from bench.runtime.harness import Bench
from onnx import TensorProto, helper

ROUNDS: Final = 40
QUICK_ROUNDS: Final = 10
WARM: Final = 100
START_S: Final = 60.0
"""Of a process that imports onnxruntime."""


def _model(folder: Path) -> Path:
    """One whose run costs nearly nothing."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "m"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    path = folder / "m.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def _request(count: int, *, binary: bool) -> bytes:
    tensor: dict[str, object] = {"name": "x", "datatype": "FP32", "shape": [1, count]}
    data = np.ones((1, count), np.float32) / 8
    if binary:
        tensor["parameters"] = {"binary_data_size": data.nbytes}
    else:
        tensor["data"] = data.ravel().tolist()
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": binary}}).encode()
    length = b"Inference-Header-Content-Length: %d\r\n" % len(text) if binary else b""
    body = text + (data.tobytes() if binary else b"")
    return b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (length, len(body), body)


SIZES: Final = {
    "1 KB of JSON": (_request(180, binary=False), 300),
    "600 KB of binary data": (_request(150_528, binary=True), 50),
}
"""Requests, and how many are sent in a round."""


class Front:
    """A running front and a connection to it."""

    def __init__(self, pid: int, port: int) -> None:
        self._tasks = Path(f"/proc/{pid}/task")
        self._client = _connected(port)
        self._buffer = bytearray(2 << 20)

    def cpu_s(self) -> float:
        """Of all its threads so far."""
        return sum(int((task / "schedstat").read_text().split()[0]) for task in self._tasks.iterdir()) / 1e9

    def ask(self, request: bytes) -> None:
        """One request and its answer."""
        self._client.sendall(request)
        view, got, wanted = memoryview(self._buffer), 0, sys.maxsize
        while got < wanted:
            got += self._client.recv_into(view[got:])
            end = self._buffer.find(b"\r\n\r\n", 0, min(got, 4096))
            if end > 0 and wanted == sys.maxsize:
                head = bytes(self._buffer[:end]).lower()
                if b" 200 " not in head:
                    raise RuntimeError(head.decode())
                wanted = end + 4 + int(head.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])


def _connected(port: int) -> socket.socket:
    deadline = time.monotonic() + START_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # a foreign process: there is no event to wait for


@contextlib.contextmanager
def _started(name: str, model: Path) -> Iterator[Front]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "bench.runtime.front_server", name, "--model", str(model), "--port", str(port)]
    with process(argv, cpu=None) as running:
        yield Front(running.pid, port)


def measured(bench: Bench) -> None:
    """CPU time of a request of each size behind each front."""
    names = ["own", "aiohttp", *(["granian"] if importlib.util.find_spec("granian") else [])]
    rounds = QUICK_ROUNDS if bench.quick else ROUNDS
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        model = _model(Path(folder))
        fronts = {name: stack.enter_context(_started(name, model)) for name in names}
        for size, (request, count) in SIZES.items():
            spent = _spent(request, count, fronts, rounds)
            own = statistics.median(spent["own"])
            for name, seconds in spent.items():
                cpu_s = statistics.median(seconds)
                bench.found("fronts", f"{name}, {size}", 1e6 * cpu_s, "us of CPU a request", steady=True)
                if name != "own":
                    bench.found("fronts", f"{name} over own, {size}", cpu_s / own, "times", steady=True)


def _spent(request: bytes, count: int, fronts: dict[str, Front], rounds: int) -> dict[str, list[float]]:
    spent: dict[str, list[float]] = {name: [] for name in fronts}
    for front in fronts.values():
        for _ in range(WARM):
            front.ask(request)
    for _, (name, front) in itertools.product(range(rounds), fronts.items()):
        before = front.cpu_s()
        for _ in range(count):
            front.ask(request)
        spent[name].append((front.cpu_s() - before) / count)
    return spent
