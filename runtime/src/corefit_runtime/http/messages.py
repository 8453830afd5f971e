"""HTTP/1.1 messages as bytes: statuses, response heads, the parsed head of a request. No sockets here."""

import math
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

import httptools
import msgspec

STATUS: Final = {
    200: b"200 OK",
    400: b"400 Bad Request",
    404: b"404 Not Found",
    405: b"405 Method Not Allowed",
    408: b"408 Request Timeout",
    411: b"411 Length Required",
    413: b"413 Content Too Large",
    415: b"415 Unsupported Media Type",
    429: b"429 Too Many Requests",
    431: b"431 Request Header Fields Too Large",
    500: b"500 Internal Server Error",
    501: b"501 Not Implemented",
    503: b"503 Service Unavailable",
    504: b"504 Gateway Timeout",
}
JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
OCTETS: Final = b"application/octet-stream"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_GRAMMAR: Final = re.compile(
    rb"%b [\x21-\x7e]+ HTTP/1\.[01]\r\n(?:%b:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n" % (_TOKEN, _TOKEN)
)
"""RFC 9112, sections 3 and 5, to the letter. The parser is laxer: it takes several spaces, and LF for CRLF."""
JOIN_BELOW: Final = 16384
"""Bytes up to which head and body are sent as one piece: a copy of 1 us against a longer vector of buffers."""


@dataclass(slots=True)
class Response:
    """A status, a body in pieces (sent without joining them) and further headers.

    Attributes:
        charged: bytes of the body that are charged elsewhere for as long as they are there.
    """

    status: int = 200
    body: list[bytes | memoryview] = field(default_factory=list)
    content_type: bytes = JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    charged: int = 0

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.body))


@dataclass(frozen=True, kw_only=True)
class HttpLimits:
    """What a client may cost. Sizes in bytes, times in seconds.

    Attributes:
        pod_memory: of which the kernel may hold a part for connections; 0: there is no limit.
    """

    max_body: int
    max_body_memory: int
    max_header: int
    max_connections: int
    header_timeout_s: float
    body_timeout_s: float
    idle_timeout_s: float
    connection_age_s: float = math.inf
    refused_connection_age_s: float = math.inf
    pod_memory: int = 0


def error_body(message: str) -> bytes:
    """The body of an error, as the Open Inference Protocol has it."""
    return msgspec.json.encode({"error": message})


class BadHead(Exception):
    """A request that can't be read to its end: the status to refuse it with, and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Head:
    """A parsed request head. The parser calls the `on_` methods; header names are lower-case.

    Attributes:
        decoded: what the handler has worked out from it; equal heads are one object, so that it is there the next time.
    """

    __slots__ = ("chunked", "decoded", "headers", "hosts", "keep_alive", "length", "messages", "method", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        self.hosts = 0
        self.messages = 0
        self.method = b""
        self.keep_alive = True
        self.length = 0
        self.chunked = False
        self.decoded: object = None

    def on_message_begin(self) -> None:
        """A request begins: one, where the bytes are a head."""
        self.messages += 1

    def on_url(self, url: bytes) -> None:
        """A part of the request target; it may come in several."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. A repeated one is a list (RFC 9110, 5.3); the parser itself checks those of lengths."""
        name = name.lower()
        known = self.headers.get(name)
        self.headers[name] = value if known is None else known + b", " + value
        self.hosts += name == b"host"

    def number(self, name: bytes) -> int:
        """A header's value where it is a number, else 0."""
        value = self.headers.get(name, b"")
        return int(value) if value.isdigit() and len(value) < 16 else 0

    @property
    def path(self) -> str:
        """The decoded path without the query; that of an absolute URL as well (RFC 9112, 3.2.2)."""
        path = self.url.partition(b"?")[0].decode("latin-1")
        if not path.startswith("/"):
            _, slash, path = path.partition("://")[2].partition("/")
            path = slash + path
        return unquote(path)

    @property
    def query(self) -> str:
        """What follows the question mark."""
        return self.url.partition(b"?")[2].decode("latin-1")


def parse_head(data: bytes) -> Head:
    """The head that these bytes are, with the empty line that ends it.

    Raises:
        BadHead: they are none, or say of the body what can't be trusted.
    """
    if _GRAMMAR.fullmatch(data.lstrip(b"\r\n")) is None:
        raise BadHead(400, "not an HTTP/1.1 request: a line of its head isn't as RFC 9112 has it")
    head = Head()
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # RFC 9110, 7.8: a server may ignore Upgrade, and answers over HTTP/1.1.
    except httptools.HttpParserError as error:
        raise BadHead(400, f"not an HTTP/1.1 request: {error}") from error
    if head.messages != 1 or not head.url:
        raise BadHead(400, "not an HTTP/1.1 request: it has no target, or an empty line before its end")
    version = parser.get_http_version()
    if head.hosts > 1 or (head.hosts == 0 and version != "1.0"):
        raise BadHead(400, f"{head.hosts} Host headers; a request has one (RFC 9112, 3.2)")
    head.method = parser.get_method()
    if head.method == b"CONNECT":  # What follows it would be a tunnel's, and no request.
        raise BadHead(405, "CONNECT is not taken: this server is no proxy")
    # Not the parser's `should_keep_alive`: it forgets the headers when a request without a body is complete.
    closing = b"close" in head.headers.get(b"connection", b"").lower()
    head.keep_alive = not closing and version != "1.0"
    head.chunked = _chunked(head.headers, version)
    if version == "1.0":  # RFC 9110, 10.1.1: such a client would take the interim answer for the answer.
        head.headers.pop(b"expect", None)
    head.length = int(head.headers.get(b"content-length", b"0") or b"0")
    return head


def _chunked(headers: dict[bytes, bytes], version: str) -> bool:
    """Whether the body is chunked. What would leave its end in doubt is refused (RFC 9112, 6.1 and 6.3)."""
    codings = headers.get(b"transfer-encoding")
    if codings is None:
        return False
    names = [name.strip() for name in codings.lower().split(b",")]
    if b"content-length" in headers or version == "1.0":
        raise BadHead(400, "Transfer-Encoding goes with HTTP/1.1 and without Content-Length (RFC 9112, 6.1)")
    if names == [b"chunked"]:
        return True
    if names[-1] != b"chunked" or names.count(b"chunked") > 1:
        raise BadHead(400, "Transfer-Encoding has to end with chunked, once: else the body has no end (RFC 9112, 6.3)")
    raise BadHead(501, f"Transfer-Encoding {codings.decode('latin-1')!r} is not known: chunked is")


def rendered(response: Response, length: int, *, keep_alive: bool, bare: bool) -> list[bytes | memoryview]:
    """The response, of so many bytes, in the pieces in which it is sent; `bare` without its body, as HEAD wants it."""
    head = head_bytes(response, length, keep_alive=keep_alive)
    if bare:
        return [head]
    return [b"".join((head, *response.body))] if length < JOIN_BELOW else [head, *response.body]


def head_bytes(response: Response, length: int, *, keep_alive: bool) -> bytes:
    """The response's head."""
    parts = [
        b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n"
        % (STATUS[response.status], response.content_type, length)
    ]
    parts += [b"%b: %b\r\n" % header for header in response.headers]
    parts.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    return b"".join(parts)
