"""The whole runtime as a process, from outside."""

import contextlib
import gzip
import json
import re
import shutil
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unit.sites import served

from corefit_core import report
from corefit_runtime.models import store

ROW = [1.0, 2.0, 3.0, 4.0]
SLOW_ROW = np.zeros((1, 810_000), np.float32)


def binary(array: np.ndarray[Any, Any], **more: Any) -> tuple[bytes, dict[str, str]]:
    """A request with the binary extension: body and headers."""
    data = array.astype(np.float32).tobytes()
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": list(array.shape),
        "parameters": {"binary_data_size": len(data)},
    }
    head = json.dumps({"inputs": [tensor], **more}).encode()
    return head + data, {"Inference-Header-Content-Length": str(len(head))}


def idle(runtime: Any) -> bool:
    """Nothing waits, nothing runs, and nobody would have to wait."""
    return report.decode(runtime.call("GET /report", admin=True)[1]).gauges == report.Gauges()


def test_it_serves_the_protocol(start: Any, negate: str) -> None:
    runtime = start(model=negate)
    assert runtime.call("GET /v2/health/live")[0] == 200
    assert runtime.call("GET /v2/health/ready")[0] == 200
    assert runtime.call("GET /v2/models/m/versions/1/ready")[0] == 200
    assert json.loads(runtime.call("GET /v2")[1])["extensions"] == [
        "binary_tensor_data",
        "classification",
        "model_configuration",
    ]
    metadata = json.loads(runtime.call("GET /v2/models/m")[1])
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    status, answer, _ = runtime.infer([ROW], id="seven")
    assert status == 200
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("seven", "m", "1")
    assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [-v for v in ROW]}]


def test_binary_and_compressed_bodies(start: Any, negate: str) -> None:
    runtime = start(model=negate)
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    body, headers = binary(x, parameters={"binary_data_output": True})
    zipped, gzip_headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
    for sent, head in ((body, headers), (zipped, gzip_headers)):
        status, answer, got = runtime.call("POST /v2/models/m/infer", sent, head)
        assert status == 200
        data = answer[int(got["inference-header-content-length"]) :]
        assert np.array_equal(np.frombuffer(data, np.float32).reshape(3, 4), -x)
    big = [[float(i)] * 4 for i in range(500)]
    plain = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [500, 4], "data": big}]}
    status, answer, got = runtime.call("POST /v2/models/m/infer", plain, {"Accept-Encoding": "gzip"})
    assert (status, got["content-encoding"]) == (200, "gzip")
    assert len(json.loads(gzip.decompress(answer))["outputs"][0]["data"]) == 2000


def test_tritons_client_is_served(start: Any, negate: str) -> None:
    client_module = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    runtime = start(model=negate)
    client = client_module.InferenceServerClient(f"127.0.0.1:{runtime.port}")
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    for as_binary in (True, False):
        tensor = client_module.InferInput("x", x.shape, "FP32")
        tensor.set_data_from_numpy(x, binary_data=as_binary)
        wanted = client_module.InferRequestedOutput("y", binary_data=as_binary)
        answer = client.infer("m", [tensor], outputs=[wanted], request_id="1", timeout=30_000_000)
        assert np.array_equal(answer.as_numpy("y"), -x)
    assert client.is_server_ready()
    assert client.get_model_metadata("m")["name"] == "m"
    client.close()


@pytest.mark.parametrize(
    ("request_line", "body", "status"),
    [
        ("POST /v2/models/other/infer", b"{}", 404),
        ("POST /v2/models/m/versions/9/infer", b"{}", 404),
        ("GET /v2/models/other", None, 404),
        ("GET /nothing", None, 404),
        ("POST /v2/models/m", b"", 405),
        ("POST /v2/models/m/infer", b"{", 400),
        ("POST /v2/models/m/infer", b"", 400),
        ("POST /v2/models/m/infer", b'{"inputs": []}', 400),
    ],
)
def test_errors_are_the_protocols(start: Any, negate: str, request_line: str, body: bytes, status: int) -> None:
    runtime = start("--no-calibrate", model=negate)
    got, answer, _ = runtime.call(request_line, body)
    assert got == status
    assert json.loads(answer)["error"]


def raw(port: int, data: bytes, *, half: bool = False) -> bytes:
    """What comes back for these bytes, until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(data)
        if half:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def test_hostile_clients_are_refused_and_the_server_lives_on(start: Any, negate: str) -> None:
    options = ("--max-body", "1Ki", "--max-header", "512", "--no-calibrate")
    runtime = start(*options, model=negate)
    # Of its own: a test without CPU might be cut off elsewhere, too.
    hasty = start(*options, "--header-timeout", "0.3", "--body-timeout", "0.3", model=negate)
    post = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\n"
    zeros = gzip.compress(bytes(1_000_000))
    bomb = post + b"Content-Encoding: gzip\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(zeros) + zeros
    for data, status in (
        (b"rubbish\r\n\r\n", b"400"),
        (post + b"X: " + b"a" * 600 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000, b"431"),
        (post + b"Content-Length: 2000\r\n\r\n", b"413"),
        (post + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (post + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (post + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n" + b"a" * 4095, b"413"),
        (post + b"Content-Length: 100\r\n\r\nab", b"408"),
        (post + b"Host:", b"408"),
        (bomb, b"413"),
        (b"", b""),
    ):
        answer = raw((hasty if status in (b"408", b"") else runtime).port, data)
        assert answer.split(b" ", 2)[1:2] == ([status] if status else []), (data[:80], answer[:200])
    assert runtime.infer([ROW])[0] == 200
    runtime.wait(lambda: idle(runtime), "idle")


def test_requests_may_be_pipelined_chunked_and_asked_to_continue(start: Any, negate: str) -> None:
    runtime = start("--no-calibrate", model=negate)
    get = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n"
    assert raw(runtime.port, get + b"\r\n" + get + b"\r\n" + get + b"Connection: close\r\n\r\n").count(b"200 OK") == 3
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": ROW}
    body = json.dumps({"inputs": [tensor]}).encode()
    post = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\n"
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:9], body[9:])) + b"0\r\n\r\n"
    assert b"-4.0" in raw(runtime.port, post + b"Transfer-Encoding: chunked\r\n\r\n" + pieces)
    expect = post + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    assert raw(runtime.port, expect).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_overload_is_answered_at_once_and_a_passed_deadline_too(start: Any, slow: str) -> None:
    runtime = start("--cpus", "1", "--objective-ms", "150", "--no-calibrate", model=slow)
    body, headers = binary(SLOW_ROW, outputs=[{"name": "y", "parameters": {"binary_data": True}}])

    def one(_: int) -> tuple[int, dict[str, str]]:
        status, _body, got = runtime.call("POST /v2/models/m/infer", body, headers)
        return status, got

    with ThreadPoolExecutor(24) as clients:
        answers = list(clients.map(one, range(48)))
    assert {status for status, _ in answers} <= {200, 503}
    assert any(status == 200 for status, _ in answers)
    refused = [got for status, got in answers if status == 503]
    assert refused
    assert all(int(got["retry-after"]) >= 1 for got in refused)
    counters = report.decode(runtime.call("GET /report", admin=True)[1]).counters
    assert counters.arrivals == counters.admitted + counters.rejected_total == 48
    assert counters.completed == counters.admitted


def test_a_client_that_hangs_up_frees_its_place(start: Any, slower: str) -> None:
    runtime = start("--cpus", "1", "--objective-ms", "600000", "--no-calibrate", model=slower)
    body, headers = binary(SLOW_ROW)
    lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    head = f"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode()
    clients = [socket.create_connection(("127.0.0.1", runtime.port)) for _ in range(12)]
    for client in clients:
        client.sendall(head + body)
    runtime.wait(lambda: runtime.report()["counters"].get("admitted") == len(clients), "all admitted")
    for client in clients:
        # With SO_LINGER 0 the close is a reset: the client is gone, not merely done sending.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    runtime.wait(lambda: idle(runtime), "empty")
    counters = report.decode(runtime.call("GET /report", admin=True)[1]).counters
    assert counters.cancelled > 0
    assert counters.cancelled + counters.completed == counters.admitted


def test_chunks_give_the_answer_of_the_whole(start: Any, negate: str) -> None:
    runtime = start("--chunk-rows", "7", model=negate)
    x = np.arange(400, dtype=np.float32).reshape(100, 4)
    body, headers = binary(x, parameters={"binary_data_output": True})
    status, answer, got = runtime.call("POST /v2/models/m/infer", body, headers)
    assert status == 200
    data = np.frombuffer(answer[int(got["inference-header-content-length"]) :], np.float32)
    assert np.array_equal(data.reshape(100, 4), -x)


def test_coupled_rows_are_found_and_neither_cut_nor_joined(start: Any, coupled: str) -> None:
    runtime = start(model=coupled)
    told = runtime.report()
    assert told["notes"]["rows"] == "the graph may mix the rows of y"
    assert told["plan"].get("chunk_rows", 0) == told["plan"].get("batch_rows", 0) == 0


def test_sigterm_finishes_what_is_held_and_ends_with_zero(start: Any, slower: str) -> None:
    options = ("--cpus", "1", "--objective-ms", "600000", "--drain-seconds", "1", "--grace-seconds", "600")
    runtime = start(*options, "--no-calibrate", model=slower)
    body, headers = binary(SLOW_ROW)
    with ThreadPoolExecutor(6) as clients:
        answers = [clients.submit(runtime.call, "POST /v2/models/m/infer", body, headers) for _ in range(6)]
        runtime.wait(lambda: runtime.report()["counters"].get("admitted") == len(answers), "all admitted")
        runtime.process.send_signal(signal.SIGTERM)
        runtime.wait(lambda: not runtime.ready(), "draining")
        assert runtime.call("GET /livez", admin=True)[0] == 200
        assert runtime.report()["state"] == "Draining"
        assert [answer.result()[0] for answer in answers] == [200] * 6
    assert runtime.ended() == 0


def test_a_second_sigterm_ends_it_at_once(start: Any, negate: str) -> None:
    runtime = start("--drain-seconds", "3600", "--grace-seconds", "7200", "--no-calibrate", model=negate)
    runtime.process.send_signal(signal.SIGTERM)
    runtime.wait(lambda: not runtime.ready(), "draining")
    assert runtime.infer([ROW])[0] == 200
    runtime.process.send_signal(signal.SIGTERM)
    assert runtime.ended() == 128 + signal.SIGTERM


def test_connections_and_the_memory_for_bodies_are_bounded(start: Any, negate: str) -> None:
    options = ("--max-connections", "2", "--max-body", "8Ki", "--max-body-memory", "10Ki", "--no-calibrate")
    runtime = start(*options, "--header-timeout", "600", "--body-timeout", "600", model=negate)
    half = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 8000\r\n\r\n"
    first = socket.create_connection(("127.0.0.1", runtime.port))
    first.sendall(half)
    second = raw(runtime.port, half)
    assert second.split(b" ", 2)[1] == b"503"
    assert b"--max-body-memory" in second
    other = socket.create_connection(("127.0.0.1", runtime.port))
    other.sendall(half[:30])
    third = raw(runtime.port, b"")
    assert third.split(b" ", 2)[1] == b"503"
    assert b"--max-connections" in third
    assert runtime.report()["counters"]["rejected"] == {"memory": 1, "connections": 1}
    first.close()
    other.close()


@pytest.mark.parametrize(("content", "reason"), [(None, "ModelUnavailable"), (b"not a model", "ModelInvalid")])
def test_a_model_that_cannot_be_served_is_reported(
    start: Any, tmp_path: Path, negate: str, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "given.onnx"
    if content is not None:
        path.write_bytes(content)
    runtime = start(model=str(path), wait="listening")
    runtime.wait(lambda: runtime.report()["state"] == "Failed", "failed")
    told = runtime.report()
    assert told["reason"] == reason
    assert "given.onnx" in told["message"]
    assert not runtime.ready()
    assert runtime.infer([ROW])[0] == 503
    shutil.copy(negate, path)  # Put right, it comes into service by itself.
    runtime.wait(runtime.ready, "ready")
    assert runtime.infer([ROW])[0] == 200


def test_a_model_from_nowhere_does_not_end_the_process(start: Any) -> None:
    runtime = start(model="http://127.0.0.1:80a/m.onnx", wait="listening")
    runtime.wait(lambda: runtime.report()["state"] == "Failed", "failed")
    assert runtime.report()["reason"] == "ModelUnavailable"
    assert runtime.stop() == 0


def test_sigterm_ends_a_start_that_would_take_for_ever(start: Any) -> None:
    """A download in a thread, of which a byte comes now and then: it can't be cancelled, and nothing waits for it."""
    asked, stop = threading.Event(), threading.Event()

    def trickle() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            asked.set()
            while not stop.wait(0.5):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=trickle, daemon=True).start()
        model = f"http://127.0.0.1:{listener.getsockname()[1]}/m.onnx"
        runtime = start("--drain-seconds", "3600", "--grace-seconds", "7200", model=model, wait="listening")
        runtime.wait(asked.is_set, "downloading")
        try:
            assert runtime.stop() == 0
        finally:
            stop.set()


def test_a_wrong_checksum_is_reported(start: Any, negate: str) -> None:
    runtime = start("--model-sha256", "0" * 64, model=negate, wait="listening")
    runtime.wait(lambda: runtime.report()["state"] == "Failed", "failed")
    assert runtime.report()["reason"] == "ChecksumMismatch"


def test_a_changed_model_is_taken_and_a_broken_one_is_not(
    start: Any, tmp_path: Path, negate: str, coupled: str
) -> None:
    path = tmp_path / "served.onnx"
    shutil.copy(negate, path)
    runtime = start("--no-calibrate", model=str(path))
    path.write_bytes(b"broken")
    status, answer, _ = runtime.call("POST /reload", control=True)
    assert status == 500
    assert b"served.onnx" in answer
    assert runtime.infer([ROW])[1]["outputs"][0]["data"] == [-v for v in ROW]
    assert "ModelInvalid" in runtime.report()["notes"]["reload"]
    shutil.copy(coupled, path)
    assert runtime.call("POST /reload", control=True)[0] == 200
    assert runtime.infer([ROW])[1]["outputs"][0]["data"] == [0.0] * 4


def test_metrics_and_report_agree(start: Any, negate: str) -> None:
    runtime = start("--no-calibrate", model=negate)
    for _ in range(3):
        runtime.infer([ROW])
    text = runtime.call("GET /metrics", admin=True)[1].decode()
    assert 'corefit_requests_completed_total{model="m"} 3.0' in text
    assert 'corefit_request_seconds_count{model="m"} 3.0' in text

    def lag_was_seen() -> bool:
        told = runtime.call("GET /metrics", admin=True)[1].decode()
        return re.search(r"^corefit_event_loop_lag_seconds_count [1-9]", told, re.MULTILINE) is not None

    runtime.wait(lag_was_seen, "measured")
    assert runtime.report()["counters"]["completed"] == 3


@pytest.fixture
def files(tmp_path: Path) -> Any:
    """A web server over a folder, on a port of its own."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = partial(QuietHandler, directory=str(folder))
    with served(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as origin:
        yield folder, origin


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: the test's output is for failures."""


def test_a_model_comes_over_http(start: Any, files: Any, negate: str) -> None:
    folder, base = files
    shutil.copy(negate, folder / "m.onnx")
    runtime = start("--no-calibrate", "--model-sha256", store.digest(Path(negate)), model=f"{base}/m.onnx")
    assert runtime.infer([ROW])[0] == 200


@contextlib.contextmanager
def meanwhile(ask: Callable[[], None]) -> Iterator[None]:
    """One request after the other while the block runs, the first of which has been answered."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            ask()

    ask()
    with ThreadPoolExecutor(1) as aside:
        going = aside.submit(go_on)
        try:
            yield
        finally:
            stop.set()
        going.result()


def test_debugging_is_off_unless_switched_on(start: Any, negate: str) -> None:
    assert start("--no-calibrate", model=negate).call("GET /debug/sched", control=True)[0] == 404
    runtime = start("--no-calibrate", "--debug", model=negate)
    status, body, _ = runtime.call("GET /debug/sched", control=True)
    assert status == 200
    assert all(thread["cpu_seconds"] >= 0 for thread in json.loads(body)["threads"])
    assert runtime.call("GET /debug/pprof/profile?seconds=none", control=True)[0] == 400


def test_a_profile_shows_the_model_down_to_onnxruntime(start: Any, slow: str) -> None:
    runtime = start("--no-calibrate", "--debug", "--objective-ms", "60000", model=slow)
    body, headers = binary(SLOW_ROW)

    def ask() -> None:
        assert runtime.call("POST /v2/models/m/infer", body, headers)[0] == 200

    with meanwhile(ask):
        status, answer, _ = runtime.call("GET /debug/pprof/profile?seconds=2", control=True)
    assert status == 200, answer
    profile = json.loads(answer)
    assert profile["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    frames = profile["shared"]["frames"]
    workers = [p for p in profile["profiles"] if "corefit-worker" in p["name"]]
    stacks = [[frames[index]["file"] or "" for index in sample] for worker in workers for sample in worker["samples"]]
    runs = [files for files in stacks if any(file.endswith("corefit_runtime/engine/onnxruntime.py") for file in files)]
    assert any("onnxruntime_pybind11_state" in file for files in runs for file in files)


def test_the_time_of_each_operator_is_traced_while_requests_are_answered(start: Any, negate: str) -> None:
    runtime = start("--no-calibrate", "--debug", model=negate)

    def ask() -> None:
        status, answer, _ = runtime.infer([ROW])
        assert (status, answer["outputs"][0]["data"]) == (200, [-v for v in ROW])

    with meanwhile(ask):
        status, body, _ = runtime.call("GET /debug/ort?seconds=3", control=True)
    assert status == 200
    operators = [event for event in json.loads(body) if event.get("args", {}).get("op_name") == "Neg"]
    assert len(operators) > 1  # More than the run that warmed the session.
    assert runtime.infer([ROW])[0] == 200
    assert runtime.call("GET /debug/ort?seconds=0", control=True)[0] == 400


def test_a_watched_file_is_taken_when_it_changes(start: Any, tmp_path: Path, negate: str, coupled: str) -> None:
    path = tmp_path / "watched.onnx"
    shutil.copy(negate, path)
    runtime = start("--no-calibrate", "--watch-model", model=str(path))
    shutil.copy(coupled, tmp_path / "next.onnx")
    (tmp_path / "next.onnx").replace(path)
    runtime.wait(lambda: runtime.infer([ROW])[1]["outputs"][0]["data"] == [0.0] * 4, "reloaded")


@pytest.mark.parametrize("batch_rows", ["off", "64"])
def test_the_plan_gives_reasons_for_the_queue_that_is_in_force(start: Any, negate: str, batch_rows: str) -> None:
    """It spoke of 2,075 requests where joined rows had made 6,606 of them."""
    plan = start("--batch-rows", batch_rows, model=negate).report()["plan"]
    assert re.findall(r"At most (\d+) request", plan["why"]) == [str(plan["queue_depth"])]
    assert (plan.get("batch_rows", 0) > 1) == ("rows in one run" in plan["why"])
