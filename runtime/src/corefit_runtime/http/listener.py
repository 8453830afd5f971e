"""What a connection needs of the server that it belongs to: the routes, the limits, and what all connections share."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from corefit_runtime.http.exchange import Exchange
from corefit_runtime.http.memory import Memory
from corefit_runtime.http.messages import Head, HttpLimits, Response

Handler = Callable[[Exchange], None]
ErrorBody = Callable[[str], bytes]
Access = Callable[[Head | None, int, float], None]
Allocate = Callable[[int, int], memoryview]
Refusal = Callable[[Head, memoryview], Response | None]

_C_contra = TypeVar("_C_contra", contravariant=True)


class Listener(Protocol[_C_contra]):
    """The server, as its connections know it.

    Attributes:
        scratch: the buffer that all connections receive heads into; `view` is all of it, `head_view` its beginning.
        draining: whether every response ends its connection.
    """

    handler: Handler
    limits: HttpLimits
    error_body: ErrorBody
    allocate: Allocate
    align_header: bytes
    access: Access | None
    refusal: Refusal
    memory: Memory
    draining: bool
    scratch: bytearray
    view: memoryview
    head_view: memoryview
    loop: asyncio.AbstractEventLoop

    @property
    def max_body(self) -> int:
        """Bytes of the largest body that is taken."""

    @property
    def allowance(self) -> int:
        """Bytes that the kernel may hold each way for one more connection; 0: as many as it likes."""

    def joined(self, connection: _C_contra, transport: asyncio.BaseTransport) -> bool:
        """A client has connected; False where there is no room for it."""

    def lost(self, connection: _C_contra) -> None:
        """A connection has ended."""

    def head_of(self, raw: bytes) -> Head:
        """The head from its bytes."""

    def affordable(self, response: Response) -> Response:
        """The response, or a refusal in its place."""
