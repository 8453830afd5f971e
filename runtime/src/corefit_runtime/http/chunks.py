"""The chunked transfer coding of request bodies (RFC 9112, section 7.1): what is the body's, and where it ends.

Strict: a line ends with CRLF, a size is plain hexadecimal, and sizes of lines and trailers are bounded. Chunk
extensions and trailer fields are checked for their form and thrown away: a trailer never becomes a header. No sockets
here.
"""

import re
from typing import Final

from corefit_runtime.http.messages import BadHead

MAX_LINE: Final = 256
"""Bytes of the line before a chunk. Clients send a size and no extension: ten bytes."""
SMALL_CHUNKS: Final = 1024
LEAST_CHUNK: Final = 64
"""A body may have so many chunks of any size, and one more for each 64 bytes: a chunk takes 3 us, however small it is,
so that those of one byte that one read holds stopped the event loop for 30 ms."""
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(;[\t\x20-\x7e]*)?\r\n")
_FIELD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n")

_FRAMING: Final = (b"content-length", b"transfer-encoding")
"""What must not stand in a trailer (RFC 9110, 6.5.1): somebody on the way may believe it."""


class ChunkedBody:
    """Decodes one body; feed it what comes until it is complete.

    Args:
        limit: bytes of the largest body.
        max_trailer: bytes of all trailer fields together.

    Attributes:
        body: what has been decoded.
        complete: whether the last chunk and the trailer section have come; what follows is ignored.
    """

    __slots__ = ("_chunks", "_expects", "_left", "_limit", "_line", "_trailer_left", "body", "complete")

    def __init__(self, limit: int, max_trailer: int) -> None:
        self._limit = limit
        self._trailer_left = max_trailer
        self._chunks = self._left = 0
        self._line = b""
        self._expects = self._size
        self.body = bytearray()
        self.complete = False

    def feed(self, data: bytes) -> None:
        """More bytes.

        Raises:
            BadHead: they aren't chunks, or the body, a line or the trailer section is larger than it may be.
        """
        position = 0
        while position < len(data) and not self.complete:
            if self._left:
                piece = data[position : position + self._left]
                self.body += piece
                self._left -= len(piece)
                position += len(piece)
            else:
                position = self._read_line(data, position)

    def _read_line(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position) + 1
        stop = end or len(data)
        self._line += data[position:stop]
        if self._expects == self._trailer:
            if len(self._line) > self._trailer_left:
                raise BadHead(431, "the trailer section is larger than a head may be (--max-header)")
        elif len(self._line) > MAX_LINE:
            raise BadHead(400, f"not a chunked body: a line before a chunk is longer than {MAX_LINE} bytes")
        if end:
            line, self._line = self._line, b""
            self._expects(line)
        return stop

    def _size(self, line: bytes) -> None:
        found = _SIZE.fullmatch(line)
        if found is None:
            raise BadHead(400, f"not a chunked body: {line[:50]!r} is not the size of a chunk")
        self._left = int(found[1], 16)
        if len(self.body) + self._left > self._limit:
            raise BadHead(413, f"the body is larger than {self._limit} bytes (--max-body)")
        self._chunks += 1
        if self._chunks > SMALL_CHUNKS + len(self.body) // LEAST_CHUNK:
            raise BadHead(
                400,
                f"a chunked body of {self._chunks} chunks that have fewer than {LEAST_CHUNK} bytes on average: send "
                "larger chunks, or a Content-Length",
            )
        self._expects = self._end if self._left else self._trailer

    def _end(self, line: bytes) -> None:
        if line != b"\r\n":
            raise BadHead(400, "not a chunked body: a chunk is longer than its size")
        self._expects = self._size

    def _trailer(self, line: bytes) -> None:
        self._trailer_left -= len(line)
        if line == b"\r\n":
            self.complete = True
        elif _FIELD.fullmatch(line) is None or line.lower().partition(b":")[0] in _FRAMING:
            raise BadHead(400, f"not a chunked body: {line[:50]!r} is not a trailer field")
