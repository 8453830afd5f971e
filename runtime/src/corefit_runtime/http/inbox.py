"""What a connection has received and not used yet: the beginning of a head, or the next request. No sockets here."""

from typing import Final

from corefit_runtime.http.messages import BadHead

END: Final = b"\r\n\r\n"
KEPT: Final = 8192
"""Bytes of next requests after which no more of them is read: 2048 connections keep 32 MiB, with a read more each."""


class Inbox:
    """Gathers heads that don't come in one piece.

    Args:
        limit: bytes of the largest head.

    Attributes:
        pending: what is kept.
    """

    __slots__ = ("_limit", "pending")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.pending = b""

    @property
    def full(self) -> bool:
        """Whether no more should be read, however fast the requests in it are answered.

        A head that isn't complete is read on, up to its limit: nobody would go on with it else.
        """
        size = len(self.pending)
        return size > KEPT and (size > self._limit or END in self.pending)

    def head(self, data: bytes) -> tuple[bytes, memoryview] | None:
        """The head that `data` completes, with what came behind it; None, and it is kept, where none is complete.

        Raises:
            BadHead: it is larger than a head may be.
        """
        data = self.pending + data
        end = data.find(END)
        if end == 0:  # RFC 9112, 2.2: empty lines before a request are ignored; a single one by the parser.
            data = data.lstrip(b"\r\n")
            end = data.find(END)
        if max(end + 4, len(data) if end < 0 else 0) > self._limit:
            raise BadHead(431, f"the head is larger than {self._limit} bytes (--max-header)")
        self.pending = data if end < 0 else b""
        return None if end < 0 else (data[: end + 4], memoryview(data)[end + 4 :])
