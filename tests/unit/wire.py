"""What stands for a socket in tests of the HTTP front."""

import socket
from collections.abc import Iterator

from corefit_runtime.http.connection import Connection
from corefit_runtime.http.messages import HttpLimits
from corefit_runtime.http.phase import Phase

LIMITS = HttpLimits(
    max_body=10_000,
    max_body_memory=20_000,
    max_header=1000,
    max_connections=4,
    header_timeout_s=60,
    body_timeout_s=60,
    idle_timeout_s=60,
)


SOCKET = socket.socket(socket.AF_UNIX)


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.sent = b""
        self.closed = self.aborted = False
        self.reading = True
        self.unread = 0

    def write(self, data: bytes) -> None:
        self.sent += data

    def writelines(self, pieces: list[bytes]) -> None:
        self.sent += b"".join(pieces)

    def write_eof(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def set_write_buffer_limits(self, high: int) -> None:
        """Noted by nobody."""

    def get_write_buffer_size(self) -> int:
        """Bytes that the client hasn't taken yet."""
        return self.unread

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """Noted: the test sends what it sends."""
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_extra_info(self, name: str) -> socket.socket | None:
        """A socket of a family that can't throw away what nobody reads: it comes by `get_buffer`. It has no peer."""
        return SOCKET if name == "socket" else None


def fed(connection: Connection, wire: Wire, data: bytes) -> Iterator[None]:
    """Hands a client's bytes on as the loop does, as many at once as there is room for; a step of the iterator each."""
    while data and not wire.closed:
        room = connection.get_buffer(-1)
        count = min(len(room), len(data))
        room[:count] = data[:count]
        connection.buffer_updated(count)
        assert (connection._exchange is not None) == (connection._phase is Phase.HANDLING)
        data = data[count:]
        yield
