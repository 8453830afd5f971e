"""One HTTP GET for the model store, with what it may reach and what it proves itself with.

No connection is made to a link-local or metadata address unless that is allowed; credentials go to the origin that
the URI names and to no other that it redirects to. Only http and https. Imports ssl: import it when it is needed.
"""

import base64
import contextlib
import http.client
import socket
import ssl
import string
import urllib.request
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from corefit_core.errors import ModelUnavailable
from corefit_runtime.models.access import Access, refused

TIMEOUT_S: Final = 30.0
"""Seconds without a byte after which a request is given up."""
MALFORMED: Final = (http.client.HTTPException, ValueError)
"""What http.client, urllib and the codec of host names say to a URI, a redirect or an answer that isn't one."""
PORTS: Final = {"http": 80, "https": 443}


def get(uri: str, headers: dict[str, str], access: Access) -> HTTPResponse:
    """The answer to a GET, redirects followed; the caller closes it.

    Raises:
        ModelUnavailable: an address that isn't allowed, or credentials that aren't there.
        MALFORMED: the URI, where it redirects to, or the answer; when it is read as well.
        OSError: no answer, or an `urllib.error.HTTPError` for a status that isn't a success.
    """
    sent = {"Accept-Encoding": "identity", **headers}
    request = urllib.request.Request(escaped(uri), headers=sent)  # noqa: S310 - the director below knows http and https only
    response: HTTPResponse = _director(uri, access).open(request, timeout=TIMEOUT_S)
    return response


def escaped(uri: str) -> str:
    """The URI of an IRI (RFC 3987, 3.1): what is beyond ASCII, and spaces, percent-encoded as UTF-8."""
    parts = urlsplit(uri)
    path, query = (quote(part, safe=string.punctuation) for part in (parts.path, parts.query))
    return urlunsplit(parts._replace(path=path, query=query))


def _director(uri: str, access: Access) -> urllib.request.OpenerDirector:
    """As `urllib.request.build_opener`, but without ftp, file and data, which a redirect could lead to."""
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Judge(access),
        _Credentials(_origin(uri), access.credentials),
        _Http(access),
        _Https(access),
    ):
        director.add_handler(handler)
    return director


class _Judge(urllib.request.BaseHandler):
    """Judges the address of each request that a proxy would connect for: nobody else does where we only see the proxy.

    A name that doesn't resolve here is left to the proxy.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        parts = urlsplit(request.full_url)
        if parts.scheme in urllib.request.getproxies() and parts.hostname:
            with contextlib.suppress(socket.gaierror):
                for *_, found in socket.getaddrinfo(parts.hostname, None, type=socket.SOCK_STREAM):
                    _judge(self._access, str(found[0]))
        return request

    https_request = http_request


class _Credentials(urllib.request.BaseHandler):
    """Adds the Authorization header to each request for one origin, if the Secret names this server."""

    def __init__(self, origin: tuple[str, str, int], folder: Path | None) -> None:
        self._origin = origin
        self._folder = folder

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        if self._folder is not None and _origin(request.full_url) == self._origin:
            _check_server(self._folder, self._origin)
            request.add_unredirected_header("Authorization", authorization(self._folder))
        return request

    https_request = http_request


class _Http(urllib.request.HTTPHandler):
    def __init__(self, access: Access) -> None:
        super().__init__()
        self._access = access

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(partial(_connection, http.client.HTTPConnection, self._access, _named(req)), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, access: Access) -> None:
        super().__init__()
        self._access = access

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        tls = partial(http.client.HTTPSConnection, context=ssl.create_default_context())
        return self.do_open(partial(_connection, tls, self._access, _named(req)), req)


def _named(request: urllib.request.Request) -> str:
    """The host that the URI itself names, whatever the server redirects to."""
    return request.origin_req_host


def _connection(make: Any, access: Access, named: str, host: str, **options: Any) -> http.client.HTTPConnection:
    """A connection that judges the address between resolving and connecting: no second look-up, no gap."""
    connection: http.client.HTTPConnection = make(host, **options)
    # Where http.client itself keeps what it connects with; there is no public way to give it another.
    connection._create_connection = partial(_connect, access, named)  # type: ignore[attr-defined]  # noqa: SLF001
    return connection


def _addresses(host: str, port: int, *, shown: bool) -> list[Any]:
    """As `socket.getaddrinfo`, whose own words for a mistyped name are `Temporary failure in name resolution`.

    A host that a server redirects to is not `shown`: whoever reads the message need not be whom the server answers.
    """
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        name = f"the host name {host}" if shown else "the name of the proxy, or of a host that the server redirects to,"
        raise OSError(f"{name} is not known ({error.strerror})") from error


def _connect(access: Access, named: str, address: tuple[str, int], timeout: float, source: Any = None) -> socket.socket:
    host, port = address
    error: OSError = OSError("the host has no address")
    for *_, found in _addresses(host, port, shown=host == named):
        where = str(found[0])
        _judge(access, where)
        try:
            return socket.create_connection((where, int(found[1])), timeout, source)
        except OSError as failed:
            error = failed
    raise error


def _judge(access: Access, address: str) -> None:
    if refused(address) and not access.link_local:
        raise ModelUnavailable(
            "the URI, or a redirect, leads to a link-local or metadata address, which models may not come from "
            "unless the administrator allows it (--allow-link-local, allowLinkLocal in the chart)"
        )


def authorization(folder: Path) -> str:
    """The header's value, from the files of a Secret as the kubelet mounts it: read each time, since they rotate.

    Raises:
        ModelUnavailable: neither `token` nor `username` and `password` are there.
    """
    token = _read(folder / "token")
    if token:
        return f"Bearer {token}"
    user, password = _read(folder / "username"), _read(folder / "password")
    if user and password:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    raise ModelUnavailable(
        f"the credentials in {folder} are missing: the Secret needs server, and token, or username and password "
        "(a Secret that was made or changed just now arrives within a minute or two)"
    )


def check_server(uri: str, folder: Path) -> None:
    """Sees that the Secret in a folder is for the server of a URI.

    Raises:
        ModelUnavailable: it names another server, or none.
    """
    try:
        origin = _origin(escaped(uri))
    except ValueError as error:
        raise ModelUnavailable(f"{uri} can't be fetched: {malformed(error)}") from error
    _check_server(folder, origin)


def malformed(error: Exception) -> str:
    """What one of `MALFORMED` says, without a word of what a server sent."""
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended before the answer did"
    if isinstance(error, http.client.InvalidURL | UnicodeError):
        return "the URI, or one that the server redirects to, is not valid"
    if isinstance(error, http.client.HTTPException):
        return f"the server's answer is not valid HTTP ({type(error).__name__}): does it speak HTTP on this port?"
    return "the URI, a redirect or a header of the server's answer is not valid"


def _check_server(folder: Path, origin: tuple[str, str, int]) -> None:
    """Sees that the Secret is for this server: whoever may write a resource must not send a Secret where they like.

    Raises:
        ModelUnavailable: the Secret names another server, or none.
    """
    scheme, host, port = origin
    named = _read(folder / "server")
    if not named:
        authorization(folder)  # which says better what a Secret needs that has nothing at all
        raise ModelUnavailable(
            "the Secret with the credentials does not say which server it is for: "
            f"add the key server, with {host}:{port} for this uri"
        )
    wanted = _origin(named if "://" in named else f"{scheme}://{named}")
    if wanted != origin:
        raise ModelUnavailable(
            f"the Secret with the credentials is for {named}, not for {scheme}://{host}:{port}: nothing is sent there. "
            "Correct spec.model.uri, or the key server of the Secret"
        )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


def _origin(uri: str) -> tuple[str, str, int]:
    parts = urlsplit(uri)
    return parts.scheme, parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
