"""Decodes large requests off the event loop, and charges the memory that it takes before it takes it.

A body is charged while it is read; what is made of it may be many times larger: gzip expands a thousandfold, a JSON
number of two bytes is an object of 40.
"""

from typing import Final

from corefit_core.errors import Shed, TooLarge
from corefit_runtime.concurrency.offload import Offload
from corefit_runtime.dataplane.request import RETRY_S, Caller, Coding, InferenceRequest
from corefit_runtime.protocol import codec as oip
from corefit_runtime.protocol import forms, json_data
from corefit_runtime.protocol.codec import Codec
from corefit_runtime.protocol.forms import Form
from corefit_runtime.tensors.datatypes import Array

OFFLOAD_JSON: Final = 131_072
"""Bytes of JSON above which it is parsed off the loop: at 150 to 300 MB/s that is 0.5 to 1 ms. What smaller ones take
isn't charged: it is 2 MiB at most, and one at a time."""
Decoded = tuple[Form, dict[str, Array]]


class Decoder:
    """See the module.

    Args:
        offload: where it is done.
        max_body: bytes that a body may expand to.
        max_memory: bytes that all bodies, and what is made of them, may hold.

    Attributes:
        max_memory: the same; whoever bounds the memory for bodies anew sets it.
    """

    def __init__(self, offload: Offload, max_body: int, max_memory: int) -> None:
        self._offload = offload
        self._max_body = max_body
        self.max_memory = max_memory

    async def decode(self, request: InferenceRequest, codec: Codec) -> Decoded | None:
        """The request's form and tensors; None when its caller has gone meanwhile.

        Raises:
            InvalidInput: naming what is wrong with it.
            TooLarge: it expands to more than a body may have, or there could never be room for what it takes.
            Shed: there is no room for it now.
        """
        async with self._offload.turn:
            try:
                return await self._decoded(_Budget(request.caller, self.max_memory), request, codec)
            except _Gone:
                return None

    async def _decoded(self, budget: "_Budget", request: InferenceRequest, codec: Codec) -> Decoded:
        run, body, length = self._offload.run, request.caller.body, request.json_length
        if request.coding is not None:
            body = await self._expanded(budget, body, request.coding)
        text = body if length is None else body[:length]
        taken = await run(json_data.weight, text) if len(text) > OFFLOAD_JSON else 0
        budget.take(taken, "its JSON")
        form = await run(codec.form, body, length)
        budget.take(forms.strings_weight(form), "its strings")
        tensors = await run(oip.feeds, form, body, length)
        budget.take(min(0, _held(form, tensors) - taken), "its tensors")
        return form, tensors

    async def _expanded(self, budget: "_Budget", body: memoryview, coding: Coding) -> memoryview:
        most = coding.most(len(body), self._max_body)
        budget.take(most, "what it expands to")
        expanded = await self._offload.run(coding.expand, body, self._max_body)
        budget.take((0 if expanded is body else len(expanded)) - most, "what it expands to")
        return expanded


class _Gone(Exception):
    """The caller has gone: of what it sent nothing more is made."""


class _Budget:
    """What one request takes of the memory for bodies."""

    def __init__(self, caller: Caller, limit: int) -> None:
        self._caller = caller
        self._limit = limit
        self._held = len(caller.body)

    def take(self, count: int, what: str) -> None:
        """Takes so many bytes for `what`, gives back where negative."""
        if not self._caller.alive():
            raise _Gone
        self._held += count
        if self._held > self._limit:
            takes = f"with {what} it takes {self._held} bytes of memory"
            raise TooLarge(f"{takes}: bodies may hold {self._limit} (--max-body-memory, --memory)")
        if not self._caller.charge(count):
            raise Shed(f"there is no room for {what} (--max-body-memory)", cause="memory", retry_after_s=RETRY_S)


def _held(form: Form, tensors: dict[str, Array]) -> int:
    """Bytes of the tensors that don't lie in the body."""
    arrays = (tensors[part.name] for part in form.parts if part.size is None)
    return sum(array.nbytes + (forms.STRING_BYTES * array.size if array.dtype.hasobject else 0) for array in arrays)
