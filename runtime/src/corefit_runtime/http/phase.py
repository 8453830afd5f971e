"""What a connection is at, and what may follow. Knows no sockets and no HTTP."""

from enum import Enum, auto
from typing import Final


class Reading(Enum):
    """How much of the next request has come."""

    NOTHING = auto()
    HEAD = auto()
    """A part of its head."""
    BODY = auto()
    """All of its head, and a part of a body of known length."""
    CHUNKS = auto()
    """All of its head, and a part of a chunked body."""


class Phase(Enum):
    """Whose turn it is."""

    RECEIVING = auto()
    """The client's: it sends a request, or nothing."""
    HANDLING = auto()
    """The handler's: it has a request to answer."""
    REFUSED = auto()
    """The client's: it was told what is wrong and may read it; what it sends is thrown away."""
    LOST = auto()
    """Nobody's: there is no connection any more."""


NEXT: Final = {
    Phase.RECEIVING: frozenset({Phase.HANDLING, Phase.REFUSED, Phase.LOST}),
    Phase.HANDLING: frozenset({Phase.RECEIVING, Phase.LOST}),
    Phase.REFUSED: frozenset({Phase.LOST}),
    Phase.LOST: frozenset[Phase](),
}


class PhaseError(Exception):
    """A step that a connection can't take: a fault of the server."""


def step(now: Phase, following: Phase) -> Phase:
    """The following phase.

    Raises:
        PhaseError: it can't follow.
    """
    if following not in NEXT[now]:
        raise PhaseError(f"a connection goes from {now.name} to {following.name}")
    return following
