"""One request and the way to answer it: what a handler sees of the HTTP server."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from corefit_runtime.http_messages import Head, Response


class Answerer(Protocol):
    """What takes the response: the connection."""

    def answer(self, response: "Response") -> None:
        """Sends it."""


class Exchange:
    """One request and the way to answer it, once. All of it on the event loop.

    Attributes:
        on_gone: set by the handler: called when the client hangs up before it is answered.
    """

    __slots__ = ("_connection", "arrived_s", "body", "head", "on_gone")

    def __init__(self, connection: Answerer, head: "Head", body: memoryview, arrived_s: float) -> None:
        self._connection: Answerer | None = connection
        self.head = head
        self.body = body
        self.arrived_s = arrived_s
        self.on_gone: Callable[[], None] | None = None

    def reply(self, response: "Response") -> None:
        """Sends the response; a client that is gone already gets nothing."""
        connection, self._connection = self._connection, None
        # It leads to the job, whose answer leads here: in a circle, bodies would live until the collector comes.
        self.on_gone = None
        if connection is not None:
            connection.answer(response)

    def gone(self) -> None:
        """The client hung up."""
        self._connection = None
        on_gone, self.on_gone = self.on_gone, None
        if on_gone is not None:
            on_gone()
