"""The values of the proof that rows are independent: for each tensor the axis of its rows, and its sizes as symbols.

The values that `rows.rules` compute with. See `rows.analysis` for what they are for.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from corefit_runtime.onnx.model import Attribute, Node, Tensor

ROWS: Final = "rows"
"""In a shape: the number of rows."""
SOME: Final = "some"
"""In a shape: a number that depends on the number of rows."""
INT32: Final = 6
INT64: Final = 7
RANGES: Final = {INT32: 1 << 31, INT64: 1 << 63}
"""TensorProto.DataType of the elements that shapes are computed with, and the numbers below which they are."""
AN_INT: Final = 2
A_STRING: Final = 3
A_TENSOR: Final = 4
INTS: Final = 7
"""AttributeProto.AttributeType."""
Size = int | float | str | None
"""An element of a shape: a number, `ROWS`, `SOME`, or None for one that no row changes but that isn't known."""
Dims = tuple[int | None, ...]


class NotAnalysedError(Exception):
    """Nothing can be said of what comes after this operator; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a tensor.

    Attributes:
        dims: its sizes, None for one that isn't known; that of `axis` means nothing. None: not even how many.
        axis: the axis on which the rows lie, each in one contiguous range, in the order of the request; None: none.
        exact: there is one element for each row on that axis, not several.
        data: its elements depend on the request's.
        sized: its elements depend on how many rows there are.
        values: its elements, where it is a small vector or scalar of numbers.
        kind: the TensorProto.DataType of its elements; 0 where it isn't known.
    """

    dims: Dims | None = None
    axis: int | None = None
    exact: bool = True
    data: bool = False
    sized: bool = False
    values: tuple[Size, ...] | None = None
    kind: int = 0

    @property
    def rank(self) -> int:
        """How many axes it has.

        Raises:
            Mixed: that isn't known.
        """
        if self.dims is None:
            raise MixedError
        return len(self.dims)

    @property
    def fixed(self) -> bool:
        """Whether it is the same for all requests."""
        return not self.data and not self.sized

    def with_dims(self, dims: Dims, axis: int | None = None) -> "Known":
        """The same rows in another shape."""
        return replace(self, dims=dims, axis=self.axis if axis is None else axis, values=None, kind=0)


class MixedError(Exception):
    """A rule can't keep the rows apart: each of its outputs is `MIXED`."""


MIXED: Final = Known(data=True)
"""A row of it may depend on any row."""


def weight(tensor: Tensor) -> Known:
    """What is known of a weight."""
    return Known(dims=tensor.dims, values=tensor.values if len(tensor.dims) <= 1 else None, kind=tensor.kind)


def fitting(values: tuple[Size, ...] | None, kind: int) -> tuple[Size, ...] | None:
    """The elements in a type of integers; None where one doesn't fit, or it is another type: they would be changed."""
    limit = RANGES.get(kind, 0)
    if values is None or not limit:
        return None
    numbers = [each for each in values if each is not None and not isinstance(each, str)]
    fit = all(isinstance(each, int) and -limit <= each < limit for each in numbers)
    return values if fit else None


@dataclass(kw_only=True)
class Op:
    """A node with what is known of its inputs; None for one that is left out.

    Attributes:
        opset: version of the operator set that it is of.
        static: whether all sizes of the model's inputs but the number of rows are fixed.
    """

    node: Node
    inputs: list[Known | None]
    opset: int
    static: bool
    attributes: dict[str, Attribute] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.attributes = self.node.attributes

    def given(self) -> list[Known]:
        """The inputs that are not left out."""
        return [each for each in self.inputs if each is not None]

    def get(self, index: int) -> Known | None:
        """An optional input."""
        return self.inputs[index] if index < len(self.inputs) else None

    def require(self, index: int) -> Known:
        """An input that must be there.

        Raises:
            NotAnalysedError: it isn't.
        """
        found = self.get(index)
        if found is None:
            raise NotAnalysedError(f"{self.node.op} lacks an input")
        return found

    def rows(self, index: int = 0) -> tuple[Known, int, Dims]:
        """An input, the axis of its rows, and its sizes.

        Raises:
            MixedError: it has no rows that are known apart.
        """
        found = self.require(index)
        if found.axis is None or found.dims is None:
            raise MixedError
        return found, found.axis, found.dims

    def fixed_but(self, *indices: int) -> None:
        """Nothing but the inputs at `indices` may depend on a request.

        Raises:
            MixedError: something does.
        """
        if any(each is not None and not each.fixed for i, each in enumerate(self.inputs) if i not in indices):
            raise MixedError

    def shape(self, index: int) -> tuple[Size, ...]:
        """The elements of an input that says how large something is.

        Raises:
            NotAnalysedError: they depend on the elements of a request.
            MixedError: they aren't known.
        """
        found = self.require(index)
        if found.data:
            raise NotAnalysedError(f"{self.node.op} takes a size or a position from the data")
        if found.values is None:
            raise MixedError
        return found.values

    def numbers(self, name: str, index: int) -> tuple[int, ...] | None:
        """The integers of an attribute, or of the input that later operator sets have in its place; None: neither.

        Raises:
            NotAnalysedError, MixedError: as for `shape`, and where they depend on the number of rows.
        """
        if name in self.attributes:
            return self.integers(name)
        if self.get(index) is None:
            return None
        return tuple(whole(each) for each in self.shape(index))

    def integer(self, name: str, default: int) -> int:
        """An integer attribute.

        Raises:
            MixedError: it is of another type.
        """
        found = self._attribute(name, AN_INT)
        if found is None:
            return default
        if found.i is None:
            raise MixedError
        return found.i

    def integers(self, name: str) -> tuple[int, ...] | None:
        """An attribute of integers; None where it isn't there.

        Raises:
            MixedError: it is of another type, or too long to be read.
        """
        found = self._attribute(name, INTS)
        return None if found is None else found.ints

    def text(self, name: str, default: str) -> str:
        """An attribute of text.

        Raises:
            MixedError: it is of another type.
        """
        found = self._attribute(name, A_STRING)
        return default if found is None else found.s

    def _attribute(self, name: str, kind: int) -> Attribute | None:
        found = self.attributes.get(name)
        if found is not None and (found.unread or found.kind != kind):
            raise MixedError
        return found


def whole(size: Size) -> int:
    """A number that is known and whole.

    Raises:
        MixedError: it isn't.
    """
    if not isinstance(size, int):
        raise MixedError
    return int(size)


def wrapped(axis: int, rank: int) -> int:
    """An axis counted from the front.

    Raises:
        MixedError: there is no such axis.
    """
    found = axis + rank if axis < 0 else axis
    if not 0 <= found < rank:
        raise MixedError
    return found


Result = Known | list[Known]
Rule = Callable[[Op], Result]
