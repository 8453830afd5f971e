"""Which connection makes room for a new one where too many are open. Knows no HTTP and no sockets."""

from collections.abc import Hashable
from typing import Generic, TypeVar

_C = TypeVar("_C", bound=Hashable)


class Crowd(Generic[_C]):
    """The open connections of a server that turns nobody away, by peer.

    Where there are too many, the peer with the most of them loses its oldest one: whoever opens connections without end
    takes them from itself, and a peer that opens one for a short question, as the kubelet does for a probe, keeps it.

    Args:
        limit: connections.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._peers: dict[_C, str] = {}
        self._by_peer: dict[str, dict[_C, None]] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def joined(self, connection: _C, peer: str) -> _C | None:
        """Adds a connection; returns the one that has to go for it, which is no longer counted."""
        self._peers[connection] = peer
        self._by_peer.setdefault(peer, {})[connection] = None
        if len(self._peers) <= self._limit:
            return None
        most = max(self._by_peer, key=lambda peer: len(self._by_peer[peer]))
        crowded = next(iter(self._by_peer[most]))
        self.left(crowded)
        return crowded

    def left(self, connection: _C) -> None:
        """A connection has ended."""
        peer = self._peers.pop(connection, None)
        if peer is None:
            return
        of_peer = self._by_peer[peer]
        del of_peer[connection]
        if not of_peer:
            del self._by_peer[peer]
