"""The body that a connection is receiving: where its bytes go, and how little of the CPU they take. No HTTP here."""

import asyncio
import ctypes
import socket
from typing import Final

from corefit_runtime.http.kernel import TCP

GATHER_AFTER: Final = 3
"""Reads of one body after which its client is known to be slower than we are: over a loopback it takes one to three."""
GATHER_FROM: Final = 65536
GATHER_MOST: Final = 1 << 20
"""Bytes that are then gathered before we are woken. A read of so many takes 0.2 ms."""

_RECV: Final = ctypes.PyDLL(None).recv  # Keeps the GIL: to give it away costs more than the call.
_RECV.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_RECV.restype = ctypes.c_ssize_t


class BodyReader:
    """One body after the other, of a length that is known; it is received, or skipped.

    Args:
        bin: memory that all connections share, for the bytes of bodies that are skipped.

    Attributes:
        filled: bytes that have come.
    """

    __slots__ = ("_bin", "_last", "_length", "_low_water", "_reads", "_room", "filled")

    def __init__(self, bin: memoryview) -> None:  # noqa: A002 - what it is
        self._bin = bin
        self._room: memoryview | None = None
        self._length = -1
        self.filled = 0
        self._last = 0
        self._reads = 0
        self._low_water = 1

    @property
    def active(self) -> bool:
        """Whether a body has begun and isn't over yet."""
        return self._length >= 0

    def begin(self, room: memoryview, first: memoryview) -> None:
        """A body begins, of which `first` has come with its head.

        Args:
            room: a byte more than the body: a read that doesn't fill its buffer is known to have been the last one,
                and saves the loop another that finds nothing.
            first: at most the body.
        """
        self._room, self._length = room, len(room) - 1
        self.filled, self._reads = len(first), 0
        room[: self.filled] = first

    def skip(self, length: int, first: memoryview) -> None:
        """A body begins that nobody wants."""
        self._room, self._length = None, length
        self.filled, self._reads = len(first), 0

    def buffer(self) -> memoryview:
        """Where the next bytes go."""
        if self._room is not None:
            return self._room[self.filled :]
        return self._bin[: self._length - self.filled + 1]

    def received(self, count: int) -> None:
        """So many bytes have come there."""
        self.filled += count
        self._last = count
        self._reads += 1

    @property
    def gatherable(self) -> int:
        """Bytes that the kernel might gather before it wakes us; 0 where that saves nothing."""
        missing = self._length - self.filled
        return min(missing, GATHER_MOST) if self._reads >= GATHER_AFTER and missing >= GATHER_FROM else 0

    def throw_away(self, transport: asyncio.Transport) -> None:
        """Has the kernel throw away what has come of a body that is skipped."""
        missing = self._length - self.filled
        if self._room is None and missing > 0:
            self._thrown_away(transport, missing)

    def gather(self, transport: asyncio.Transport, wanted: int) -> None:
        """Has the kernel wake us when so many bytes have come; 0: when any have."""
        wanted = wanted or 1
        if wanted != self._low_water:
            # Each piece for itself would interrupt a run for 40 us.
            self._low_water = wanted
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)

    def end(self) -> tuple[memoryview, bytes] | None:
        """The body, empty when it was skipped, and what has come after it; None while it isn't over."""
        over = self.filled - self._length
        if over < 0:
            return None
        length, self._length = self._length, -1
        room, self._room = self._room, None
        if room is None:
            return memoryview(b""), bytes(self._bin[self._last - over : self._last])
        return room[:length], bytes(room[length : self.filled])

    def drop(self) -> None:
        """It isn't wanted any more."""
        self._room, self._length = None, -1

    def _thrown_away(self, transport: asyncio.Transport, missing: int) -> None:
        """The kernel drops bytes without a copy (tcp(7), MSG_TRUNC): 600 KB in 10 us instead of 80."""
        sock = transport.get_extra_info("socket")
        if sock.family in TCP:
            flags = socket.MSG_TRUNC | socket.MSG_DONTWAIT
            self.filled += max(0, int(_RECV(sock.fileno(), None, missing, flags)))
