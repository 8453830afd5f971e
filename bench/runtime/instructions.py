"""Instructions that a small request takes in the runtime, by valgrind: a figure that no neighbour disturbs.

    python bench/runtime/instructions.py [TREE...] [--requests 150] [--rounds 3]

TREE is a checkout, or a folder with `core/src` and `runtime/src` of another commit (`git archive COMMIT core runtime`);
this one without any. Each request is a row of the digits model, one after the other over one connection, in JSON and
as binary data. Work that goes on without requests is measured by itself and subtracted. Needs valgrind. Rounds differ
by about 0.5 %. All requests go through a worker: under callgrind no run is short enough for the event loop.
"""

import argparse
import contextlib
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from corefit.demo.predictions import known_rows, payload

ROOT: Final = Path(__file__).parents[2]
WARM_UP: Final = 300
"""Requests before the first that is counted: by then all that is made once is there."""
IDLE_S: Final = 8.0
START_S: Final = 300.0
TOTAL: Final = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


class Client:
    """One connection, and one request that it sends again and again."""

    def __init__(self, port: int, head: str, body: bytes) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=START_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first = f"POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\n{head}Content-Length: {len(body)}\r\n\r\n"
        self._request = first.encode() + body

    def ask(self, count: int) -> float:
        """Sends it so many times, each after the answer to the one before; returns the seconds that this took."""
        begun = time.monotonic()
        for _ in range(count):
            self._socket.sendall(self._request)
            self._read()
        return time.monotonic() - begun

    def _read(self) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._socket.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        missing = int(length[1]) - len(body)
        while missing:
            missing -= len(self._socket.recv(missing))


def main() -> int:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description="instructions that the runtime takes for a small request")
    parser.add_argument("trees", nargs="*", type=Path, default=[ROOT], help="checkouts that are compared (this one)")
    parser.add_argument("--requests", type=int, default=150, help="of a round (150)")
    parser.add_argument("--rounds", type=int, default=3, help="of each kind of request (3)")
    arguments = parser.parse_args()
    table = Table(title="instructions a request", title_justify="left")
    for heading in ("tree", "request", *(f"round {n + 1}" for n in range(arguments.rounds)), "over the first"):
        table.add_column(heading, justify="right")
    first: dict[str, float] = {}
    for tree in arguments.trees:
        for kind, found in _measured(tree, arguments.requests, arguments.rounds).items():
            middle = sorted(found)[len(found) // 2]
            ratio = middle / first.setdefault(kind, middle)
            table.add_row(str(tree), kind, *(f"{each:,.0f}" for each in found), f"{ratio:.3f}")
    Console().print(table)
    return 0


def _measured(tree: Path, requests: int, rounds: int) -> dict[str, list[float]]:
    with _runtime(tree) as runtime:
        kinds = {"JSON": Client(runtime.port, *_json()), "binary": Client(runtime.port, *_binary())}
        for client in kinds.values():
            client.ask(WARM_UP)
        idle = runtime.count(lambda: time.sleep(IDLE_S))
        found: dict[str, list[float]] = {kind: [] for kind in kinds}
        for kind, client in kinds.items():
            for _ in range(rounds):
                counted = runtime.count(lambda client=client: client.ask(requests))  # type: ignore[misc]
                found[kind].append((counted.instructions - idle.a_second * counted.seconds) / requests)
        return found


class Counted(msgspec.Struct, frozen=True):
    """Instructions, and the seconds in which they were counted."""

    instructions: int
    seconds: float

    @property
    def a_second(self) -> float:
        """Instructions a second."""
        return self.instructions / self.seconds


class Runtime:
    """A runtime under callgrind."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: Path, port: int) -> None:
        self._process = process
        self._folder = folder
        self.port = port

    def count(self, work: Any) -> Counted:
        """What it takes while this is done."""
        self._control("--instr=on")
        self._control("--zero")
        begun = time.monotonic()
        work()
        self._control("--dump")
        seconds = time.monotonic() - begun
        self._control("--instr=off")
        [dump] = [file for file in self._folder.glob("out.*") if file.stat().st_size]
        total = TOTAL.search(dump.read_text())
        assert total is not None
        dump.unlink()
        return Counted(int(total[1]), seconds)

    def _control(self, order: str) -> None:
        command = ["callgrind_control", order, str(self._process.pid)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def _runtime(tree: Path) -> Iterator[Runtime]:
    port, admin = _free(), _free()
    with tempfile.TemporaryDirectory(prefix="corefit-bench-") as made:
        folder = Path(made)
        paths = os.pathsep.join(str(tree / part / "src") for part in ("core", "runtime"))
        environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "0"}
        with subprocess.Popen(_command(folder, port, admin), env=environment) as process:
            try:
                _await(port, process)
                yield Runtime(process, folder, port)
            finally:
                process.terminate()


def _command(folder: Path, port: int, admin: int) -> Sequence[str]:
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--fair-sched=yes", "--quiet"]
    model = ["--model", str(ROOT / "examples/digits/model.onnx"), "--name", "digits", "--host", "127.0.0.1"]
    ports = ["--port", str(port), "--admin-port", str(admin), "--log-level", "warning"]
    plan = ["--cpus", "1", "--no-calibrate", "--no-warm-up"]
    program = [sys.executable, "-m", "corefit_runtime", *model, *ports, *plan]
    return [*valgrind, f"--callgrind-out-file={folder}/out.%p", *program]


def _free() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _await(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Until the inference port is open: the model is served then."""
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"GET /v2/health/ready HTTP/1.0\r\n\r\n")
            if sock.recv(65536).startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.5)
    raise TimeoutError("the runtime is not ready")


def _json() -> tuple[str, bytes]:
    known = known_rows(ROOT / "examples/digits/rows.json")
    return "Content-Type: application/json\r\n", msgspec.json.encode(payload(known["input"], known["rows"][:1]))


def _binary() -> tuple[str, bytes]:
    known = known_rows(ROOT / "examples/digits/rows.json")
    row = known["rows"][0]
    data = struct.pack(f"<{len(row)}f", *row)
    said = {"name": known["input"], "datatype": "FP32", "shape": [1, len(row)]}
    tensor = {**said, "parameters": {"binary_data_size": len(data)}}
    text = msgspec.json.encode({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    return f"Inference-Header-Content-Length: {len(text)}\r\n", text + data


if __name__ == "__main__":
    sys.exit(main())
