"""The memory of large outputs: charged before it is taken, and until nobody looks at it any more. From any thread."""

import sys
import threading
import weakref
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import numpy as np

from corefit_core.errors import Shed, TooLarge
from corefit_core.figures import figure
from corefit_runtime.memory.reserve import room

Array = np.ndarray[Any, Any]
SMALL: Final = 65_536
"""Bytes of an output up to which it is not charged: to copy and to charge more takes 5 us and longer."""
WAIT_S: Final = 1.0
"""Seconds that an output waits for others to be sent. A loopback takes 100 MB in a tenth of one."""
MIB: Final = 1 << 20


class OutputMemory:
    """See the module. What refers to an output, a slice of it or a response, keeps its charge.

    Args:
        limit: bytes; None: there is no limit, nothing is copied or charged.

    Attributes:
        held: bytes.
        runs_lack: whether a run has found no memory. From then on small outputs leave the memory of runs as well: one
            of them keeps the block around it from a large run.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.held = 0
        self.runs_lack = False
        self._charges: dict[int, tuple[weakref.ref[Array], int]] = {}  # By the array's identity.
        self._stuck = False  # Nothing was sent while one waited: while clients don't read, no worker waits for them.
        # An array may end in the middle of what this thread does under the lock.
        self._changed = threading.Condition(threading.RLock())

    def kept(self, outputs: list[Array]) -> list[Array]:
        """The outputs of a run, of which the large ones don't lie in the memory of runs any more, but are charged.

        Raises:
            TooLarge: there could never be room for them.
            Shed: there is none now.
        """
        if self.limit is None:
            return outputs
        sizes = [_charge(output) for output in outputs]
        if not any(sizes):
            return list(map(_own, outputs)) if self.runs_lack else outputs
        left = sum(sizes)
        self._take(left)
        kept = []
        try:
            for output, size in zip(outputs, sizes, strict=True):
                kept.append(self._charged(_own(output), size))
                left -= size
        finally:
            self._release(left)
        return kept

    def placed(self, output: Array, whole: Array) -> None:
        """Strings are part of an output for which there was room; raises as `kept`."""
        if self.limit is not None and output.dtype.hasobject:
            size = _strings(output)
            self._take(size)
            self._charged(whole, size)

    def room(self, outputs: list[Array], count: int, rows: int) -> list[Array]:
        """Room for outputs of so many rows, of which these are `count`; raises as `kept`."""
        shapes = [(rows, *output.shape[1:]) for output in outputs]
        sizes = [output.nbytes // count * rows for output in outputs]
        whole = [np.empty(shape, output.dtype) for shape, output in zip(shapes, outputs, strict=True)]
        if self.limit is not None:
            self._take(sum(size for size in sizes if size > SMALL))
            whole = [self._charged(array, array.nbytes if array.nbytes > SMALL else 0) for array in whole]
        return whole

    def charged(self, pieces: Iterable[bytes | memoryview]) -> int:
        """Bytes of an answer that lie in outputs which are charged here."""
        return sum(len(piece) for piece in pieces if id(_owner(piece)) in self._charges)

    def _take(self, count: int) -> None:
        most = room(self.limit or 0, count)
        if count > most:
            raise TooLarge(_too_large(count, most))
        on_loop = threading.current_thread() is threading.main_thread()  # Which must not wait, and frees by going on.
        with self._changed:
            wait_s = 0 if on_loop or self._stuck else WAIT_S
            if not self._changed.wait_for(lambda: self.held + count <= most, wait_s):
                self._stuck = self._stuck or wait_s > 0
                raise Shed("answers of other requests leave no memory for this one", cause="memory", retry_after_s=1.0)
            self.held += count

    def _charged(self, array: Array, count: int) -> Array:
        """The array, for which so many bytes were taken: it gives them back when it ends."""
        if count:
            with self._changed:
                key = id(array)
                known = self._charges.get(key)
                # Not `weakref.finalize`, which takes 15 us.
                ended = known[0] if known else weakref.ref(array, partial(self._ended, key))
                self._charges[key] = ended, count + (known[1] if known else 0)
        return array

    def _ended(self, key: int, _: object) -> None:
        with self._changed:
            self._release(self._charges.pop(key)[1])

    def _release(self, count: int) -> None:
        if count:
            with self._changed:
                self.held -= count
                self._stuck = False
                self._changed.notify_all()


def _own(output: Array) -> Array:
    """The output outside of the memory of runs. One that is an input of the model is a copy already."""
    return output if output.flags.owndata else output.copy()


def _owner(piece: bytes | memoryview) -> object:
    """The array in which a piece of an answer lies."""
    found: object = piece.obj if isinstance(piece, memoryview) else piece
    while isinstance(found, np.ndarray) and found.base is not None:
        found = found.base
    return found


def _charge(output: Array) -> int:
    """Bytes that an output is charged with: none where it is small."""
    size = output.nbytes + (_strings(output) if output.dtype.hasobject else 0)
    return size if size > SMALL else 0


def _strings(output: Array) -> int:
    return sum(map(sys.getsizeof, output.ravel().tolist()))


def _too_large(count: int, limit: int) -> str:
    return (
        f"the outputs of this request take {figure(count / MIB)} MiB, and there are {figure(limit / MIB)} MiB for "
        "outputs: send fewer rows, ask for fewer outputs, or give the pod more memory (resources.memory, --memory)"
    )
