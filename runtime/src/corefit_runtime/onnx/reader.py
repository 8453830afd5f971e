"""Reads a model's file, ONNX's protobuf messages, without copying its weights. It decides nothing."""

import math
import struct
from collections.abc import Iterator
from typing import Final

from corefit_core.errors import ModelInvalid
from corefit_runtime.onnx import schema
from corefit_runtime.onnx.model import Attribute, Graph, Node, OnnxModel, Tensor
from corefit_runtime.onnx.wire_format import Runs, Schema, Value, fields, signed, varints

EXTERNAL: Final = 1
"""TensorProto.DataLocation: the weights are in another file."""
FLOAT: Final = 1
LETTERS: Final = {FLOAT: "f", 6: "i", 7: "q", 9: "?"}
"""TensorProto.DataType of the elements that are read, and what `struct` calls them: float, int32, int64, bool."""
FIELDS: Final = {FLOAT: 4, 6: 5, 7: 7, 9: 5}
"""The field of a tensor that holds the elements of a kind."""
RANGES: Final = {6: (-(1 << 31), (1 << 31) - 1), 9: (0, 1)}
"""What elements of a kind can be, where the field could hold more: other parsers cut them."""
LONG: Final = 4096
"""Bytes of an attribute beyond which its lists are not read: those of a forest of 50 MB would take 20 s of CPU to read,
and no rule asks for them."""
MAX_PARTS: Final = 300_000
"""Nodes, attributes and weights that a model may have: each takes 4 us of CPU and 300 bytes, however few are its own.
Models of 100,000,000,000 weights have a tenth of that."""
MAX_VALUES: Final = 64
"""Elements of a tensor up to which they are read: axes, shapes and scales have fewer."""


def parse(data: memoryview) -> OnnxModel:
    """The model that these bytes are.

    Raises:
        ModelInvalid: they are no protobuf message, or one that is nested without end.
    """
    try:
        return _Reader().model(data)
    except RecursionError:
        raise ModelInvalid("the file is not an ONNX model: its graphs are nested too deeply") from None


class _Reader:
    """Reads the messages of one model."""

    def __init__(self) -> None:
        self._parts = 0

    def _count(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise ModelInvalid(f"the model has more than {MAX_PARTS:,} nodes, attributes and weights")

    def model(self, data: memoryview) -> OnnxModel:
        model = OnnxModel()
        for number, value in fields(data, schema.MODEL):
            if number == 7:
                model.graph = self._graph(value)
            elif number == 8:
                domain, version = _opset(value)
                model.opsets[domain] = version if model.opsets.get(domain, version) == version else 0
            elif number == 25:
                model.functions.append(self._function(value))
        return model

    def _function(self, value: Value) -> Graph:
        """An operator that the file defines; the defaults of its attributes are those of one more node."""
        graph, defaults = Graph(), Node()
        for number, each in _each(value, schema.FUNCTION):
            if number == 7:
                graph.nodes.append(self._node(each))
            elif number == 11:
                self._add_attribute(defaults, each)
        graph.nodes.append(defaults)
        return graph

    def _graph(self, value: Value) -> Graph:
        graph = Graph()
        for number, each in _each(value, schema.GRAPH):
            if number == 1:
                graph.nodes.append(self._node(each))
            elif number == 5:
                graph.weights.append(self._tensor(each))
            elif number == 11:
                graph.inputs.append(_value_name(each))
            elif number == 12:
                graph.outputs.append(_value_name(each))
            elif number == 15:
                graph.weights.extend(self._sparse(each))
        return graph

    def _node(self, value: Value) -> Node:
        self._count()
        node = Node()
        for number, each in _each(value, schema.NODE):
            if number == 1:
                node.inputs.append(_text(each))
            elif number == 2:
                node.outputs.append(_text(each))
            elif number == 4:
                node.op = _text(each)
            elif number == 5:
                self._add_attribute(node, each)
            elif number == 7:
                domain = _text(each)
                node.domain = "" if domain == "ai.onnx" else domain
        return node

    def _add_attribute(self, node: Node, value: Value) -> None:
        attribute = self._attribute(value)
        if attribute.name in node.attributes:
            raise ModelInvalid(f"the file is not an ONNX model: {node.op} has the attribute {attribute.name} twice")
        node.attributes[attribute.name] = attribute

    def _attribute(self, value: Value) -> Attribute:
        self._count()
        attribute = Attribute()
        long = isinstance(value, memoryview) and len(value) > LONG
        for number, each in _each(value, schema.ATTRIBUTE, schema.LISTS if long else None):
            if number in schema.LISTS:
                _add_elements(attribute, number, each, long=long)
            elif number == 1:
                attribute.name = _text(each)
            elif number == 3 and isinstance(each, int):
                attribute.i = signed(each)
            elif number == 4:
                attribute.s = _text(each, strict=False)
            elif number == 20:
                attribute.kind = _one_of(each, schema.LAST_ATTRIBUTE_TYPE)
            elif number == 21:
                attribute.unread = True
            else:
                self._add_message(attribute, number, each)
        return attribute

    def _add_message(self, attribute: Attribute, number: int, value: Value) -> None:
        if number == 5:
            attribute.tensor = self._tensor(value)
            attribute.tensors.append(attribute.tensor)
        elif number == 10:
            attribute.tensors.append(self._tensor(value))
        elif number in {6, 11}:
            attribute.graphs.append(self._graph(value))
        elif number in {22, 23}:
            attribute.tensors.extend(self._sparse(value))

    def _sparse(self, value: Value) -> list[Tensor]:
        """A sparse tensor: its elements, which bear its name, with the shape of the whole; and its indices."""
        parts = [self._tensor(each) for number, each in _each(value, schema.SPARSE_TENSOR) if number in {1, 2}]
        dims = tuple(i for number, each in _each(value, schema.SPARSE_TENSOR) if number == 3 for i in _integers(each))
        for part in parts:
            part.dims, part.values = dims, None
        return parts

    def _tensor(self, value: Value) -> Tensor:
        self._count()
        tensor, found = Tensor(), _Elements()
        dims: list[int] = []
        place = 0
        for number, each in _each(value, schema.TENSOR):
            if number == 1:
                dims.extend(_integers(each))
            elif number == 2:
                tensor.kind = _one_of(each, schema.LAST_DATA_TYPE)
            elif number in {4, 5, 7}:
                found.add(number, each)
            elif number == 8:
                tensor.name = _text(each)
            elif number == 9 and isinstance(each, memoryview):
                found.raw = each
            elif number == 13:
                _add_location(tensor, each)
            elif number == 14:
                place = _one_of(each, schema.LAST_LOCATION)
        tensor.dims = tuple(dims)
        if place == EXTERNAL:
            return tensor
        tensor.location = ""
        tensor.values = found.values(tensor.kind, math.prod(dims))
        return tensor


def _each(value: Value, message: Schema, runs: Runs | None = None) -> Iterator[tuple[int, Value]]:
    return fields(value, message, runs) if isinstance(value, memoryview) else iter(())


def _text(value: Value, *, strict: bool = True) -> str:
    """A text. Of names, those that are no UTF-8 are refused: two of them could look like one."""
    try:
        return bytes(value).decode("utf-8", "strict" if strict else "replace") if isinstance(value, memoryview) else ""
    except UnicodeDecodeError:
        raise ModelInvalid("the file is not an ONNX model: it has a name that is not UTF-8") from None


def _value_name(value: Value) -> str:
    """The name of an input or output."""
    return "".join(_text(each) for number, each in _each(value, schema.VALUE_INFO) if number == 1)


def _integers(value: Value) -> Iterator[int]:
    """A repeated integer: packed, or one at a time."""
    yield from (signed(v) for v in (varints(value) if isinstance(value, memoryview) else (value,)))


def _add_elements(attribute: Attribute, number: int, value: Value, *, long: bool) -> None:
    if long:
        attribute.unread = True
    elif number == 8:
        attribute.ints = (*attribute.ints, *_integers(value))
    else:
        attribute.count += 1


def _opset(value: Value) -> tuple[str, int]:
    domain, version = "", 0
    for number, each in _each(value, schema.OPSET):
        if number == 1:
            domain = _text(each)
        elif number == 2:
            version = _one_of(each, schema.LAST_VERSION)
    return "" if domain == "ai.onnx" else domain, version


class _Elements:
    """The elements of a tensor, in whichever of the ways they are written."""

    def __init__(self) -> None:
        self.raw: memoryview | None = None
        self._typed: dict[int, list[float]] = {}
        self._many = False

    def add(self, number: int, value: Value) -> None:
        """Takes those of float_data (4), int32_data (5) or int64_data (7); of many none are wanted."""
        typed = self._typed.setdefault(number, [])
        self._many = self._many or len(typed) > MAX_VALUES
        if isinstance(value, memoryview) and len(value) > 10 * MAX_VALUES:
            self._many = True
        elif self._many:
            return
        elif number != 4:
            typed.extend(_integers(value))
        elif isinstance(value, memoryview) and len(value) % 4 == 0:
            typed.extend(struct.unpack(f"<{len(value) // 4}f", value))

    def values(self, kind: int, count: int) -> tuple[float, ...] | None:
        """All of them; None where they are too many, of a kind that is not read, or not what that kind has."""
        letter = LETTERS.get(kind)
        if letter is None or self._many or not 0 <= count <= MAX_VALUES:
            return None
        if self.raw is not None:
            fits = not self._typed and len(self.raw) == count * struct.calcsize(letter)
            return struct.unpack(f"<{count}{letter}", self.raw) if fits else None
        values = tuple(self._typed.pop(FIELDS[kind], ()))
        low, high = RANGES.get(kind, (-math.inf, math.inf))
        fits = not self._typed and len(values) == count and all(low <= each <= high for each in values)
        return values if fits else None


def _add_location(tensor: Tensor, value: Value) -> None:
    pair = {number: _text(each) for number, each in _each(value, schema.ENTRY)}
    if pair.get(1) != "location":
        return
    if tensor.location:
        raise ModelInvalid(f"the file is not an ONNX model: the weight {tensor.name} is in two files")
    tensor.location = pair.get(2, "")


def _one_of(value: Value, last: int) -> int:
    """A value of an enum. Parsers keep 32 bits of a larger one, so that it would mean something else to them."""
    if not isinstance(value, int) or value > last:
        raise ModelInvalid("the file is not an ONNX model: it has a number that ONNX gives no meaning")
    return value
