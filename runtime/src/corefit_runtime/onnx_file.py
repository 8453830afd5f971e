"""What a file says of the model in it: its nodes, the shapes of its weights, the other files that hold weights.

Reads the protobuf messages of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); weights are not
copied. It decides nothing.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from corefit_core.errors import ModelInvalid
from corefit_runtime import onnx_schema as schema
from corefit_runtime.wire_format import Schema, Value, fields, signed, varints

EXTERNAL: Final = 1
"""TensorProto.DataLocation: the weights are in another file."""
FLOAT: Final = 1
LETTERS: Final = {FLOAT: "f", 6: "i", 7: "q", 9: "?"}
"""TensorProto.DataType of the elements that are read, and what `struct` calls them: float, int32, int64, bool."""
LONG: Final = 4096
TYPE: Final = b"\xa0\x01"
LISTS: Final = {6, 7, 8}
"""An attribute of more bytes that ends with its type, one of AttributeProto.FLOATS, INTS and STRINGS, is a long list:
those of a forest of 50 MB would take 20 s of CPU to read, and no rule asks for them."""
MAX_VALUES: Final = 64
"""Elements of a tensor up to which they are read: axes, shapes and scales have fewer."""


@dataclass(kw_only=True)
class Tensor:
    """A weight: its name, its shape, and its elements where it has few.

    Attributes:
        values: the elements in row-major order; None unless they are at most `MAX_VALUES` numbers in this file.
        location: the file that holds the data, relative to the model's folder; empty when it is this one.
    """

    name: str = ""
    dims: tuple[int, ...] = ()
    values: tuple[float, ...] | None = None
    location: str = ""


@dataclass(kw_only=True)
class Attribute:
    """A node's attribute; which of the fields counts is the operator's to know.

    Attributes:
        unread: it is a list of so many elements that they are not read, such as the nodes of a forest.
    """

    name: str = ""
    unread: bool = False
    i: int | None = None
    s: str = ""
    ints: tuple[int, ...] = ()
    count: int = 0
    tensor: Tensor | None = None
    graphs: list["Graph"] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)


@dataclass(kw_only=True)
class Node:
    """One operator; an absent optional input or output is an empty name."""

    op: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Attribute] = field(default_factory=dict)


@dataclass(kw_only=True)
class Graph:
    """Nodes in an order in which they can run, weights, and the names of inputs and outputs."""

    nodes: list[Node] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class OnnxModel:
    """A model's graph and the versions of the operator sets by domain.

    Attributes:
        functions: how many operators the file itself defines.
    """

    graph: Graph = field(default_factory=Graph)
    opsets: dict[str, int] = field(default_factory=dict)
    functions: list[Graph] = field(default_factory=list)


def parse(data: memoryview) -> OnnxModel:
    """The model that these bytes are.

    Raises:
        ModelInvalid: they are no protobuf message, or one that is nested without end.
    """
    try:
        return _model(data)
    except RecursionError:
        raise ModelInvalid("the file is not an ONNX model: its graphs are nested too deeply") from None


def _model(data: memoryview) -> OnnxModel:
    model = OnnxModel()
    for number, value in fields(data, schema.MODEL):
        if number == 7:
            model.graph = _graph(value)
        elif number == 8:
            domain, version = _opset(value)
            model.opsets[domain] = version
        elif number == 25:
            model.functions.append(_function(value))
    return model


def _function(value: Value) -> Graph:
    """An operator that the file defines; the defaults of its attributes are those of one more node."""
    graph, defaults = Graph(), Node()
    for number, each in _each(value, schema.FUNCTION):
        if number == 7:
            graph.nodes.append(_node(each))
        elif number == 11:
            _add_attribute(defaults, each)
    graph.nodes.append(defaults)
    return graph


def locations(model: OnnxModel) -> list[str]:
    """The files that hold weights, sorted, each once."""
    graphs = [model.graph, *model.functions]
    return sorted({tensor.location for graph in graphs for tensor in _tensors(graph) if tensor.location})


def _tensors(graph: Graph) -> Iterator[Tensor]:
    yield from graph.weights
    for node in graph.nodes:
        for attribute in node.attributes.values():
            yield from attribute.tensors
            for inner in attribute.graphs:
                yield from _tensors(inner)


def _each(value: Value, message: Schema) -> Iterator[tuple[int, Value]]:
    return fields(value, message) if isinstance(value, memoryview) else iter(())


def _text(value: Value) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, memoryview) else ""


def _integers(value: Value) -> Iterator[int]:
    """A repeated integer: packed, or one at a time."""
    yield from (signed(v) for v in (varints(value) if isinstance(value, memoryview) else (value,)))


def _opset(value: Value) -> tuple[str, int]:
    domain, version = "", 0
    for number, each in _each(value, schema.OPSET):
        if number == 1:
            domain = _text(each)
        elif number == 2 and isinstance(each, int):
            version = each
    return "" if domain == "ai.onnx" else domain, version


def _graph(value: Value) -> Graph:
    graph = Graph()
    for number, each in _each(value, schema.GRAPH):
        if number == 1:
            graph.nodes.append(_node(each))
        elif number == 5:
            graph.weights.append(_tensor(each))
        elif number == 11:
            graph.inputs.append(_name(each, schema.VALUE_INFO))
        elif number == 12:
            graph.outputs.append(_name(each, schema.VALUE_INFO))
        elif number == 15:
            graph.weights.extend(_sparse(each))
    return graph


def _name(value: Value, message: Schema) -> str:
    return next((_text(each) for number, each in _each(value, message) if number == 1), "")


def _node(value: Value) -> Node:
    node = Node()
    for number, each in _each(value, schema.NODE):
        if number == 1:
            node.inputs.append(_text(each))
        elif number == 2:
            node.outputs.append(_text(each))
        elif number == 4:
            node.op = _text(each)
        elif number == 5:
            _add_attribute(node, each)
        elif number == 7:
            domain = _text(each)
            node.domain = "" if domain == "ai.onnx" else domain
    return node


def _add_attribute(node: Node, value: Value) -> None:
    long = _is_long_list(value)
    attribute = Attribute(name=_name(value, schema.ATTRIBUTE), unread=True) if long else _attribute(value)
    if attribute.name in node.attributes:
        raise ModelInvalid(f"the file is not an ONNX model: {node.op} has the attribute {attribute.name} twice")
    node.attributes[attribute.name] = attribute


def _attribute(value: Value) -> Attribute:
    attribute = Attribute()
    integers: list[int] = []
    for number, each in _each(value, schema.ATTRIBUTE):
        if number == 1:
            attribute.name = _text(each)
        elif number == 3 and isinstance(each, int):
            attribute.i = signed(each)
        elif number == 4:
            attribute.s = _text(each)
        elif number in {5, 10}:
            attribute.tensor = _tensor(each)
            attribute.tensors.append(attribute.tensor)
        elif number in {6, 11}:
            attribute.graphs.append(_graph(each))
        elif number in {7, 9}:
            attribute.count += 1
        elif number == 8:
            integers.extend(_integers(each))
        elif number in {22, 23}:
            attribute.tensors.extend(_sparse(each))
    attribute.ints = tuple(integers)
    return attribute


def _is_long_list(value: Value) -> bool:
    return isinstance(value, memoryview) and len(value) > LONG and bytes(value[-3:-1]) == TYPE and value[-1] in LISTS


def _sparse(value: Value) -> list[Tensor]:
    """A sparse tensor: its elements, which bear its name, with the shape of the whole; and its indices."""
    parts = [_tensor(each) for number, each in _each(value, schema.SPARSE_TENSOR) if number in {1, 2}]
    dims = tuple(i for number, each in _each(value, schema.SPARSE_TENSOR) if number == 3 for i in _integers(each))
    for part in parts:
        part.dims, part.values = dims, None
    return parts


def _tensor(value: Value) -> Tensor:
    tensor, found = Tensor(), _Elements()
    dims: list[int] = []
    place = 0
    for number, each in _each(value, schema.TENSOR):
        if number == 1:
            dims.extend(_integers(each))
        elif number == 2:
            found.kind = _one_of(each, schema.LAST_DATA_TYPE)
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
    tensor.values = found.values(math.prod(dims))
    return tensor


class _Elements:
    """The elements of a tensor, in whichever of the ways they are written."""

    def __init__(self) -> None:
        self.kind = 0
        self.raw = memoryview(b"")
        self._typed: list[float] = []

    def add(self, number: int, value: Value) -> None:
        """Takes those of float_data (4), int32_data (5) or int64_data (7); of many none are wanted."""
        if isinstance(value, memoryview) and len(value) > 10 * MAX_VALUES:
            return
        if number != 4:
            self._typed.extend(_integers(value))
        elif isinstance(value, memoryview) and len(value) % 4 == 0:
            self._typed.extend(struct.unpack(f"<{len(value) // 4}f", value))

    def values(self, count: int) -> tuple[float, ...] | None:
        """All of them; None where they are too many, or of a kind that is not read."""
        letter = LETTERS.get(self.kind)
        if letter is None or not 0 <= count <= MAX_VALUES:
            return None
        if len(self.raw) == count * struct.calcsize(letter) and count:
            return struct.unpack(f"<{count}{letter}", self.raw)
        return tuple(self._typed) if len(self._typed) == count else None


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
