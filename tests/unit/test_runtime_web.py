"""What a fetch may reach and whom it tells its credentials: over real servers, with names resolved as a test says."""

import base64
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from unit.sites import served

from corefit_core.errors import ModelUnavailable
from corefit_runtime.models import access, download, store
from corefit_runtime.models.access import Access

METADATA = "169.254.169.254"


@pytest.mark.parametrize(
    "address",
    [
        METADATA,
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "febf::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:42::42",
        "169.254.170.23",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "fe81::5efe:10.0.0.1",
        "2001:db8::5efe:169.254.169.254",
        "2001:db8::200:5efe:169.254.169.254",
        "2001:0:a9fe:a9fe::1",
        "2001:0:1:1:0:0:5601:5601",
        "::ffff:100.100.100.200",
        "64:ff9b::a83f:8110",
        "100.100.100.200",
        "168.63.129.16",
    ],
)
def test_link_local_and_metadata_addresses_are_refused_in_every_spelling(address: str) -> None:
    assert access.refused(address)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "127.0.0.1",
        "169.253.255.255",
        "169.255.0.0",
        "fec0::1",
        "::1",
        "64:ff9b::808:808",
        "93.184.216.34",
        "2001:db8::1",
        "::",
        "0.0.0.0",
    ],
)
def test_other_addresses_are_not(address: str) -> None:
    assert not access.refused(address)


class Site:
    """A server that redirects or answers, and notes the Authorization header of each request."""

    def __init__(self) -> None:
        self.redirect = ""
        self.seen: list[str | None] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.seen.append(self.headers.get("Authorization"))
                if site.redirect and self.path != "/end":
                    self.send_response(302)
                    self.send_header("Location", site.redirect)
                else:
                    self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def sites() -> Iterator[tuple[Site, Site]]:
    made = (Site(), Site())
    with served(made[0].server), served(made[1].server):
        yield made


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Makes a name resolve to an address, as a DNS server of an attacker's would."""
    known: dict[str, str] = {}
    genuine = socket.getaddrinfo

    def look_up(host: Any, *rest: Any, **options: Any) -> Any:
        return genuine(known.get(host, host), *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known.__setitem__


def test_a_literal_address_a_name_and_a_redirect_are_refused(
    sites: tuple[Site, Site], resolve: Callable[[str, str], None], tmp_path: Path
) -> None:
    resolve("metadata.example", METADATA)
    site = sites[0]
    site.redirect = f"http://{METADATA}/latest/meta-data/"
    for uri in (f"http://{METADATA}/m.onnx", "https://metadata.example/m.onnx", f"{site.origin}/m.onnx"):
        with pytest.raises(ModelUnavailable, match="link-local or metadata address") as caught:
            store.fetch(uri, "", tmp_path)
        assert METADATA not in str(caught.value)  # What a server redirects to is not for whoever reads the message.


@pytest.mark.parametrize(
    "host", ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "[::ffff:a9fe:a9fe]"]
)
def test_numbers_that_the_resolver_reads_as_an_address_are_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="link-local or metadata address"):
        store.fetch(f"http://{host}/latest/", "", tmp_path)


def test_a_proxy_is_not_asked_for_a_refused_address(
    sites: tuple[Site, Site], resolve: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resolve("metadata.example", METADATA)
    monkeypatch.setenv("http_proxy", sites[0].origin)
    for host in (METADATA, "metadata.example"):
        with pytest.raises(ModelUnavailable, match="link-local or metadata address"):
            store.fetch(f"http://{host}/m.onnx", "", tmp_path)
    assert sites[0].seen == []


def test_what_the_administrator_allows_is_connected_to(monkeypatch: pytest.MonkeyPatch, sites: Any) -> None:
    monkeypatch.setattr(access, "METADATA", (*access.METADATA, access.ipaddress.ip_network("127.0.0.1/32")))
    with pytest.raises(ModelUnavailable, match="unless the administrator allows it"):
        download.get(f"{sites[0].origin}/end", {}, Access())
    with download.get(f"{sites[0].origin}/end", {}, Access(link_local=True)) as answer:
        assert answer.status == 200


def test_a_redirect_leads_to_http_only(sites: tuple[Site, Site], tmp_path: Path) -> None:
    for other in ("ftp://127.0.0.1/m.onnx", "file:///etc/passwd"):
        sites[0].redirect = other
        with pytest.raises(ModelUnavailable):
            store.fetch(f"{sites[0].origin}/m.onnx", "", tmp_path)


def test_credentials_follow_to_the_same_origin_and_to_no_other(sites: tuple[Site, Site], tmp_path: Path) -> None:
    first, other = sites
    (tmp_path / "token").write_text("a-token\n")
    (tmp_path / "server").write_text(first.origin.removeprefix("http://") + "\n")
    allowed = Access(credentials=tmp_path)
    first.redirect = f"{first.origin}/end"
    download.get(f"{first.origin}/m.onnx", {}, allowed).close()
    assert first.seen == ["Bearer a-token", "Bearer a-token"]
    first.redirect = f"{other.origin}/end"
    download.get(f"{first.origin}/m.onnx", {}, allowed).close()
    assert other.seen == [None]


def test_credentials_are_read_anew_and_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="token, or username and password"):
        download.authorization(tmp_path)
    (tmp_path / "username").write_text("me")
    (tmp_path / "password").write_text("a:b")
    assert download.authorization(tmp_path) == "Basic " + base64.b64encode(b"me:a:b").decode()
    (tmp_path / "token").write_text("t")
    assert download.authorization(tmp_path) == "Bearer t"


@pytest.mark.parametrize(
    ("server", "uri"),
    [
        ("models.example", "https://models.example/m.onnx"),
        ("models.example", "http://models.example:80/m.onnx"),
        ("models.example:8443", "https://MODELS.example:8443/m.onnx"),
        ("https://models.example", "https://models.example/m.onnx"),
        ("[fd00::1]:81", "http://[fd00::1]:81/m.onnx"),
    ],
)
def test_a_secret_names_the_server_that_it_is_for(server: str, uri: str, tmp_path: Path) -> None:
    (tmp_path / "server").write_text(server)
    download._check_server(tmp_path, download._origin(uri))


@pytest.mark.parametrize(
    ("server", "uri"),
    [
        ("models.example", "https://evil.example/m.onnx"),
        ("models.example", "https://models.example:444/m.onnx"),
        ("models.example", "https://models.example.evil.example/m.onnx"),
        ("https://models.example", "http://models.example/m.onnx"),
        ("models.example:443", "http://models.example/m.onnx"),
    ],
)
def test_credentials_go_to_no_other_server(server: str, uri: str, tmp_path: Path) -> None:
    (tmp_path / "server").write_text(server)
    with pytest.raises(ModelUnavailable, match="is for"):
        download._check_server(tmp_path, download._origin(uri))


def test_a_server_that_the_secret_does_not_name_gets_nothing(sites: tuple[Site, Site], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token")
    with pytest.raises(ModelUnavailable, match="add the key server"):
        download.get(f"{sites[0].origin}/end", {}, Access(credentials=tmp_path))
    (tmp_path / "server").write_text("models.example")
    with pytest.raises(ModelUnavailable, match=r"is for models\.example"):
        download.get(f"{sites[0].origin}/end", {}, Access(credentials=tmp_path))
    assert sites[0].seen == []


def test_a_mistyped_host_name_is_named(tmp_path: Path) -> None:
    """It said `[Errno -3] Temporary failure in name resolution`, and not of which name."""
    with pytest.raises(ModelUnavailable, match=r"the host name modles\.invalid is not known"):
        store.fetch("http://modles.invalid/m.onnx", "", tmp_path)
