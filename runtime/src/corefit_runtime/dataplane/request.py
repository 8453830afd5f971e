"""An inference request as the data plane sees it, and the one who waits for its answer. Knows no transport."""

from collections.abc import Callable
from typing import Any, Final, Protocol

RETRY_S: Final = 1.0
"""When a caller may come back for which there is no room."""
Pieces = list[bytes | memoryview]


class Caller(Protocol):
    """Whoever waits for the answer, by whatever transport. All of it on the event loop.

    Attributes:
        body: the request's bytes; none once the caller has gone.
        arrived_s: monotonic, when the first of them was seen.
        on_gone: called when the caller goes before it is answered; returns what uses the body all the same, as long as
            somebody holds it; None where nothing does.
    """

    body: memoryview
    arrived_s: float
    on_gone: Callable[[], object] | None

    def alive(self) -> bool:
        """Whether somebody still waits."""

    def charge(self, count: int) -> bool:
        """Takes more of the memory for bodies, gives back where negative; False where there is no room."""


class Coding(Protocol):
    """What the transport has packed a body with."""

    def most(self, size: int, limit: int) -> int:
        """Bytes that a body of `size` bytes may expand to, `limit` at most."""

    def expand(self, body: memoryview, limit: int) -> memoryview:
        """The body as it was.

        Raises:
            InvalidInput: it isn't what the transport says.
            TooLarge: it expands to more than `limit` bytes.
        """


class InferenceRequest(Protocol):
    """One request, as a transport makes it.

    Attributes:
        caller: who waits for the answer.
        json_length: bytes of the body that are JSON; None: all of them.
        timeout_s: how long the transport says that the caller waits; 0: it doesn't say.
        aligned: whether tensors may be made from the body without a copy.
        coding: undoes what the transport has packed the body with; None where it hasn't.
    """

    caller: Caller
    json_length: int | None
    timeout_s: float
    aligned: bool
    coding: Coding | None

    def render(self, json_length: int | None, pieces: Pieces, charged: int) -> Any:
        """What is sent of an answer with so many bytes of JSON (None: all of it is), from its pieces; on any thread.

        Of the pieces, `charged` bytes are charged elsewhere for as long as they are there.
        """

    def reply(self, answer: Any) -> None:
        """Sends that; on the event loop, at most once."""

    def fail(self, error: Exception) -> None:
        """Sends the error instead."""
