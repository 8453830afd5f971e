"""Parsing of what would hold the event loop, within the memory for bodies: what it takes is charged before it is taken.

A body is charged while it is read; what is made of it may be many times larger: gzip expands a thousandfold, a JSON
number of two bytes is an object of 40.
"""

import asyncio
import threading
from concurrent.futures import Future
from typing import Final

from corefit_core.errors import Shed, TooLarge
from corefit_runtime.concurrency.offload import Offload
from corefit_runtime.http.exchange import Exchange
from corefit_runtime.protocol import forms, json_data
from corefit_runtime.protocol.codec import Codec, feeds
from corefit_runtime.protocol.forms import Form
from corefit_runtime.rest import compression
from corefit_runtime.rest.headers import Facts
from corefit_runtime.tensors.datatypes import Array

OFFLOAD_JSON: Final = 131_072
"""Bytes of JSON above which it is parsed off the loop: at 150 to 300 MB/s that is 0.5 to 1 ms. What smaller ones take
isn't charged: it is 2 MiB at most, and one at a time."""
OFFLOAD_ANSWER: Final = 1 << 20
"""Bytes that an answer may take uncharged while it is made: each worker makes one at a time."""
RETRY_S: Final = 1.0


class Aside:
    """See the module.

    Args:
        offload: where it is done.
        max_body: bytes that a body may expand to.
        max_memory: bytes that all bodies, and what is made of them, may hold.

    Attributes:
        max_memory: the same; whoever bounds the server's memory anew sets it.
    """

    def __init__(self, offload: Offload, max_body: int, max_memory: int) -> None:
        self._offload = offload
        self._max_body = max_body
        self.max_memory = max_memory

    async def parse(self, exchange: Exchange, codec: Codec, facts: Facts) -> tuple[Form, dict[str, Array]] | None:
        """The request's form and tensors; None when its client has gone meanwhile.

        Raises:
            InvalidInput: naming what is wrong with it.
            TooLarge: it expands to more than a body may have, or there could never be room for what it takes.
            Shed: there is no room for it now.
        """
        async with self._offload.turn:
            try:
                return await self._parsed(_Budget(exchange, self.max_memory), exchange.body, codec, facts)
            except _Gone:
                return None

    async def _parsed(
        self, budget: "_Budget", body: memoryview, codec: Codec, facts: Facts
    ) -> tuple[Form, dict[str, Array]]:
        run = self._offload.run
        if facts.encoding:
            body = await self._expanded(budget, body, facts.encoding)
        text = body if facts.length is None else body[: facts.length]
        taken = await run(json_data.weight, text) if len(text) > OFFLOAD_JSON else 0
        budget.take(taken, "its JSON")
        form = await run(codec.form, body, facts.length)
        budget.take(forms.strings_weight(form), "its strings")
        tensors = await run(feeds, form, body, facts.length)
        budget.take(min(0, _held(form, tensors) - taken), "its tensors")
        return form, tensors

    async def _expanded(self, budget: "_Budget", body: memoryview, encoding: bytes) -> memoryview:
        most = compression.most(len(body), self._max_body)
        budget.take(most, "what it expands to")
        expanded = await self._offload.run(compression.expand, body, encoding, self._max_body)
        budget.take((0 if expanded is body else len(expanded)) - most, "what it expands to")
        return expanded


class Unsent:
    """Room for answers before they are made, on the threads that make them: JSON is many times larger than its tensor.

    Args:
        loop: the event loop, whose thread alone may charge.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()

    def take(self, exchange: Exchange, count: int, limit: int) -> None:
        """Takes so many bytes for the answer, of at most `limit`, until it is sent.

        Raises:
            TooLarge: there could never be room for it.
            Shed: there is no room for it now.
        """
        if count <= OFFLOAD_ANSWER:
            return
        if count > limit:
            raise TooLarge(
                f"the answer may take {count} bytes, and answers may hold {limit}: ask for binary data "
                "(binary_data_output), for fewer rows or outputs, or give the pod more memory (resources.memory, "
                "--memory, --max-body-memory)"
            )
        here = threading.get_ident() == self._thread
        if not (exchange.charge(count) if here else self._charged(exchange, count)):
            raise Shed("there is no room for the answer (--max-body-memory)", cause="memory", retry_after_s=RETRY_S)

    def _charged(self, exchange: Exchange, count: int) -> bool:
        found: Future[bool] = Future()
        self._loop.call_soon_threadsafe(lambda: found.set_result(exchange.charge(count)))
        return found.result()


class _Gone(Exception):
    """The client has hung up: of what it sent nothing more is made."""


class _Budget:
    """What one request takes of the memory for bodies."""

    def __init__(self, exchange: Exchange, limit: int) -> None:
        self._exchange = exchange
        self._limit = limit
        self._held = len(exchange.body)

    def take(self, count: int, what: str) -> None:
        """Takes so many bytes for `what`, gives back where negative."""
        if not self._exchange.alive():
            raise _Gone
        self._held += count
        if self._held > self._limit:
            takes = f"with {what} it takes {self._held} bytes of memory"
            raise TooLarge(f"{takes}: bodies may hold {self._limit} (--max-body-memory, --memory)")
        if not self._exchange.charge(count):
            raise Shed(f"there is no room for {what} (--max-body-memory)", cause="memory", retry_after_s=RETRY_S)


def _held(form: Form, tensors: dict[str, Array]) -> int:
    """Bytes of the tensors that don't lie in the body."""
    arrays = (tensors[part.name] for part in form.parts if part.size is None)
    return sum(array.nbytes + (forms.STRING_BYTES * array.size if array.dtype.hasobject else 0) for array in arrays)
