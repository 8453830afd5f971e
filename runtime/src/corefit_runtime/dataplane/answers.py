"""Charges the memory of an answer before a worker makes it: JSON is many times larger than its tensor."""

import asyncio
import threading
from concurrent.futures import Future
from typing import Final

from corefit_core.errors import Shed, TooLarge
from corefit_runtime.dataplane.request import RETRY_S, Caller
from corefit_runtime.memory.reserve import room

UNCHARGED: Final = 1 << 20
"""Bytes that an answer may take uncharged while it is made: each worker makes one at a time."""


class AnswerMemory:
    """See the module.

    Args:
        loop: the event loop, whose thread alone may charge.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()

    def take(self, caller: Caller, count: int, limit: int) -> None:
        """Takes so many bytes for the answer, of at most `limit` that all share, until it is sent.

        Raises:
            TooLarge: there could never be room for it.
            Shed: there is no room for it now.
        """
        if count <= UNCHARGED:
            return
        whole = caller.held + count  # Until the answer is there, the request is.
        if whole > (most := room(limit, whole)):
            raise TooLarge(
                f"with its answer the request may take {whole} bytes, and it may hold {most}: ask for binary data "
                "(binary_data_output), for fewer rows or outputs, or give the pod more memory (resources.memory, "
                "--memory, --max-body-memory)"
            )
        here = threading.get_ident() == self._thread
        if not (caller.charge(count) if here else self._charged(caller, count)):
            raise Shed("there is no room for the answer (--max-body-memory)", cause="memory", retry_after_s=RETRY_S)

    def _charged(self, caller: Caller, count: int) -> bool:
        found: Future[bool] = Future()
        self._loop.call_soon_threadsafe(lambda: found.set_result(caller.charge(count)))
        return found.result()
