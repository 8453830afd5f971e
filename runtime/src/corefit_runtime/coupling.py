"""Whether the rows of a batch know of each other, measured: only where they don't may requests be cut and joined.

Blocking, on inputs that are made up or that the user gives. It finds what a graph's proof (`row_analysis`) can't: a
kernel that takes another way for more rows. See docs/decisions/0080-rows-are-proved-measured-and-checked.md.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from corefit_runtime.datatypes import Array
from corefit_runtime.engine import Engine, Tensors
from corefit_runtime.probes import SIZES, special, uneven

ROWS: Final = len(SIZES)
FLOAT_NOISE: Final = 1e-3
"""Relative to a row's largest value: kernels for other row counts sum in another order (1e-6 in FP32, 1e-3 FP16)."""
SHOWN: Final = "whole and row by row, a batch gave the same answers"
Outputs = Sequence[Array]


def row_independence(engine: Engine, free_size: int, samples: Tensors | None = None) -> tuple[bool, str]:
    """Runs batches whole and row by row, and compares; says what it found.

    Args:
        engine: of the model.
        free_size: what stands for free dimensions.
        samples: inputs that the user gave, of any number of rows.
    """
    fixed = [s.name for s in (*engine.inputs, *engine.outputs) if not s.shape or s.shape[0] != -1]
    if fixed:
        return False, f"{fixed[0]} has no free leading dimension"
    try:
        changed = _changed(engine, free_size)
        for feeds in _further(engine, free_size, samples) if not changed else ():
            changed = changed or _tried(engine, feeds)
    except Exception as error:  # noqa: BLE001 - whatever it says, such a model can't be cut
        return False, f"a batch of {ROWS} does not run: {_first_line(error)}"
    return not changed, changed or SHOWN


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


def _changed(engine: Engine, free_size: int) -> str:
    """What of an answer depends on the rows beside it, by rows of very different size; empty when nothing does.

    A model that quantises its activations over the batch shows by them: the scale that fits the largest row rounds the
    smallest to nothing. Where integers of different size are refused, as indices into a table mostly are, the batch
    is run in another order of its rows as well.
    """
    feeds = uneven(engine.inputs, free_size, numbers=True)
    try:
        whole = engine.run(None, feeds)
    except Exception:  # noqa: BLE001 - whatever it says: the next feeds show whether it was the numbers
        feeds = uneven(engine.inputs, free_size, numbers=False)
        whole = engine.run(None, feeds)
        return _row_by_row(engine, feeds, whole) or _backwards(engine, feeds, whole)
    return _row_by_row(engine, feeds, whole)


def _further(engine: Engine, free_size: int, samples: Tensors | None) -> Iterator[Tensors]:
    """What filters react to, in all inputs at once and in each by itself; and what the user gave."""
    names = [spec.name for spec in engine.inputs]
    yield special(engine.inputs, free_size, names)
    if len(names) > 1:
        for name in names[:4]:
            yield special(engine.inputs, free_size, [name])
    if samples is not None:
        count = min(len(array) for array in samples.values())
        yield {name: array[[i % count for i in range(ROWS)]] for name, array in samples.items()}


def _tried(engine: Engine, feeds: Tensors) -> str:
    """As `_row_by_row`; inputs that the model refuses show nothing."""
    try:
        whole = engine.run(None, feeds)
    except Exception:  # noqa: BLE001 - in service each request of such a batch is run alone
        return ""
    return _row_by_row(engine, feeds, whole)


def _row_by_row(engine: Engine, feeds: Tensors, whole: Outputs) -> str:
    names = [spec.name for spec in engine.outputs]
    for name, array in zip(names, whole, strict=True):
        if array.shape[:1] != (ROWS,):
            return f"{name} does not have a row for each row of the input"
    for i in range(ROWS):
        alone = engine.run(None, {name: array[i : i + 1] for name, array in feeds.items()})
        changed = compared(names, [array[i : i + 1] for array in whole], alone)
        if changed:
            return changed
    return ""


def _backwards(engine: Engine, feeds: Tensors, whole: Outputs) -> str:
    turned = engine.run(None, {name: array[::-1].copy() for name, array in feeds.items()})
    return compared([spec.name for spec in engine.outputs], whole, [array[::-1] for array in turned])


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
