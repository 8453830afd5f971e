"""The body that a connection is receiving: where its bytes go, and how few wake-ups they take. No HTTP here."""

import asyncio
import socket
from typing import Final

GATHER_AFTER: Final = 3
"""Reads of one body after which its client is known to be slower than we are: over a loopback it takes one to three."""
GATHER_FROM: Final = 65536
GATHER_MOST: Final = 1 << 20
"""Bytes that are then gathered before we are woken. A read of so many takes 0.2 ms."""


class BodyReader:
    """One body after the other, of a length that is known."""

    __slots__ = ("_filled", "_low_water", "_reads", "_room")

    def __init__(self) -> None:
        self._room: memoryview | None = None
        self._filled = 0
        self._reads = 0
        self._low_water = 1

    @property
    def active(self) -> bool:
        """Whether a body has begun and isn't whole yet."""
        return self._room is not None

    def begin(self, room: memoryview, first: memoryview) -> None:
        """A body begins, of which `first` has come with its head.

        Args:
            room: a byte more than the body: a read that doesn't fill its buffer is known to have been the last one,
                and saves the loop another that finds nothing.
            first: at most the body.
        """
        self._room = room
        self._filled = len(first)
        self._reads = 0
        room[: self._filled] = first

    def buffer(self) -> memoryview:
        """Where the next bytes go."""
        return self._begun()[self._filled :]

    def received(self, count: int) -> None:
        """So many bytes have come there."""
        self._filled += count
        self._reads += 1

    def end(self) -> tuple[memoryview, bytes] | None:
        """The whole body and what has come after it; None while it isn't whole."""
        room = self._begun()
        length = len(room) - 1
        if self._filled < length:
            return None
        self._room = None
        return room[:length], bytes(room[length : self._filled])

    def drop(self) -> None:
        """It isn't wanted any more."""
        self._room = None

    def gather(self, transport: asyncio.Transport) -> None:
        """Has the kernel wake us when what is missing has come: each piece for itself interrupts a run for 40 us."""
        missing = len(self._room) - 1 - self._filled if self._room is not None else 0
        wanted = min(missing, GATHER_MOST) if self._reads >= GATHER_AFTER and missing >= GATHER_FROM else 1
        if wanted != self._low_water:
            self._low_water = wanted
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)

    def _begun(self) -> memoryview:
        assert self._room is not None  # noqa: S101 - `begin` comes first
        return self._room
