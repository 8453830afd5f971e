"""Rules of Reshape and Flatten: elements keep their order, and each row its own. See `rows.rules`."""

from collections.abc import Sequence
from dataclasses import replace

from corefit_runtime.rows.types import ROWS, Dims, Known, MixedError, Op, Result, Size


def reshape(op: Op) -> Result:
    """The same elements in the same order: the rows stay apart where they are the outermost axis before and after."""
    x, target = op.require(0), op.shape(1)
    if x.axis is None and x.fixed:
        return _fixed_reshape(x, target)
    x, axis, dims = op.rows()
    if (op.integer("allowzero", 0) and 0 in target) or any(isinstance(each, str) for each in target[1:]):
        raise MixedError
    if axis > 0:
        if any(target[i : i + 1] != (0,) for i in range(axis + 1)):
            raise MixedError
        return x.with_dims(_sizes(target, dims))
    if not target:
        raise MixedError
    lead = target[0]
    sizes = _sizes(target, dims)
    if lead == ROWS:
        return replace(x.with_dims(_inferred(sizes, dims, target)), exact=True)
    if lead == 0:
        return x.with_dims(_inferred(sizes, dims, target))
    if lead != -1:
        raise MixedError
    return _as_many_as_fit(op, x, dims, sizes)


def _as_many_as_fit(op: Op, x: Known, dims: Dims, sizes: Dims) -> Known:
    """A leading -1. With one row it has to come out even, so that each row has the same number of whole parts."""
    inner, outer = _product(dims[1:]), _product(sizes[1:])
    if inner is not None and outer is not None:
        if outer == 0 or inner % outer:
            raise MixedError
        return replace(x.with_dims(sizes), exact=x.exact and inner == outer)
    if not op.static:
        raise MixedError
    # All requests have the shape that was tried with one row, and there it came out even.
    return replace(x.with_dims(sizes), exact=False)


def _fixed_reshape(x: Known, target: tuple[Size, ...]) -> Known:
    sizes = tuple(each if isinstance(each, int) and each > 0 else None for each in target)
    if any(isinstance(each, str) for each in target):
        raise MixedError
    return Known(dims=sizes, values=x.values if len(target) <= 1 else None, kind=x.kind)


def _sizes(target: Sequence[Size], dims: Dims) -> Dims:
    """The sizes that a target says: 0 is the size there was, -1 what is left."""
    return tuple(
        dims[i] if each == 0 and i < len(dims) else each if isinstance(each, int) and each > 0 else None
        for i, each in enumerate(target)
    )


def _inferred(sizes: Dims, dims: Dims, target: Sequence[Size]) -> Dims:
    """With a -1 behind the rows replaced by what it is."""
    inner = _product(dims[1:])
    if list(target).count(-1) != 1 or inner is None:
        return sizes
    place = list(target).index(-1)
    others = _product([each for i, each in enumerate(sizes) if i not in {0, place}])
    if not others:
        return sizes
    return tuple(inner // others if i == place else each for i, each in enumerate(sizes))


def _product(sizes: Sequence[int | None]) -> int | None:
    found = 1
    for each in sizes:
        if each is None:
            return None
        found *= each
    return found


def flatten(op: Op) -> Result:
    """To a matrix: the axes before one, and those from it on."""
    x, axis, dims = op.rows()
    at = op.integer("axis", 1)
    at = at + len(dims) if at < 0 else at
    if axis != 0 or at < 1:
        raise MixedError
    return replace(x.with_dims((None, _product(dims[at:]))), exact=x.exact and _product(dims[1:at]) == 1)
