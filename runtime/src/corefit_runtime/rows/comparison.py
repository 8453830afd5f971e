"""Whether outputs of rows in a batch and of the same rows alone are the same."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from corefit_runtime.tensors.datatypes import Array

FLOAT_NOISE: Final = 1e-3
"""Relative to a row's largest value: kernels for other row counts sum in another order (1e-6 in FP32, 1e-3 FP16)."""
Outputs = Sequence[Array]


def compared(names: Sequence[str], whole: Outputs, alone: Outputs) -> str:
    """What differs between outputs of rows in a batch and of the same rows alone; empty when nothing does."""
    for name, batch, single in zip(names, whole, alone, strict=True):
        if batch.shape[:1] != single.shape[:1]:
            return f"{name} does not have a row for each row of the input"
        if batch.shape != single.shape:
            return f"the shape of a row of {name} depends on the rows beside it"
        found = difference(batch, single)
        if found > FLOAT_NOISE:
            return f"{name} of a row changes by {found:.1e} with the rows beside it"
    return ""


def difference(whole: Array, pieces: Array) -> float:
    """The largest difference, relative to the largest value of the row that it is in; inf where they can't match."""
    if whole.dtype.kind != "f":
        return 0.0 if np.array_equal(whole, pieces) else math.inf
    if whole.size == 0:
        return 0.0
    a, b = (x.reshape(x.shape[0], -1).astype(np.float64) for x in (whole, pieces))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    scale = np.maximum(np.abs(np.where(np.isfinite(a), a, 0.0)).max(axis=1, keepdims=True), 1e-12)
    gap = np.abs(np.where(same, 0.0, a) - np.where(same, 0.0, b)) / scale
    return math.inf if np.isnan(gap).any() else float(gap.max())
