"""The memory of large outputs: charged before it is taken, and until nobody looks at it any more. From any thread."""

import sys
import threading
import weakref
from typing import Any, Final

import numpy as np

from corefit_core.errors import Shed, TooLarge
from corefit_core.figures import figure

Array = np.ndarray[Any, Any]
SMALL: Final = 65_536
"""Bytes of an output up to which it is not charged: to copy and to charge more takes 5 us and longer."""
MEDIUM: Final = 1 << 20
RESERVED: Final = 16
"""Of the memory, larger outputs leave a sixteenth to those up to 1 MiB: clients that don't read have no more of it."""
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
        self._charges: dict[int, tuple[weakref.ref[Array], int]] = {}
        self._stuck = False  # Nothing was sent while one waited: while clients don't read, no worker waits for them.
        # An array may end in the middle of what this thread does under the lock.
        self._changed = threading.Condition(threading.RLock())

    def kept(self, outputs: list[Array]) -> list[Array]:
        """The outputs of a run, of which the large ones don't lie in the memory of runs any more.

        Raises:
            TooLarge: there could never be room for them.
            Shed: there is none now.
        """
        if self.limit is None:
            return outputs
        sizes = [_charge(output) for output in outputs]
        if not any(sizes):
            return [output.copy() for output in outputs] if self.runs_lack else outputs
        self._take(sum(sizes))
        return [
            self._charged(output if output.dtype.hasobject else output.copy(), size) if size else output.copy()
            for output, size in zip(outputs, sizes, strict=True)
        ]

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
            whole = [self._charged(array, array.nbytes) if array.nbytes > SMALL else array for array in whole]
        return whole

    def charged(self, outputs: list[Array]) -> int:
        """Bytes of these outputs that are charged here."""
        return 0 if self.limit is None else sum(output.nbytes for output in outputs if output.nbytes > SMALL)

    def _take(self, count: int) -> None:
        most = self.limit or 0
        if count > MEDIUM:
            most -= most // RESERVED
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
        ended = weakref.ref(array, self._give_back)  # Not `weakref.finalize`, which takes 15 us.
        self._charges[id(ended)] = ended, count
        return array

    def _give_back(self, ended: "weakref.ref[Array]") -> None:
        with self._changed:
            self.held -= self._charges.pop(id(ended))[1]
            self._stuck = False
            self._changed.notify_all()


def _charge(output: Array) -> int:
    """Bytes that an output is charged with: none where it is small."""
    inside = not output.flags.owndata
    size = output.nbytes + _strings(output) if output.dtype.hasobject else inside * output.nbytes
    return size if size > SMALL else 0


def _strings(output: Array) -> int:
    return sum(map(sys.getsizeof, output.ravel().tolist()))


def _too_large(count: int, limit: int) -> str:
    return (
        f"the outputs of this request take {figure(count / MIB)} MiB, and there are {figure(limit / MIB)} MiB for "
        "outputs: send fewer rows, ask for fewer outputs, or give the pod more memory (resources.memory, --memory)"
    )
