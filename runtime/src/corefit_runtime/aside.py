"""Parsing of what would hold the event loop, within the memory for bodies: what it takes is charged before it is taken.

A body is charged while it is read; what is made of it may be many times larger: gzip expands a thousandfold, a JSON
number of two bytes is an object of 40.
"""

from typing import Final

from corefit_core.errors import Shed, TooLarge
from corefit_runtime import compression, forms, json_data, protocol
from corefit_runtime.datatypes import Array
from corefit_runtime.facts import Facts
from corefit_runtime.forms import Form
from corefit_runtime.http_exchange import Exchange
from corefit_runtime.offload import Offload
from corefit_runtime.protocol import Codec

OFFLOAD_JSON: Final = 131_072
"""Bytes of JSON above which it is parsed off the loop: at 150 to 300 MB/s that is 0.5 to 1 ms. What smaller ones take
isn't charged: it is 2 MiB at most, and one at a time."""
RETRY_S: Final = 1.0


class Aside:
    """See the module.

    Args:
        offload: where it is done.
        max_body: bytes that a body may expand to.
        max_memory: bytes that all bodies, and what is made of them, may hold.
    """

    def __init__(self, offload: Offload, max_body: int, max_memory: int) -> None:
        self._offload = offload
        self._max_body = max_body
        self._max_memory = max_memory

    async def parse(self, exchange: Exchange, codec: Codec, facts: Facts) -> tuple[Form, dict[str, Array]] | None:
        """The request's form and tensors; None when its client has gone meanwhile.

        Raises:
            InvalidInput: naming what is wrong with it.
            TooLarge: it expands to more than a body may have, or there could never be room for what it takes.
            Shed: there is no room for it now.
        """
        offload = self._offload
        async with offload.turn:
            if not exchange.alive():
                return None
            body = await self._expanded(exchange, facts.encoding)
            text = body if facts.length is None else body[: facts.length]
            taken = 0
            if len(text) > OFFLOAD_JSON:
                taken = self._charge(exchange, await offload.run(json_data.weight, text), "its JSON")
            form = await offload.run(codec.form, body, facts.length)
            self._charge(exchange, forms.strings_weight(form), "its strings")
            tensors = await offload.run(protocol.feeds, form, body, facts.length)
            exchange.charge(min(0, _held(form, tensors) - taken))
            return (form, tensors) if exchange.alive() else None

    async def _expanded(self, exchange: Exchange, encoding: bytes) -> memoryview:
        if not encoding:
            return exchange.body
        most = compression.most(len(exchange.body), self._max_body)
        self._charge(exchange, most, "what it expands to")
        body = await self._offload.run(compression.expand, exchange.body, encoding, self._max_body)
        exchange.charge((0 if body is exchange.body else len(body)) - most)
        return body

    def _charge(self, exchange: Exchange, count: int, what: str) -> int:
        if count + len(exchange.body) > self._max_memory:
            raise TooLarge(f"{what} may take {count} bytes of memory: over --max-body-memory {self._max_memory}")
        if exchange.alive() and not exchange.charge(count):
            raise Shed(f"no room for {what} (--max-body-memory)", cause="memory", retry_after_s=RETRY_S)
        return count


def _held(form: Form, tensors: dict[str, Array]) -> int:
    """Bytes of the tensors that don't lie in the body."""
    arrays = (tensors[part.name] for part in form.parts if part.size is None)
    return sum(array.nbytes + (forms.STRING_BYTES * array.size if array.dtype.hasobject else 0) for array in arrays)
