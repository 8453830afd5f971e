"""Models from disks and web servers: whole or not at all."""

import hashlib
import io
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from unit.sites import served

from corefit_core.errors import ChecksumMismatch, ConfigError, ModelUnavailable
from corefit_runtime.models import store
from corefit_runtime.models.access import Access

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Web:
    """A server that can break off, and counts what it was asked for."""

    def __init__(self) -> None:
        self.break_at: int | None = None
        self.ranges: list[str | None] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                web.ranges.append(wanted)
                if self.path != "/m.onnx":
                    self.send_error(404)
                    return
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                if start >= len(CONTENT):
                    self.send_error(416)
                    return
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(CONTENT) - start))
                self.end_headers()
                self.wfile.write(CONTENT[start : web.break_at])

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_port}/m.onnx"


@pytest.fixture
def web() -> Iterator[Web]:
    made = Web()
    with served(made.server):
        yield made


def test_a_file_is_used_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a model.onnx"
    path.write_bytes(CONTENT)
    for uri in (str(path), path.as_uri()):
        assert store.fetch(uri, "", tmp_path) == store.StoredModel(path=path, sha256=DIGEST)
    assert store.fetch(str(path), DIGEST.upper(), tmp_path).sha256 == DIGEST
    with pytest.raises(ChecksumMismatch, match="fix the file or the checksum"):
        store.fetch(str(path), "0" * 64, tmp_path)


def test_what_is_not_there_is_unavailable(tmp_path: Path, web: Web) -> None:
    with pytest.raises(ModelUnavailable, match="No such file"):
        store.fetch(str(tmp_path / "none.onnx"), "", tmp_path)
    with pytest.raises(ModelUnavailable, match="404"):
        store.fetch(web.uri + "x", "", tmp_path)
    with pytest.raises(ModelUnavailable, match="refused"):
        store.fetch("http://127.0.0.1:1/m.onnx", "", tmp_path)
    with pytest.raises(ConfigError, match="s3://"):
        store.fetch("s3://bucket/m.onnx", "", tmp_path)


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:80a/m.onnx",
        "http://[::1/m.onnx",
        "http://127.0.0.1:1/mod\u00e8le.onnx",
        "http://127.0.0.1:1/a model.onnx",
        f"http://{'a' * 70}.invalid/m.onnx",
        "http://..invalid/m.onnx",
        "file:///a%00b.onnx",
    ],
)
def test_a_uri_that_is_none_is_unavailable(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ModelUnavailable, match="can't be"):
        store.fetch(uri, "", tmp_path)
    assert store.stamp(uri) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-x\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 302 Found\r\nLocation: http://h:80a/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_an_answer_that_is_none_is_unavailable(tmp_path: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(ModelUnavailable, match="can't be fetched"):
            store.fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/m.onnx", "", tmp_path)


def test_a_download_that_breaks_off_is_resumed_and_then_kept(tmp_path: Path, web: Web) -> None:
    web.break_at = 1000
    with pytest.raises(ModelUnavailable):
        store.fetch(web.uri, DIGEST, tmp_path)
    assert list(tmp_path.glob("*.onnx")) == []
    web.break_at = None
    stored = store.fetch(web.uri, DIGEST, tmp_path)
    assert stored.path.read_bytes() == CONTENT
    assert web.ranges == [None, "bytes=1000-"]
    assert store.fetch(web.uri, DIGEST, tmp_path) == stored
    assert len(web.ranges) == 2


def test_without_a_checksum_nothing_is_resumed(tmp_path: Path, web: Web) -> None:
    web.break_at = 1000
    with pytest.raises(ModelUnavailable):
        store.fetch(web.uri, "", tmp_path)
    web.break_at = None
    assert store.fetch(web.uri, "", tmp_path).sha256 == DIGEST
    assert web.ranges == [None, None]


def test_a_wrong_file_is_thrown_away(tmp_path: Path, web: Web) -> None:
    with pytest.raises(ChecksumMismatch):
        store.fetch(web.uri, "0" * 64, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_a_line_that_moves_on_a_terminal_and_log_lines_elsewhere(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(written, "isatty", lambda: terminal)
    monkeypatch.setattr("sys.stderr", written)
    show = store.reporter("http://x/m.onnx")
    with caplog.at_level("INFO"):
        for done in (250_000, 500_000, 1_000_000):
            show(done, 1_000_000)
    if terminal:
        assert (
            written.getvalue()
            == "".join(
                f"\rhttp://x/m.onnx: {megabytes} MB {share:3} %"
                for megabytes, share in ((0.2, 25), (0.5, 50), (1.0, 100))
            )
            + "\n"
        )
        assert not caplog.records
    else:
        assert written.getvalue() == ""
        assert [record.getMessage() for record in caplog.records] == [
            f"downloading http://x/m.onnx: {done} of 1000000 bytes" for done in (250_000, 1_000_000)
        ]


def test_progress_goes_up_to_the_whole(tmp_path: Path, web: Web) -> None:
    seen: list[tuple[int, int | None]] = []
    store.fetch(web.uri, "", tmp_path, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(CONTENT), len(CONTENT))


ECHOED = "hunter2"
ANSWERS = {
    "another protocol": b"-ERR requirepass hunter2\r\n",
    "a reason": b"HTTP/1.1 500 hunter2\r\nContent-Length: 0\r\n\r\n",
    "a redirect elsewhere": b"HTTP/1.1 302 x\r\nLocation: file:///hunter2\r\nContent-Length: 0\r\n\r\n",
    "a redirect to a scheme": b"HTTP/1.1 302 x\r\nLocation: hunter2://x/\r\nContent-Length: 0\r\n\r\n",
    "a redirect over ftp": b"HTTP/1.1 302 x\r\nLocation: ftp://hunter2/\r\nContent-Length: 0\r\n\r\n",
    "a length": b"HTTP/1.1 200 OK\r\nContent-Length: hunter2\r\n\r\n",
    "an encoding": b"HTTP/1.1 200 OK\r\nContent-Encoding: hunter2\r\nContent-Length: 2\r\n\r\nhi",
    "a version": b"HTTP/hunter2 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_message_repeats_nothing_that_a_server_sent(answer: str, tmp_path: Path) -> None:
    """Whoever may write a resource read a line of servers that only the pods reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(ANSWERS[answer])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(ModelUnavailable) as raised:
            store.fetch(f"http://127.0.0.1:{server.getsockname()[1]}/m", "", tmp_path)
        thread.join()
    assert ECHOED not in str(raised.value)


def test_a_model_that_is_here_already_gets_no_secret_of_another_server(tmp_path: Path) -> None:
    """Its file in the folder, put there by whoever mounted it, kept the Secret's server from being compared."""
    uri, secret = "http://127.0.0.1:9/m.onnx", tmp_path / "secret"
    folder = tmp_path / "models"
    folder.mkdir()
    stem = hashlib.sha256(f"{uri} {DIGEST}".encode()).hexdigest()[:16]
    (folder / f"{stem}.onnx").write_bytes(CONTENT)
    secret.mkdir()
    (secret / "token").write_text("a-token")
    (secret / "server").write_text("models.example")
    with pytest.raises(ModelUnavailable, match=r"is for models\.example"):
        store.fetch(uri, DIGEST, folder, access=Access(credentials=secret))
    (secret / "server").write_text("127.0.0.1:9")
    assert store.fetch(uri, DIGEST, folder, access=Access(credentials=secret)).sha256 == DIGEST
