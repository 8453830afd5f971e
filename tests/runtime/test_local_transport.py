"""The runtime beside an application: on a loopback address and a Unix socket, with the admin port elsewhere."""

import contextlib
import http.client
import json
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

ROW = [1.0, 2.0, 3.0, 4.0]
INFER = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": ROW}]}


class _ByPath(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(self._path)


def _infer(path: Path) -> list[float]:
    with contextlib.closing(_ByPath(path)) as connection:
        connection.request("POST", "/v2/models/m/infer", json.dumps(INFER))
        return list(json.loads(connection.getresponse().read())["outputs"][0]["data"])


def test_the_socket_gives_the_answers_that_the_port_gives_to_every_user(
    start: Any, negate: str, tmp_path: Path
) -> None:
    path = tmp_path / "runtime.sock"
    runtime = start("--socket", str(path), "--admin-host", "127.0.0.2", model=negate, wait="")
    runtime.wait(path.is_socket, "on its socket")
    runtime.wait(lambda: "ready after" in runtime.log.read_text(), "ready")
    assert _infer(path) == runtime.infer([ROW])[1]["outputs"][0]["data"] == [-v for v in ROW]
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    with contextlib.closing(http.client.HTTPConnection("127.0.0.2", runtime.admin, timeout=60)) as admin:
        admin.request("GET", "/report")
        assert json.loads(admin.getresponse().read())["counters"]["completed"] == 2
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", runtime.admin), timeout=60)


def test_a_killed_runtime_refuses_at_once_and_the_next_one_takes_its_socket(
    start: Any, negate: str, tmp_path: Path
) -> None:
    path = tmp_path / "runtime.sock"
    first = start("--socket", str(path), model=negate)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    assert path.is_socket()
    with pytest.raises(ConnectionRefusedError):
        _infer(path)
    start("--socket", str(path), model=negate)
    assert _infer(path) == [-v for v in ROW]


def test_a_file_that_is_no_socket_is_left_alone(start: Any, negate: str, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(AssertionError, match="the runtime ended"):
        start("--socket", str(path), model=negate)
    assert path.read_text() == "data"
