"""Memory for bodies, aligned for the tensors that are made from it, and used again once nobody looks at it.

Beside a model that fills the caches, a fresh block costs 40 us of CPU: malloc, numpy and the address of it.
"""

import sys
from typing import Any, Final

import numpy as np

ALIGN: Final = 64
"""Tensor data starts on a cache line: no kernel meets a split load, and none has to copy."""
KEPT: Final = 8
KEPT_BYTES: Final = 4 << 20
"""Eight blocks of at most 4 MiB: what the heap would keep of such bodies anyway."""


class BufferPool:
    """Gives out memory that nobody has to give back: whoever looks at it, tensor or response, refers to its block.

    Args:
        unused: references to a block that nobody uses; as measured on this interpreter.
    """

    def __init__(self, unused: int | None = None) -> None:
        self._unused = _UNUSED if unused is None else unused
        self._kept: list[tuple[np.ndarray[Any, Any], int]] = []

    def __call__(self, length: int, offset: int) -> memoryview:
        """Room for `length` bytes, uninitialised, of which byte `offset` lies on a cache line."""
        for block, address in self._kept:
            if block.nbytes == length + ALIGN and sys.getrefcount(block) == self._unused:
                return _aligned(block, address, length, offset)
        made: np.ndarray[Any, Any] = np.empty(length + ALIGN, np.uint8)
        address = made.__array_interface__["data"][0]
        if made.nbytes <= KEPT_BYTES:
            del self._kept[: len(self._kept) + 1 - KEPT]  # the oldest; whoever uses it keeps it alive
            self._kept.append((made, address))
        return _aligned(made, address, length, offset)


def _aligned(block: "np.ndarray[Any, Any]", address: int, length: int, offset: int) -> memoryview:
    start = -(address + offset) % ALIGN
    return block.data[start : start + length]


def _measured() -> int:
    """At how many references an unused block is given out again, and so is one; 0, so that none ever is, if at none.

    The list's tuple and the loop's variable refer to it, and what calls getrefcount does, or borrows: from Python 3.14
    on that is the compiler's choice (cpython#130708), and a count too high would give out a block that is in use.
    """
    for references in range(1, 8):
        buffers = BufferPool(references)
        for _ in range(2):
            buffers(1, 0)
        if len(buffers._kept) == 1:  # noqa: SLF001 - the class is this module's
            return references
    return 0


_UNUSED: Final = _measured()
