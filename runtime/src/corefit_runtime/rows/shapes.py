"""Rules of operators that change shapes, or compute with them. See `rows.rules`."""

from dataclasses import replace
from typing import Final

from corefit_runtime.rows.reshape import flatten, reshape
from corefit_runtime.rows.rules import broadcast
from corefit_runtime.rows.types import (
    ROWS,
    SOME,
    Dims,
    Known,
    MixedError,
    Op,
    Result,
    Rule,
    Size,
    whole,
    wrapped,
)
from corefit_runtime.rows.values import calculated, cast, constant, shape, size, vector

ENDLESS: Final = (1 << 31) - 1
"""From here on, the end of a slice is the end of the axis."""
SIZES: Final = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "ConstantOfShape": (0,),
    "Range": (0, 1, 2),
    "Slice": (1, 2, 3, 4),
    "Pad": (1, 3),
    "Resize": (1, 2, 3),
    "TopK": (1,),
    "OneHot": (1,),
    "Split": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    "CumSum": (1,),
    "Trilu": (1,),
    "EyeLike": (),
    "CenterCropPad": (1,),
}
"""The inputs that say how large an output is, or where something is: they may not come from the data."""


def identity(op: Op) -> Result:
    """The same."""
    return op.require(0)


def transpose(op: Op) -> Result:
    """The axes in another order."""
    x = op.require(0)
    rank = x.rank
    order = op.integers("perm") or tuple(reversed(range(rank)))
    if sorted(order) != list(range(rank)):
        raise MixedError
    dims = tuple((x.dims or ())[i] for i in order)
    if x.axis is None:
        if not x.fixed:
            raise MixedError
        return Known(dims=dims)
    return x.with_dims(dims, order.index(x.axis))


def squeeze(op: Op) -> Result:
    """Without some axes of size 1; without any named, those that happen to be 1 go."""
    x = op.require(0)
    axes = op.numbers("axes", 1)
    if not axes:
        raise MixedError
    gone = {wrapped(each, x.rank) for each in axes}
    if x.axis in gone:
        raise MixedError
    dims = tuple(each for i, each in enumerate(x.dims or ()) if i not in gone)
    return _moved(x, dims, None if x.axis is None else x.axis - sum(1 for each in gone if each < x.axis))


def unsqueeze(op: Op) -> Result:
    """With more axes of size 1."""
    x = op.require(0)
    axes = op.numbers("axes", 1) or ()
    rank = x.rank + len(axes)
    new = {wrapped(each, rank) for each in axes}
    if len(new) != len(axes):
        raise MixedError
    old = iter(x.dims or ())
    dims = tuple(1 if i in new else next(old) for i in range(rank))
    places = [i for i in range(rank) if i not in new]
    return _moved(x, dims, None if x.axis is None else places[x.axis])


def _moved(x: Known, dims: Dims, axis: int | None) -> Known:
    if axis is not None:
        return x.with_dims(dims, axis)
    if x.data:
        raise MixedError
    return replace(x, dims=dims, values=x.values if len(dims) <= 1 else None)


def concat(op: Op) -> Result:
    """On an axis that doesn't hold the rows; or of shapes."""
    parts = op.given()
    if not any(each.data for each in parts):
        lists = [each.values for each in parts]
        if all(each.rank == 1 for each in parts) and all(values is not None for values in lists):
            if len({each.kind for each in parts}) > 1:
                raise MixedError
            return vector(tuple(value for values in lists for value in values or ()), parts[0].kind)
    first, axis, dims = op.rows()
    at = wrapped(op.integer("axis", 1), len(dims))
    if at == axis or any(each.axis != axis or each.rank != len(dims) for each in parts):
        raise MixedError
    along = [(each.dims or ())[at] for each in parts]
    total = None if None in along else sum(each or 0 for each in along)
    joined = tuple(total if i == at else each for i, each in enumerate(dims))
    return replace(first.with_dims(joined), exact=any(each.exact for each in parts))


def split(op: Op) -> Result:
    """Along an axis that doesn't hold the rows."""
    op.fixed_but(0)
    x, axis, dims = op.rows()
    at = wrapped(op.integer("axis", 0), len(dims))
    if at == axis:
        raise MixedError
    part = x.with_dims(tuple(None if i == at else each for i, each in enumerate(dims)))
    return [part] * len(op.node.outputs)


def slice_(op: Op) -> Result:
    """Of axes that don't hold the rows; or of a shape."""
    if op.opset < 10:
        raise MixedError
    x, starts, ends = op.require(0), op.shape(1), op.shape(2)
    axes = op.shape(3) if op.get(3) is not None else tuple(range(len(starts)))
    steps = op.shape(4) if op.get(4) is not None else (1,) * len(starts)
    places = [wrapped(whole(each), x.rank) for each in axes]
    if x.values is not None and not x.data and x.rank == 1 and len(places) == 1:
        return vector(x.values[whole(starts[0]) : whole(ends[0]) : whole(steps[0])], x.kind)
    if x.fixed:
        raise MixedError
    x, axis, dims = op.rows()
    cut = [i for i, place in enumerate(places) if place == axis]
    if any(not _whole_axis(starts[i], ends[i], steps[i]) for i in cut):
        raise MixedError
    if any(
        isinstance(each, str) for i, pair in enumerate(zip(starts, ends, strict=True)) if i not in cut for each in pair
    ):
        raise MixedError
    return x.with_dims(tuple(each if i == axis or i not in places else None for i, each in enumerate(dims)))


def _whole_axis(start: Size, end: Size, step: Size) -> bool:
    return start == 0 and step == 1 and isinstance(end, int) and end >= ENDLESS


def gather(op: Op) -> Result:
    """Elements of an axis by their indices; or of a shape."""
    x, indices = op.require(0), op.require(1)
    at = wrapped(op.integer("axis", 0), x.rank)
    if not x.data and x.values is not None and indices.fixed and indices.values is not None:
        picked = tuple(x.values[wrapped(whole(each), len(x.values))] for each in indices.values)
        return vector(picked, x.kind, scalar=indices.dims == ())
    if x.sized or indices.sized:
        raise MixedError
    before, after = (x.dims or ())[:at], (x.dims or ())[at + 1 :]
    dims = (*before, *[None if indices.axis == i else each for i, each in enumerate(indices.dims or ())], *after)
    count = indices.rank
    if x.axis is not None and indices.fixed and at != x.axis:
        return x.with_dims(dims, x.axis + (count - 1 if at < x.axis else 0))
    if x.fixed and indices.axis is not None:
        return indices.with_dims(dims, at + indices.axis)
    if x.fixed and indices.fixed:
        return Known(dims=dims)
    raise MixedError


def expand(op: Op) -> Result:
    """As broadcasting with a tensor of that shape."""
    return broadcast([op.require(0), _of_shape(op.shape(1))])


def constant_of_shape(op: Op) -> Result:
    """One element, so many times."""
    return _of_shape(op.shape(0))


def _of_shape(sizes: tuple[Size, ...]) -> Known:
    if SOME in sizes or list(sizes).count(ROWS) > 1:
        raise MixedError
    dims = tuple(each if isinstance(each, int) else None for each in sizes)
    if ROWS not in sizes:
        return Known(dims=dims)
    return Known(dims=dims, axis=sizes.index(ROWS), data=True)


def range_(op: Op) -> Result:
    """Numbers one after the other: as many as shapes say."""
    return Known(dims=(None,), sized=any(each.sized for each in op.given()))


def tile(op: Op) -> Result:
    """Repeated on axes that don't hold the rows."""
    x, axis, dims = op.rows()
    repeats = op.shape(1)
    if len(repeats) != len(dims) or repeats[axis] != 1 or any(isinstance(each, str) for each in repeats):
        raise MixedError
    return x.with_dims(tuple(each if repeats[i] == 1 else None for i, each in enumerate(dims)))


def pad(op: Op) -> Result:
    """With more on axes that don't hold the rows."""
    x, axis, dims = op.rows()
    pads = op.numbers("pads", 1)
    if pads is None or op.get(3) is not None or len(pads) != 2 * len(dims):
        raise MixedError
    value = op.get(2)
    if pads[axis] or pads[axis + len(dims)] or (value is not None and not value.fixed):
        raise MixedError
    return x.with_dims(
        tuple(each if i == axis or not pads[i] + pads[i + len(dims)] else None for i, each in enumerate(dims))
    )


def resize(op: Op) -> Result:
    """Pictures to another size; the axis of the rows keeps its own."""
    x, axis, dims = op.rows()
    if op.opset < 11 or op.integer("antialias", 0):
        raise MixedError
    if op.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        raise MixedError
    # Under another policy the rows are made more or fewer as the pictures are made larger or smaller.
    if op.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise MixedError
    place, named = axis, op.integers("axes")
    if named is not None:
        axes = [wrapped(each, len(dims)) for each in named]
        if not axes:
            raise MixedError
        place = axes.index(axis) if axis in axes else -1
    scales, sizes = op.get(2), op.get(3)
    if sizes is None:
        kept = scales is not None and scales.fixed and (place < 0 or (scales.values or (0,))[place] == 1)
    else:
        wanted = op.shape(3)
        others = [each for i, each in enumerate(wanted) if i != place]
        kept = not any(isinstance(each, str) for each in others) and (place < 0 or wanted[place] == ROWS)
    if not kept:
        raise MixedError
    return x.with_dims(tuple(each if i == axis else None for i, each in enumerate(dims)))


SHAPES: Final[dict[str, Rule]] = {
    "Identity": identity,
    "Cast": cast,
    "CastLike": cast,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Concat": concat,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Pad": pad,
    "Range": range_,
    "Reshape": reshape,
    "Resize": resize,
    "Shape": shape,
    "Size": size,
    "Slice": slice_,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), calculated),
}
"""Rules of the operators of ONNX's default domain that change shapes or compute with them."""
