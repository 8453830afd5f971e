"""Rules of matrix products: where the rows of a batch lie in their outputs. See `rows.rules`."""

from collections.abc import Sequence
from dataclasses import replace

from corefit_runtime.rows.rules import broadcast
from corefit_runtime.rows.types import Known, MixedError, Op, Result


def matmul(op: Op) -> Result:
    """numpy.matmul: the last axis of the first with the last but one of the second."""
    first, second = op.require(0), op.require(1)
    _scalars(op.inputs[2:])
    return _product(first, second)


def qlinear_matmul(op: Op) -> Result:
    """A product whose operands have a scale and a zero point each."""
    _scalars([*op.inputs[1:3], *op.inputs[6:]])
    if any(each is None or not each.fixed for each in op.inputs[4:6]):
        raise MixedError
    return _product(op.require(0), op.require(3))


def _product(first: Known, second: Known) -> Known:
    a, b = first.rank, second.rank
    if a < 2 or b < 2 or first.sized or second.sized:
        raise MixedError
    batch = broadcast([_stacked(first), _stacked(second)]) if max(a, b) > 2 else Known(dims=())
    size = (first.dims or ())[-2], (second.dims or ())[-1]
    if first.axis == a - 2 and second.fixed and b == 2:
        return first.with_dims((*(first.dims or ())[:-1], size[1]))
    for each in (first, second):
        if each.axis is not None and each.axis >= each.rank - 2:
            raise MixedError
    return replace(batch, dims=(*(batch.dims or ()), *size), axis=batch.axis)


def _stacked(operand: Known) -> Known:
    """The axes in front of the matrices."""
    dims = (operand.dims or ())[:-2]
    inside = operand.axis is not None and operand.axis < len(dims)
    # Rows within the matrices: the caller's to see to.
    return replace(operand, dims=dims, values=None) if inside else Known(dims=dims)


def _scalars(parameters: Sequence[Known | None]) -> None:
    """Raises MixedError unless each of these has one element that is fixed."""
    for each in parameters:
        if each is not None and (not each.fixed or each.dims is None or set(each.dims) - {1}):
            raise MixedError


def gemm(op: Op) -> Result:
    """Two matrices' product and a third, fixed one."""
    op.fixed_but(0)
    x, axis, dims = op.rows()
    weights = op.require(1)
    if axis != 0 or len(dims) != 2 or op.integer("transA", 0) or weights.rank != 2:
        raise MixedError
    width = (weights.dims or ())[0 if op.integer("transB", 0) else 1]
    product = x.with_dims((dims[0], width))
    added = op.get(2)
    return product if added is None else broadcast([product, added])
