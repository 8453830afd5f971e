"""What web servers send instead of a model: encoded, with a path beyond ASCII, or something else altogether."""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.sites import served

from corefit_core.errors import ChecksumMismatch, ModelInvalid, ModelUnavailable
from corefit_runtime.models import content, store
from corefit_runtime.models.content import Decoder

MODEL = b"\x08\x08" + bytes(range(256)) * 40
DIGEST = hashlib.sha256(MODEL).hexdigest()


class Site:
    """A server that sends what it is given, in one encoding, and honours ranges of what it sends."""

    def __init__(self) -> None:
        self.body, self.encoding, self.most = MODEL, "", 1 << 30
        self.paths: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.paths.append(self.path)
                wanted = self.headers.get("Range")
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(site.body) - start))
                if site.encoding:
                    self.send_header("Content-Encoding", site.encoding)
                self.end_headers()
                self.wfile.write(site.body[start : site.most])

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_port}/m.onnx"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    with served(made.server):
        yield made


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(MODEL)),
        ("GZIP ", gzip.compress(MODEL[:99]) + gzip.compress(MODEL[99:])),
        ("deflate", zlib.compress(MODEL)),
        ("identity", MODEL),
    ],
)
@pytest.mark.parametrize("sha256", ["", DIGEST])
def test_an_encoded_model_is_decoded(tmp_path: Path, site: Site, encoding: str, body: bytes, sha256: str) -> None:
    """A model with Content-Encoding: gzip was kept as it came, and refused by onnxruntime."""
    site.encoding, site.body = encoding, body
    assert store.fetch(site.uri, sha256, tmp_path).path.read_bytes() == MODEL


def test_an_encoded_download_that_breaks_off_is_begun_again(tmp_path: Path, site: Site) -> None:
    """What is kept is counted in other bytes than the server counts."""
    site.encoding, site.body = "gzip", gzip.compress(MODEL)
    site.most = len(site.body) // 2
    with pytest.raises(ModelUnavailable, match="ended"):
        store.fetch(site.uri, DIGEST, tmp_path)
    site.most = len(site.body)
    assert store.fetch(site.uri, DIGEST, tmp_path).path.read_bytes() == MODEL


@pytest.mark.parametrize(
    ("encoding", "body", "says"),
    [
        ("br", MODEL, "Content-Encoding that is not supported"),
        ("gzip", MODEL, "not encoded as"),
        ("gzip", gzip.compress(MODEL)[:-9], "ended early"),
    ],
)
def test_an_encoding_that_is_not_known_or_not_there(
    tmp_path: Path, site: Site, encoding: str, body: bytes, says: str
) -> None:
    site.encoding, site.body = encoding, body
    with pytest.raises(ModelUnavailable, match=says):
        store.fetch(site.uri, "", tmp_path)


@pytest.mark.parametrize("path", ["модель.onnx", "a model.onnx", "a%20model.onnx", "m.onnx?имя=1"])
def test_a_path_beyond_ascii_is_encoded(tmp_path: Path, site: Site, path: str) -> None:
    uri = site.uri.replace("m.onnx", path)
    assert store.fetch(uri, "", tmp_path).sha256 == DIGEST
    assert unquote(site.paths[0]) == "/" + unquote(path)


KINDS = {
    b"": "empty",
    b"<!DOCTYPE html><title>Sign in</title>": "HTML page",
    b"\n <html>": "HTML page",
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>': "XML document",
    b'{"error": "not found"}': "JSON document",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n": "git lfs pull",
    gzip.compress(MODEL): "gzip-compressed",
    b"PK\x03\x04abc": "zip archive",
    b"\x80\x04\x95abc": "pickle",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"\x1c\0\0\0TFL3": "TensorFlow Lite",
    bytes(257) + b"ustar": "tar archive",
}


@pytest.mark.parametrize("body", list(KINDS), ids=list(KINDS.values()))
def test_what_is_no_model_is_named(tmp_path: Path, site: Site, body: bytes) -> None:
    """The message named a file of hexadecimal digits, and neither the URI nor what came."""
    site.body = body
    for uri, sha256 in ((site.uri, ""), (site.uri, DIGEST)):
        with pytest.raises(ModelInvalid, match=KINDS[body]) as raised:
            store.fetch(uri, sha256, tmp_path)
        assert str(raised.value).startswith(uri)
    assert not list(tmp_path.glob("*.part"))
    (tmp_path / "m.onnx").write_bytes(body)
    with pytest.raises(ModelInvalid, match=KINDS[body]):
        store.fetch(str(tmp_path / "m.onnx"), "", tmp_path)


def test_another_model_is_still_another_model(tmp_path: Path, site: Site) -> None:
    site.body = b"\x08\x09" + MODEL[2:]
    with pytest.raises(ChecksumMismatch):
        store.fetch(site.uri, DIGEST, tmp_path)


@given(body=st.binary(max_size=3000), cut=st.integers(1, 50), members=st.integers(1, 3))
def test_decoding_is_the_same_however_it_is_cut(body: bytes, cut: int, members: int) -> None:
    encoded = b"".join(gzip.compress(body) for _ in range(members))
    decoder = Decoder("gzip")
    found = b"".join(b"".join(decoder.feed(encoded[at : at + cut])) for at in range(0, len(encoded), cut))
    assert decoder.complete
    assert found == members * body


def test_a_bomb_comes_in_pieces() -> None:
    pieces = list(Decoder("gzip").feed(gzip.compress(bytes(20 << 20))))
    assert max(map(len, pieces)) <= content.PIECE
    assert sum(map(len, pieces)) == 20 << 20
