"""Measures whether the rows of a batch are independent: only then may requests be cut and joined.

Blocking, on inputs that are made up or that the user gives. It finds what a graph's proof (`rows.analysis`) can't: a
kernel that takes another way for more rows. See docs/decisions/0080-rows-are-proved-measured-and-checked.md.
"""

from collections.abc import Iterator
from typing import Final

from corefit_runtime.calibration.synthetic_inputs import SIZES, special, uneven
from corefit_runtime.engine.types import Engine
from corefit_runtime.rows.comparison import Outputs, compared
from corefit_runtime.tensors.tensor_spec import Tensors

ROWS: Final = len(SIZES)
VERSION: Final = 3
"""Of this search. Raise it with each change of what is tried, so that pods do not believe what an older search kept."""
SHOWN: Final = "whole and row by row, a batch gave the same answers"


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
