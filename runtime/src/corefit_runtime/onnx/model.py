"""What a file says of a model: its nodes, the shapes of its weights, the other files that hold weights."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Tensor:
    """A weight: its name, its shape, and its elements where it has few.

    Attributes:
        kind: the TensorProto.DataType of its elements; 0 where the file doesn't say.
        values: the elements in row-major order; None unless they are a few numbers in this file.
        location: the file that holds the data, relative to the model's folder; empty when it is this one.
    """

    name: str = ""
    dims: tuple[int, ...] = ()
    kind: int = 0
    values: tuple[float, ...] | None = None
    location: str = ""


@dataclass(kw_only=True)
class Attribute:
    """A node's attribute; which of the fields counts is the operator's to know.

    Attributes:
        kind: the AttributeProto.AttributeType, which says which field counts; 0 where the file doesn't say.
        unread: it is a list of so many elements that they are not read, such as the nodes of a forest; or it stands
            for another attribute, of the function that the node is in.
    """

    name: str = ""
    kind: int = 0
    unread: bool = False
    i: int | None = None
    s: str = ""
    ints: tuple[int, ...] = ()
    count: int = 0
    tensor: Tensor | None = None
    graphs: list["Graph"] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)

    @property
    def length(self) -> int | None:
        """How many elements its list has; None: they are not read."""
        return None if self.unread else self.count or len(self.ints)


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
    """A model's graph and the versions of the operator sets by domain, 0 where the file says two.

    Attributes:
        functions: how many operators the file itself defines.
    """

    graph: Graph = field(default_factory=Graph)
    opsets: dict[str, int] = field(default_factory=dict)
    functions: list[Graph] = field(default_factory=list)


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
