"""Decodes large requests off the event loop, and charges the memory that it takes before it takes it.

A body is charged while it is read; what is made of it may be many times larger: gzip expands a thousandfold, a JSON
number of two bytes is an object of 40.
"""

import sys
from typing import Final

from corefit_core.errors import Shed, TooLarge
from corefit_runtime.concurrency.offload import Offload
from corefit_runtime.dataplane.request import RETRY_S, Caller, Coding, EncodedRequest
from corefit_runtime.memory.reserve import room
from corefit_runtime.protocol import codec as oip
from corefit_runtime.protocol import forms, json_data
from corefit_runtime.protocol.codec import Codec
from corefit_runtime.protocol.forms import Form
from corefit_runtime.tensors.datatypes import Array
from corefit_runtime.tensors.strings import Strings

OFFLOAD_JSON: Final = 131_072
"""Bytes of JSON above which it is parsed off the loop: at 150 to 300 MB/s that is 0.5 to 1 ms. What smaller ones take
while they are parsed isn't charged: it is a few MiB at most, and one at a time. What is made of them is."""
SMALL: Final = 4096
"""Bytes of a body without strings up to which its tensors are not charged: 16 KiB at most, and to do so costs 3 us."""
LABEL: Final = 128
"""Memory of a string of 64 bytes, such as the name of a class, in onnxruntime or as an object."""
REPEATED: Final = 192
"""Memory of the largest string that a model gets which may repeat it as often as a request says: 128 characters."""
TOO_LONG: Final = (
    "{} has a string of more than 128 characters (of 2 or 4 bytes: fewer). This model repeats strings, so that a few "
    "could take all memory: send shorter ones"
)
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

    async def decode(self, request: EncodedRequest, codec: Codec) -> Decoded | None:
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

    def decode_here(self, request: EncodedRequest, form: Form, strings: Strings) -> dict[str, Array]:
        """The tensors of a request that are made in no time, on the event loop; raises as `decode`."""
        body = request.caller.body
        tensors = oip.feeds(form, body, request.json_length)
        views = len(body) <= SMALL or (form.views and request.aligned)
        if not views or strings.labels or strings.copies:
            _Budget(request.caller, self.max_memory).take(held(form, tensors, strings), "its tensors")
        return tensors

    async def _decoded(self, budget: "_Budget", request: EncodedRequest, codec: Codec) -> Decoded:
        run, body, length = self._offload.run, request.caller.body, request.json_length
        if request.coding is not None:
            body = await self._expanded(budget, body, request.coding)
        text = body if length is None else body[:length]
        taken = await run(json_data.weight, text) if len(text) > OFFLOAD_JSON else 0
        budget.take(taken, "its JSON")
        form = await run(codec.form, body, length)
        strings = await run(forms.strings_weight, form, body[len(text) :])
        budget.take(strings, "its strings")
        copied = 0 if form.views and request.aligned else min(len(body), forms.copies_weight(form))
        budget.take(copied, "its tensors")
        tensors = await run(oip.feeds, form, body, length)
        budget.take(await run(held, form, tensors, codec.strings) - taken - strings - copied, "its tensors")
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

    def take(self, count: int, what: str) -> None:
        """Takes so many bytes for `what`, gives back where negative."""
        if not self._caller.alive():
            raise _Gone
        whole = self._caller.held + count
        if whole > (most := room(self._limit, whole)):
            takes = f"with {what} it takes {whole} bytes of memory"
            raise TooLarge(f"{takes}: it may hold {most} (--max-body-memory, --memory)")
        if not self._caller.charge(count):
            raise Shed(f"there is no room for {what} (--max-body-memory)", cause="memory", retry_after_s=RETRY_S)


def held(form: Form, tensors: dict[str, Array], strings: Strings) -> int:
    """Bytes that the tensors hold beside the body, and those that a run makes of strings.

    Raises:
        TooLarge: strings are longer than the model may get.
    """
    rows = form.rows or max((part.shape[0] for part in form.parts if part.shape), default=1)
    found = strings.labels * max(1, rows) * LABEL
    for part in form.parts:
        array = tensors[part.name]
        if array.dtype.hasobject:
            values = array.ravel().tolist()
            if strings.repeated and max(map(sys.getsizeof, values), default=0) > REPEATED:
                raise TooLarge(TOO_LONG.format(part.what))
            copied = sum(map(_in_engine, values)) * strings.copies.get(part.name, 1)
            found += array.nbytes + sum(map(sys.getsizeof, values)) + copied
        elif not isinstance(array.base, memoryview):
            found += array.nbytes
    return found


def _in_engine(value: str) -> int:
    """Bytes that a string takes in onnxruntime: an object of 32 bytes, and as UTF-8 at most twice what it has here."""
    size = sys.getsizeof(value)
    return size if value.isascii() else 2 * size
