"""An inference request as the data plane sees it, and the one who waits for its answer. Knows no transport."""

from collections.abc import Callable
from typing import Any, Final, Protocol

from corefit_runtime.tensors.datatypes import Array

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

    @property
    def held(self) -> int:
        """Bytes of the memory for bodies that are charged for it; from any thread."""

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
        timeout_s: how long the transport says that the caller waits; 0: it doesn't say.
    """

    caller: Caller
    timeout_s: float

    def render(self, head: Any, pieces: Pieces, charged: int) -> Any:
        """What is sent of what the request's `Renderer` has made; on any thread.

        Of the pieces, `charged` bytes are charged elsewhere for as long as they are there.
        """

    def reply(self, answer: Any) -> None:
        """Sends that; on the event loop, at most once."""

    def fail(self, error: Exception) -> None:
        """Sends the error instead."""


class EncodedRequest(InferenceRequest, Protocol):
    """One whose body the data plane decodes: JSON and binary data of the Open Inference Protocol.

    The head that it is rendered with is the number of bytes of JSON in the answer; None: all of them are.

    Attributes:
        json_length: bytes of the body that are JSON; None: all of them.
        aligned: whether tensors may be made from the body without a copy.
        coding: undoes what the transport has packed the body with; None where it hasn't.
    """

    json_length: int | None
    aligned: bool
    coding: Coding | None


class DecodedForm(Protocol):
    """What a request wants, in whatever format it came; its tensors are apart."""

    @property
    def names(self) -> list[str]:
        """The outputs that it wants."""

    @property
    def rows(self) -> int:
        """Size of the leading dimension that all inputs share; 0 when they don't."""

    @property
    def elements(self) -> int:
        """Of all inputs together."""

    @property
    def timeout_us(self) -> float:
        """How long it says itself that its caller waits, in microseconds; 0: it doesn't say."""


class Renderer(Protocol):
    """Makes answers of outputs, in the format of the requests, whose form is known to it; on any thread."""

    def weight(self, form: Any, outputs: list[Array]) -> int:
        """Bytes that `render` takes at most besides the outputs."""

    def render(self, form: Any, outputs: list[Array]) -> tuple[Any, Pieces]:
        """The head, which the transport understands, and the pieces of the answer."""
