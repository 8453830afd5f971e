"""One request and the way to answer it: what a handler sees of the HTTP server."""

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from corefit_runtime.http.messages import Head, Response


_NOTHING: Final = memoryview(b"")


class Answerer(Protocol):
    """What takes the response: the connection.

    Attributes:
        held: bytes of the memory for bodies that the request takes.
    """

    @property
    def held(self) -> int:
        """See the class."""

    def answer(self, response: "Response") -> None:
        """Sends it."""

    def charge(self, count: int) -> bool:
        """Takes more of the memory for bodies, gives back where negative; False where there is no room."""


class Exchange:
    """One request and the way to answer it, once. All of it on the event loop.

    Attributes:
        on_gone: set by the handler: called when the client hangs up before it is answered; returns what uses the body
            all the same, such as a run that goes on, until nobody holds it any more; None where nothing does.
    """

    __slots__ = ("_connection", "arrived_s", "body", "head", "on_gone")

    def __init__(self, connection: Answerer, head: "Head", body: memoryview, arrived_s: float) -> None:
        self._connection: Answerer | None = connection
        self.head = head
        self.body = body
        self.arrived_s = arrived_s
        self.on_gone: Callable[[], object] | None = None

    @property
    def held(self) -> int:
        """Bytes of the memory for bodies that it takes; none any more when nobody waits for the answer."""
        return self._connection.held if self._connection is not None else 0

    def alive(self) -> bool:
        """Whether somebody still waits for the answer."""
        return self._connection is not None

    def charge(self, count: int) -> bool:
        """Charges what is made of the body to the memory for bodies, until it is answered; negative: gives it back.

        False: there is no room for it, or nobody waits for it any more.
        """
        return self._connection is not None and self._connection.charge(count)

    def reply(self, response: "Response") -> None:
        """Sends the response; a client that is gone already gets nothing."""
        connection, self._connection = self._connection, None
        # It leads to the job, whose answer leads here: in a circle, bodies would live until the collector comes.
        self.on_gone = None
        if connection is not None:
            connection.answer(response)

    def gone(self) -> object:
        """The client hung up; returns what uses the body for a while all the same, None where nothing does."""
        self._connection = None
        self.body = _NOTHING  # Who still holds the exchange, a job that is skipped or a parser, holds no memory by it.
        on_gone, self.on_gone = self.on_gone, None
        return on_gone() if on_gone is not None else None
