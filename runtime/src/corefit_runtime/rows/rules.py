"""Rules of ONNX operators: where the rows of a batch lie in their outputs, given where they lie in the inputs.

Operators as in https://onnx.ai/onnx/operators/. A rule returns what is known of its outputs, or raises `MixedError`
where rows meet. Shape arithmetic is in `rows.shapes`. An operator without a rule is one of which nothing is known.
"""

from collections.abc import Sequence

from corefit_runtime.rows.types import MIXED, Dims, Known, MixedError, Op, Result, whole, wrapped


def broadcast(operands: Sequence[Known]) -> Known:
    """What comes of operands that are combined element by element (ONNX's multidirectional broadcasting)."""
    rank = max(each.rank for each in operands)
    with_rows = [each for each in operands if each.axis is not None]
    if any(not each.fixed for each in operands if each.axis is None):
        raise MixedError
    dims = tuple(_common([_from_right(each, rank - i) for each in operands]) for i in range(rank))
    if not with_rows:
        return Known(dims=dims)
    places = {each.rank - (each.axis or 0) for each in with_rows}
    if len(places) > 1:
        raise MixedError
    place = places.pop()
    if any(_from_right(each, place) != 1 for each in operands if each.axis is None):
        raise MixedError
    return Known(dims=dims, axis=rank - place, exact=any(each.exact for each in with_rows), data=True)


def _from_right(operand: Known, place: int) -> int | None:
    """The size at a place counted from the end; 1 where the operand has fewer axes."""
    return operand.dims[-place] if operand.dims is not None and place <= operand.rank else 1


def _common(sizes: Sequence[int | None]) -> int | None:
    large = [size for size in sizes if size != 1]
    return next((size for size in large if size is not None), None) if large else 1


def elementwise(op: Op) -> Result:
    """Each element of the output comes from the elements at its place."""
    return broadcast(op.given())


def first_only(op: Op) -> Result:
    """Elementwise in the first input; the others are parameters of one element."""
    op.fixed_but(0)
    x, _, dims = op.rows()
    if any(each.dims is None or set(each.dims) - {1} for each in op.given()[1:]):
        raise MixedError
    return x.with_dims(dims)


def dropout(op: Op) -> Result:
    """As elementwise, unless it is in training."""
    training = op.get(2)
    if training is not None and (not training.fixed or training.values != (0,)):
        raise MixedError
    x, _, dims = op.rows()
    return [x.with_dims(dims)] * 2


def batch_normalization(op: Op) -> Result:
    """By statistics that are the model's own; in training they would be the batch's."""
    if op.opset < 9 or op.integer("training_mode", 0) or sum(1 for name in op.node.outputs if name) > 1:
        raise MixedError
    return leading(op)


def leading(op: Op) -> Known:
    """Computes each element of axis 0 for itself, by fixed parameters, and keeps the number of axes."""
    op.fixed_but(0)
    x, axis, dims = op.rows()
    if axis != 0:
        raise MixedError
    return x.with_dims((*dims[:2], *[None] * (len(dims) - 2)))


def pool(op: Op) -> Result:
    """As `leading`; the second output of MaxPool has indices into the whole batch."""
    return [leading(op), MIXED]


def global_pool(op: Op) -> Result:
    """As `leading`, and of size 1 on all axes but the first two."""
    found = leading(op)
    return found.with_dims((*(found.dims or ())[:2], *[1] * (found.rank - 2)))


def convolution(op: Op) -> Result:
    """Rows on axis 0, channels by the weights."""
    op.fixed_but(0)
    x, axis, dims = op.rows()
    kernel = op.require(3 if op.node.op == "QLinearConv" else 1).dims
    if axis != 0 or kernel is None or len(kernel) < 2:
        raise MixedError
    channels = kernel[0] if op.node.op != "ConvTranspose" else None
    return x.with_dims((dims[0], channels, *[None] * (len(dims) - 2)))


def reduction(op: Op) -> Result:
    """Over axes that don't hold the rows."""
    x, axis, dims = op.rows()
    axes = op.numbers("axes", 1)
    if not axes:
        if op.integer("noop_with_empty_axes", 0):
            return x.with_dims(dims)
        raise MixedError
    return _without(x, {wrapped(each, len(dims)) for each in axes}, axis, keep=op.integer("keepdims", 1) != 0)


def arg_reduction(op: Op) -> Result:
    """Where the largest or smallest element is on an axis."""
    x, axis, dims = op.rows()
    return _without(x, {wrapped(op.integer("axis", 0), len(dims))}, axis, keep=op.integer("keepdims", 1) != 0)


def _without(x: Known, axes: set[int], axis: int, *, keep: bool) -> Known:
    if axis in axes:
        raise MixedError
    dims = x.dims or ()
    if keep:
        return x.with_dims(tuple(1 if i in axes else size for i, size in enumerate(dims)))
    left = tuple(size for i, size in enumerate(dims) if i not in axes)
    return x.with_dims(left, axis - sum(1 for each in axes if each < axis))


def top_k(op: Op) -> Result:
    """The largest elements of an axis, and where they are."""
    op.fixed_but(0)
    x, axis, dims = op.rows()
    along = wrapped(op.integer("axis", -1), len(dims))
    if along == axis:
        raise MixedError
    return [x.with_dims(unknown_at(dims, along))] * 2


def unknown_at(dims: Dims, *axes: int) -> Dims:
    """The sizes, those of `axes` no longer known."""
    return tuple(None if i in axes else size for i, size in enumerate(dims))


def softmax(op: Op) -> Result:
    """Over one axis; before operator set 13, over all axes from one on."""
    x, axis, dims = op.rows()
    if op.opset >= 13:
        mixed = wrapped(op.integer("axis", -1), len(dims)) == axis
    else:
        mixed = wrapped(op.integer("axis", 1), len(dims)) <= axis
    if mixed:
        raise MixedError
    return x.with_dims(dims)


def layer_normalization(op: Op) -> Result:
    """By the mean and deviation of all axes from one on."""
    op.fixed_but(0)
    x, axis, dims = op.rows()
    along = wrapped(op.integer("axis", -1), len(dims))
    if along <= axis:
        raise MixedError
    statistics = x.with_dims(tuple(1 if i >= along else size for i, size in enumerate(dims)))
    return [broadcast([x, *op.given()[1:]]), statistics, statistics]


def along_one_axis(op: Op) -> Result:
    """LpNormalization: over one axis, which keeps its size."""
    x, axis, dims = op.rows()
    if wrapped(op.integer("axis", -1), len(dims)) == axis:
        raise MixedError
    return x.with_dims(dims)


def mean_variance_normalization(op: Op) -> Result:
    """Over axes that by default include the first."""
    x, axis, dims = op.rows()
    axes = op.numbers("axes", 1)
    if axes == () or axis in {wrapped(each, len(dims)) for each in axes or (0, 2, 3)}:
        raise MixedError
    return x.with_dims(dims)


def cum_sum(op: Op) -> Result:
    """The sum of what comes before on an axis."""
    x, axis, dims = op.rows()
    if wrapped(whole(op.shape(1)[0]), len(dims)) == axis:
        raise MixedError
    return x.with_dims(dims)


def trilu(op: Op) -> Result:
    """A triangle of each of the matrices on the last two axes."""
    op.fixed_but(0)
    x, axis, dims = op.rows()
    if axis >= len(dims) - 2:
        raise MixedError
    return x.with_dims(dims)


def linear_quantization(op: Op) -> Result:
    """By a scale that is one for all, or one for each element of an axis."""
    op.fixed_but(0)
    x, axis, dims = op.rows()
    scale = op.require(1).dims
    if scale is None or op.integer("block_size", 0):
        raise MixedError
    if set(scale) - {1} and (len(scale) != 1 or wrapped(op.integer("axis", 1), len(dims)) == axis):
        raise MixedError
    return x.with_dims(dims)


def grid_sample(op: Op) -> Result:
    """Each picture by its own grid."""
    (x, axis, dims), (grid, other, _) = op.rows(), op.rows(1)
    if axis != 0 or other != 0 or not (x.exact and grid.exact):
        raise MixedError
    return x.with_dims((*dims[:2], *[None] * (len(dims) - 2)))


def gather_elements(op: Op) -> Result:
    """From each row by the indices of the same row."""
    (x, axis, dims), (indices, other, shape) = op.rows(), op.rows(1)
    along = wrapped(op.integer("axis", 0), len(dims))
    if axis != other or along == axis or not (x.exact and indices.exact):
        raise MixedError
    return x.with_dims(shape)


def one_hot(op: Op) -> Result:
    """One more axis at the end."""
    op.fixed_but(0)
    x, _, dims = op.rows()
    if op.integer("axis", -1) not in {-1, len(dims)}:
        raise MixedError
    return x.with_dims((*dims, None))


def blocks(op: Op) -> Result:
    """DepthToSpace and SpaceToDepth: within each picture."""
    x, axis, dims = op.rows()
    if axis != 0:
        raise MixedError
    return x.with_dims((dims[0], *[None] * (len(dims) - 1)))
