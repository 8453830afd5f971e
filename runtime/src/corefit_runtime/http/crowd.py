"""Which connection makes room for a new one where too many are open. Knows no HTTP and no sockets."""

from collections.abc import Hashable
from enum import IntEnum
from typing import Generic, Protocol, TypeVar


class Activity(IntEnum):
    """What a connection does at the moment; the lower, the less is lost with it."""

    IDLE = 0
    """It has no request: the client owes nothing, and neither does the server."""
    WAITING = 1
    """The server waits for the client, which sends a request or reads an answer."""
    SERVING = 2
    """The client waits for the server."""


class Member(Hashable, Protocol):
    """A connection."""

    @property
    def activity(self) -> Activity:
        """What it does at the moment."""


_C = TypeVar("_C", bound=Member)


class Crowd(Generic[_C]):
    """The open connections of a server, by peer.

    Where there are too many, the peer with the most of them loses one: whoever opens connections without end takes
    them from itself, and a peer that opens one for a short question, as the kubelet does for a probe, keeps it.

    Args:
        limit: connections.
        spares_serving: a connection whose client waits for an answer is never given up, nor is one on which a client
            sends or reads for another connection of the same peer. A new connection for which none can be given up is
            refused. Without it the peer's oldest connection goes, whatever it does, and none is refused.
    """

    def __init__(self, limit: int, *, spares_serving: bool = False) -> None:
        self._limit = limit
        self._spares_serving = spares_serving
        self._peers: dict[_C, str] = {}
        self._by_peer: dict[str, dict[_C, None]] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def joined(self, connection: _C, peer: str) -> _C | None:
        """Adds a connection; returns the one that has to go for it, which is no longer counted.

        That is the new one itself where it has to be refused.
        """
        self._peers[connection] = peer
        self._by_peer.setdefault(peer, {})[connection] = None
        if len(self._peers) <= self._limit:
            return None
        victim = self._spared(connection, peer) if self._spares_serving else next(iter(self._by_peer[self._largest()]))
        self.left(victim)
        return victim

    def left(self, connection: _C) -> None:
        """A connection has ended."""
        peer = self._peers.pop(connection, None)
        if peer is None:
            return
        of_peer = self._by_peer[peer]
        del of_peer[connection]
        if not of_peer:
            del self._by_peer[peer]

    def _largest(self) -> str:
        return max(self._by_peer, key=lambda peer: len(self._by_peer[peer]))

    def _spared(self, newcomer: _C, peer: str) -> _C:
        """An idle connection of the largest peer, else one on which that peer is waited for, else any idle one.

        The newcomer where there is none, or where the newcomer's own peer is the largest and has no idle one.
        """
        largest = self._largest()
        least_loss = Activity.IDLE if largest == peer else Activity.WAITING
        for activity in range(least_loss + 1):
            victim = self._oldest(largest, newcomer, Activity(activity))
            if victim is not None:
                return victim
        if largest == peer:
            return newcomer  # A crowd of one peer takes nothing from others.
        for other in list(self._by_peer):
            victim = self._oldest(other, newcomer, Activity.IDLE)
            if victim is not None:
                return victim
        return newcomer

    def _oldest(self, peer: str, newcomer: _C, most: Activity) -> _C | None:
        """The connection of a peer that has been there longest and does nothing that is above `most`.

        Those before it go to the end of the line, as in the CLOCK algorithm of page replacement (Corbato, 1968): a
        flood does not look at the same busy connections again and again.
        """
        line = self._by_peer[peer]
        for connection in list(line):
            if connection is not newcomer and connection.activity <= most:
                return connection
            line[connection] = line.pop(connection)
        return None
