"""The classification extension of the protocol (KServe and Triton: docs/protocol/extension_classification.md).

An output that is asked for with the parameter `classification` of N comes as its N highest values, each a string
"value:index". May not know messages.
"""

from typing import Final

import numpy as np

from corefit_core.errors import InvalidInput
from corefit_core.text import shown
from corefit_runtime.tensors.datatypes import NUMPY, Array

STRING_BYTES: Final = 480
"""Of a string "value:index" and of its text: a value of 1e308 has 309 digits before the point."""


def count(value: object, datatype: str, what: str) -> int:
    """How many classes the parameter asks for; 0 for none.

    Raises:
        InvalidInput: it is no positive number, or the output has no numbers to be compared.
    """
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInput(f"parameter 'classification' of {what} is {shown(value)}; it must be a positive integer")
    if NUMPY[datatype].kind not in "fiu":
        raise InvalidInput(f"{what} is {datatype}: classification needs numbers")
    return value


def weight(array: Array, classes: int) -> int:
    """Bytes that `highest` takes at most, with its strings as text: of each element three numbers."""
    rows = len(array) if array.ndim > 1 else 1
    return 24 * array.size + STRING_BYTES * min(array.size, rows * classes)


def highest(array: Array, classes: int) -> Array:
    """The highest values as strings, highest first; of two that are equal the one that stands first.

    Args:
        array: of shape [rows, ...]: each row has classes of its own; of fewer dimensions: all of it is one row.
        classes: how many at most.

    Returns:
        Strings of shape [rows, N], or [N] where `array` is one row.
    """
    if not array.size:  # However many rows that is, nobody goes through them.
        return np.empty((array.shape[0], 0) if array.ndim > 1 else 0, np.object_)
    rows = array.reshape(array.shape[0], -1) if array.ndim > 1 else array.reshape(1, -1)
    order = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :classes]
    found = np.empty(order.shape, np.object_)
    for row, indices in enumerate(order):
        found[row] = [f"{float(rows[row, index]):f}:{index}" for index in indices]
    return found if array.ndim > 1 else found[0]
