"""Constants, the sizes of tensors, and arithmetic on them: small tensors that say shapes. See `row_rules`."""

import math

from corefit_runtime.row_rules import broadcast
from corefit_runtime.row_types import ROWS, SOME, Known, Op, Result, Size, weight


def constant(op: Op) -> Result:
    """A weight that is written as a node."""
    given = op.attributes
    if any(each.unread for each in given.values()):
        return Known(dims=(None,))
    if "value" in given and given["value"].tensor is not None:
        return weight(given["value"].tensor)
    if "value_int" in given:
        return Known(dims=(), values=(given["value_int"].i or 0,))
    if "value_ints" in given:
        return Known(dims=(len(given["value_ints"].ints),), values=given["value_ints"].ints)
    if "value_float" in given or "value_string" in given:
        return Known(dims=())
    listed = given.get("value_floats") or given.get("value_strings")
    return Known(dims=(listed.count,)) if listed is not None else Known()


def shape(op: Op) -> Result:
    """The sizes of a tensor."""
    x = op.need(0)
    sizes: list[Size] = list(x.dims or ())
    if x.dims is None or (x.axis is None and not x.fixed):
        return Known(sized=x.axis is not None or not x.fixed)
    if x.axis is not None:
        sizes[x.axis] = ROWS if x.exact else SOME
    start, end = op.integer("start", 0), op.integer("end", len(sizes))
    return vector(tuple(sizes[start:end]))


def size(op: Op) -> Result:
    """How many elements a tensor has."""
    x = op.need(0)
    return Known(dims=(), sized=x.axis is not None or not x.fixed)


def vector(values: tuple[Size, ...], *, scalar: bool = False) -> Known:
    """A small tensor of numbers."""
    dims = () if scalar else (len(values),)
    return Known(dims=dims, values=values, sized=any(isinstance(value, str) for value in values))


def calculated(op: Op) -> Result:
    """Arithmetic on shapes; on anything else, elementwise."""
    operands = op.given()
    if any(each.data for each in operands) or len(operands) != 2:
        return broadcast(operands)
    pair = [each.values for each in operands]
    if pair[0] is None or pair[1] is None or len(pair[0]) != len(pair[1]):
        return broadcast(operands)
    values = tuple(_calculated(op.node.op, a, b) for a, b in zip(*pair, strict=True))
    return vector(values, scalar=all(each.dims == () for each in operands))


def _calculated(name: str, a: Size, b: Size) -> Size:
    if isinstance(a, str) or isinstance(b, str):
        return SOME
    if not isinstance(a, int) or not isinstance(b, int):
        return None
    if name == "Div":
        # Towards zero, as C does.
        return None if b == 0 else int(math.copysign(abs(a) // abs(b), a * b)) if a else 0
    return {"Add": a + b, "Sub": a - b, "Mul": a * b}[name]
