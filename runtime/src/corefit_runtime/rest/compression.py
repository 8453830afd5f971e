"""gzip and deflate bodies, bounded: what a body expands to is limited like one that comes as it is."""

import zlib
from typing import Final

from corefit_core.errors import InvalidInput, TooLarge
from corefit_runtime.http.messages import Response

AUTO: Final = 32 + zlib.MAX_WBITS
"""zlib's code for: gzip or zlib, by the header."""
GZIP: Final = 16 + zlib.MAX_WBITS
LEVEL: Final = 1
"""Tensors as text shrink to a third at any level; level 1 takes a fifth of the CPU of the default."""
MIN_BYTES: Final = 1024
MAX_RATIO: Final = 1032
"""Deflate's longest match, 258 bytes, takes two bits at least (RFC 1951)."""
MEMBERS: Final = {"gzip": 16, "x-gzip": 16, "deflate": 1}
"""A gzip file may have several members (RFC 1952, 2.2)."""
PIECE: Final = 1 << 20
PIECE_IN: Final = 1 << 16
"""Bytes that are expanded at once, and of which they are made."""


def expand(body: memoryview, encoding: bytes, limit: int) -> memoryview:
    """The body as it was before `Content-Encoding`.

    Raises:
        InvalidInput: an unknown encoding, or not what it says.
        TooLarge: it expands to more than `limit` bytes.
    """
    kind = encoding.strip().lower().decode("latin-1")
    if kind in {"", "identity"}:
        return body
    if kind not in MEMBERS:
        raise InvalidInput(f"Content-Encoding {kind!r} is not known: gzip and deflate are")
    expanded, rest = bytearray(), body
    for _ in range(MEMBERS[kind]):
        try:
            rest = _add_member(expanded, rest, limit)
        except zlib.error as error:
            raise InvalidInput(f"the body is not {kind}: {error}") from error
        except EOFError:
            raise InvalidInput(f"the {kind} body is cut short") from None
        if not rest:
            return memoryview(expanded)
    raise InvalidInput(f"{len(rest)} bytes follow the {kind} body; {MEMBERS[kind]} members are taken")


def _add_member(expanded: bytearray, data: memoryview, limit: int) -> memoryview:
    """Adds what a member expands to, a piece at a time: all at once it would be there twice. Returns what follows it.

    Raises:
        zlib.error: it is none.
        EOFError: it has no end.
        TooLarge: with it there are more than `limit` bytes.
    """
    stream, start, waiting = zlib.decompressobj(AUTO), 0, b""
    while not stream.eof:
        if not waiting and start == len(data):
            raise EOFError
        if not waiting:
            waiting = bytes(data[start : start + PIECE_IN])
            start += len(waiting)
        expanded += stream.decompress(waiting, PIECE)
        waiting = stream.unconsumed_tail
        if len(expanded) > limit:
            raise TooLarge(f"the body expands to more than {limit} bytes (--max-body)")
    return data[start - len(stream.unused_data) :]


class ContentCoding:
    """The `Content-Encoding` of one request, as the data plane undoes it.

    Args:
        encoding: the header's value.
    """

    __slots__ = ("_encoding",)

    def __init__(self, encoding: bytes) -> None:
        self._encoding = encoding

    def most(self, size: int, limit: int) -> int:
        """Bytes that a body of `size` bytes may expand to, `limit` at most."""
        return min(limit, MAX_RATIO * size)

    def expand(self, body: memoryview, limit: int) -> memoryview:
        """As the function of the module."""
        return expand(body, self._encoding, limit)


def compressed(response: Response, accepted: bytes) -> Response:
    """The response as gzip for a client that asks for nothing else.

    Clients that merely list gzip among others (curl, requests) get it plain: a core that serves models is dearer
    than bytes within a cluster. Triton's clients ask with exactly `gzip` when the caller wants it.
    """
    if accepted.strip().lower() != b"gzip" or sum(map(len, response.body)) < MIN_BYTES:
        return response
    stream = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    plain = response.body
    for index, piece in enumerate(plain):
        plain[index] = stream.compress(piece)  # In its place: the two never take more memory than the larger.
    plain.append(stream.flush())
    response.headers.append((b"content-encoding", b"gzip"))
    return response
