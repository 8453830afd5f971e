"""Constants, the sizes of tensors, and arithmetic on them: small tensors that say shapes. See `rows.rules`."""

from dataclasses import replace

from corefit_runtime.rows.rules import broadcast
from corefit_runtime.rows.types import (
    A_TENSOR,
    AN_INT,
    INT64,
    INTS,
    RANGES,
    ROWS,
    SOME,
    Known,
    Op,
    Result,
    Size,
    fitting,
    weight,
)


def constant(op: Op) -> Result:
    """A weight that is written as a node."""
    [given] = op.attributes.values()  # It has one, or onnxruntime refuses it.
    if given.unread:
        return Known(dims=(None,))
    if (given.name, given.kind) == ("value", A_TENSOR) and given.tensor is not None:
        return weight(given.tensor)
    if (given.name, given.kind) == ("value_int", AN_INT) and given.i is not None:
        return vector((given.i,), INT64, scalar=True)
    if (given.name, given.kind) == ("value_ints", INTS):
        return vector(given.ints, INT64)
    if given.name in {"value_float", "value_string"}:
        return Known(dims=())
    return Known(dims=(given.count,)) if given.name in {"value_floats", "value_strings"} else Known()


def shape(op: Op) -> Result:
    """The sizes of a tensor."""
    x = op.require(0)
    sizes: list[Size] = list(x.dims or ())
    if x.dims is None or (x.axis is None and not x.fixed):
        return Known(sized=x.axis is not None or not x.fixed)
    if x.axis is not None:
        sizes[x.axis] = ROWS if x.exact else SOME
    start, end = op.integer("start", 0), op.integer("end", len(sizes))
    return vector(tuple(sizes[start:end]), INT64)


def size(op: Op) -> Result:
    """How many elements a tensor has."""
    x = op.require(0)
    return Known(dims=(), sized=x.axis is not None or not x.fixed)


def vector(values: tuple[Size, ...], kind: int, *, scalar: bool = False) -> Known:
    """A small tensor of numbers of a type."""
    dims = () if scalar else (len(values),)
    return Known(dims=dims, values=values, sized=any(isinstance(value, str) for value in values), kind=kind)


def cast(op: Op) -> Result:
    """The elements in another type: those of a shape stay known where they are the same in it."""
    other = op.get(1)
    kind = op.integer("to", 0) if op.node.op == "Cast" else other.kind if other is not None else 0
    x = op.require(0)
    return replace(x, values=fitting(x.values, kind) if x.kind in RANGES else None, kind=kind)


def calculated(op: Op) -> Result:
    """Arithmetic on shapes; on anything else, elementwise."""
    operands = op.given()
    if any(each.data for each in operands) or len(operands) != 2:
        return broadcast(operands)
    (a, b), kind = operands, operands[0].kind
    if a.values is None or b.values is None or len(a.values) != len(b.values) or b.kind != kind:
        return broadcast(operands)
    values = fitting(tuple(_calculated(op.node.op, *pair) for pair in zip(a.values, b.values, strict=True)), kind)
    if values is None:
        return broadcast(operands)
    return vector(values, kind, scalar=all(each.dims == () for each in operands))


def _calculated(name: str, a: Size, b: Size) -> Size:
    if isinstance(a, str) or isinstance(b, str):
        return SOME
    if not isinstance(a, int) or not isinstance(b, int):
        return None
    if name == "Div":
        # Towards zero, as C does.
        sign = 1 if (a < 0) == (b < 0) else -1
        return None if b == 0 else sign * (abs(a) // abs(b))
    return {"Add": a + b, "Sub": a - b, "Mul": a * b}[name]
