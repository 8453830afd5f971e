"""Whether the rows of a batch know of each other: only where they don't may requests be cut and joined.

Blocking. Measured on made-up inputs, not proved: see docs/decisions/0013-row-independence-is-measured.md.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from corefit_runtime.datatypes import Array
from corefit_runtime.engine import Engine, Tensors, TensorSpec
from corefit_runtime.probes import SIZES, uneven

ROWS: Final = len(SIZES)
FLOAT_NOISE: Final = 1e-3
"""Relative to a row's largest value: kernels for other row counts sum in another order (1e-6 in FP32, 1e-3 FP16)."""
Outputs = Sequence[Array]


def row_independence(engine: Engine, free_size: int) -> tuple[bool, str]:
    """Runs a batch whole and row by row, its rows of very different size, and compares; says what it found.

    Different sizes, since a model that quantises its activations over the batch shows by them: the scale that
    fits the largest row rounds the smallest to nothing. Where integers of different size are refused, as indices into
    a table mostly are, the batch is run in another order of its rows as well.
    """
    fixed = [s.name for s in (*engine.inputs, *engine.outputs) if not s.shape or s.shape[0] != -1]
    if fixed:
        return False, f"{fixed[0]} has no free leading dimension"
    try:
        changed = _changed(engine, free_size)
    except Exception as error:  # noqa: BLE001 - whatever it says, such a model can't be cut
        return False, f"a batch of {ROWS} does not run: {_first_line(error)}"
    return not changed, changed or "whole and row by row, a batch gave the same answers"


def _changed(engine: Engine, free_size: int) -> str:
    """What of an answer depends on the rows beside it; empty when nothing does."""
    feeds = uneven(engine.inputs, free_size, numbers=True)
    try:
        whole = engine.run(None, feeds)
    except Exception:  # noqa: BLE001 - whatever it says: the next feeds show whether it was the numbers
        feeds = uneven(engine.inputs, free_size, numbers=False)
        whole = engine.run(None, feeds)
        return _row_by_row(engine, feeds, whole) or _backwards(engine, feeds, whole)
    return _row_by_row(engine, feeds, whole)


def _row_by_row(engine: Engine, feeds: Tensors, whole: Outputs) -> str:
    runs = [engine.run(None, {name: array[i : i + 1] for name, array in feeds.items()}) for i in range(ROWS)]
    return _compared(engine.outputs, whole, list(zip(*runs, strict=True)))


def _backwards(engine: Engine, feeds: Tensors, whole: Outputs) -> str:
    turned = engine.run(None, {name: array[::-1].copy() for name, array in feeds.items()})
    return _compared(engine.outputs, whole, [tuple(array[::-1, np.newaxis]) for array in turned])


def _compared(specs: Sequence[TensorSpec], whole: Outputs, rows: Sequence[tuple[Array, ...]]) -> str:
    """What differs between outputs of the whole batch and those of its rows; empty when nothing does."""
    for spec, batch, alone in zip(specs, whole, rows, strict=True):
        if [array.shape[:1] for array in (batch, *alone)] != [(ROWS,), *[(1,)] * ROWS]:
            return f"{spec.name} does not have a row for each row of the input"
        if any(array.shape[1:] != batch.shape[1:] for array in alone):
            return f"the shape of a row of {spec.name} depends on the rows beside it"
        difference = _difference(batch, np.concatenate(alone))
        if difference > FLOAT_NOISE:
            return f"{spec.name} of a row changes by {difference:.1e} with the rows beside it"
    return ""


def _difference(whole: Array, pieces: Array) -> float:
    """The largest difference, relative to the largest value of the row that it is in; inf where they can't match."""
    if whole.dtype.kind != "f":
        return 0.0 if np.array_equal(whole, pieces) else math.inf
    a, b = (x.reshape(x.shape[0], -1).astype(np.float64) for x in (whole, pieces))
    if a.size == 0:
        return 0.0
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    scale = np.maximum(np.abs(np.where(np.isfinite(a), a, 0.0)).max(axis=1, keepdims=True), 1e-12)
    gap = np.abs(np.where(same, 0.0, a) - np.where(same, 0.0, b)) / scale
    return math.inf if np.isnan(gap).any() else float(gap.max())


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
