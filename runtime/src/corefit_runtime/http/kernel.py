"""What the kernel may hold of a connection: answers that its client doesn't read, requests that we don't read yet.

A pod pays for both: on cgroup v2 the memory of its sockets counts as its own. Left alone, the kernel holds a megabyte
for each client that reads nothing, and for one that sends ahead as much as net.ipv4.tcp_rmem says.
"""

import asyncio
import socket
from typing import Final

SHARE: Final = 128
"""The first eight connections together get a 128th of the pod's memory each way, each further one its part of it: 2048
get a twentieth, and the least each."""
FEW: Final = 8
LEAST: Final = 16384
"""Bytes that a connection gets in any case. What a client doesn't read takes about 60 KB of the kernel then: it takes
memory by 32 KB, and one packet is on its way."""
MOST: Final = 1 << 20
TCP: Final = (socket.AF_INET, socket.AF_INET6)
"""The families of sockets that have the options of tcp(7)."""
_NOT_SENT: Final = 25
"""TCP_NOTSENT_LOWAT of Linux, which Python doesn't name."""


def allowance(memory: int, connections: int) -> int:
    """Bytes that the kernel may hold each way for the newest of so many connections; 0: as many as it likes.

    Args:
        memory: the pod's, in bytes; 0: there is no limit.
        connections: all that there are.
    """
    return max(LEAST, min(MOST, memory // SHARE // max(FEW, connections))) if memory else 0


def bound_unsent(transport: asyncio.BaseTransport, most: int) -> None:
    """From now on the kernel takes no more of an answer than that, beyond what is on its way to the client."""
    _set(transport, socket.IPPROTO_TCP, _NOT_SENT, most)


def bound_unread(transport: asyncio.BaseTransport, most: int) -> None:
    """From now on the kernel takes no more of what the client sends than that, beyond what it has already."""
    _set(transport, socket.SOL_SOCKET, socket.SO_RCVBUF, most // 2)  # Of which it makes twice as much (socket(7)).


def _set(transport: asyncio.BaseTransport, level: int, option: int, most: int) -> None:
    sock = transport.get_extra_info("socket")
    if most and sock is not None and sock.family in TCP:
        sock.setsockopt(level, option, most)
