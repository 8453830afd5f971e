"""What a model may make of the strings of a request, and of its own: how many of them, or as many as a request says.

onnxruntime allocates the characters of strings outside of the memory of runs, where nothing bounds them. So they are
bounded before a run: where each string that an operator gives is one of a request's, by the request's; where it is the
model's own, by how many rows there are; where an operator may repeat strings, or it isn't known how many there are, by
how long they are. Strings that nobody is given count as well: those between two operators.
"""

import math
from collections.abc import Sequence
from typing import Final

from corefit_runtime.onnx.model import Graph, Node, OnnxModel
from corefit_runtime.rows import analysis
from corefit_runtime.rows.types import Known, Op, Result, Rule
from corefit_runtime.tensors.strings import NO_STRINGS, Strings
from corefit_runtime.tensors.tensor_spec import TensorSpec

A_STRING: Final = 8
"""TensorProto.DataType."""
OWN: Final = ""
"""Stands among the inputs for the model's own strings: so many has each row."""
MOST: Final = 1 << 40
"""How often a string is counted at most: of a request of one byte nobody has so much memory. Without an end, a graph
that doubles its strings at each operator would have numbers of as many digits as operators."""
MANY: Final = 64
"""Inputs of strings, beyond which none is followed by itself."""
KEPT: Final = frozenset(
    {
        *("Compress", "Concat", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "StringNormalizer"),
        *("Transpose", "Unique", "Unsqueeze"),
    }
)
"""Operators that give no string more often than they get it. Those of one that gives numbers as well come first."""
CUT: Final = frozenset({"StringSplit", "Tokenizer"})
CUTTING: Final = 24
"""How often the memory of a string is taken while it is cut: Tokenizer took 16 to 20 times as much."""
PIECES: Final = 3
"""How often it is there afterwards at most: a piece of more than 15 bytes takes 17 more."""
READ: Final = frozenset(
    {
        *("Cast", "CategoryMapper", "DictVectorizer", "Equal", "LabelEncoder", "OneHotEncoder", "RegexFullMatch"),
        *("Shape", "Size", "TfIdfVectorizer"),
    }
)
"""Operators that give numbers for strings."""
LABELS: Final = frozenset({"classlabels_strings", "values_strings"})
"""Attributes of operators that give strings of the model."""
PICKED: Final = frozenset({"ArrayFeatureExtractor", "Gather"})
"""Operators that give as many strings as there are positions."""


TEXTS: Final = frozenset({"value_string", "value_strings"})
"""Attributes of a Constant of strings."""


def _same(op: Op) -> Result:
    return op.require(0)


def _cut(op: Op) -> Result:
    """One more axis at the end."""
    x, _, dims = op.rows()
    return x.with_dims((*dims, None))


RULES: Final[dict[str, Rule]] = {"StringNormalizer": _same, **dict.fromkeys(CUT, _cut)}
"""Where rows lie behind operators that may drop some: there are no more of them."""


def analyse(model: OnnxModel, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Strings:
    """What the model's graph may make of the strings of these inputs, and of its own."""
    taken = [spec.name for spec in inputs if spec.datatype == "BYTES"]
    given = [spec.name for spec in outputs if spec.datatype == "BYTES"]
    if len(taken) > MANY:
        return Strings(dict.fromkeys(taken, 2), 1, repeated=True)
    walk = _Walk(model, inputs, taken)
    for node in model.graph.nodes:
        walk.go_on(node)
    for name in given:
        walk.give(name)
    repeated = walk.repeated or any(walk.has_strings or _has_strings(graph) for graph in model.functions)
    own = walk.copies.pop(OWN)
    return Strings(walk.copies, own, repeated) if walk.copies or own or repeated else NO_STRINGS


class _Walk:
    """What is known of the tensors of strings so far.

    Attributes:
        copies: how often all tensors together may have the strings of each input.
        repeated: whether there may be as many strings as numbers in a request say.
    """

    def __init__(self, model: OnnxModel, inputs: Sequence[TensorSpec], taken: Sequence[str]) -> None:
        self._known = analysis.followed(model, inputs, RULES)
        replaced = {spec.name for spec in inputs}
        weights = [tensor for tensor in model.graph.weights if tensor.name not in replaced]
        self._weights = {tensor.name: tensor.dims for tensor in weights}
        self._constants: dict[str, tuple[int, ...] | None] = {
            tensor.name: tensor.dims for tensor in weights if tensor.kind == A_STRING
        }
        self._held = {name: {name: 1} for name in taken}
        self.copies = {**dict.fromkeys(taken, 1), OWN: 0}
        self.repeated = False

    @property
    def has_strings(self) -> bool:
        """Whether there has been any tensor of strings."""
        return bool(self._held or self._constants)

    def go_on(self, node: Node) -> None:
        """Goes on by a node."""
        graphs = [graph for attribute in node.attributes.values() for graph in attribute.graphs]
        if graphs:
            self.repeated = self.repeated or self.has_strings or any(map(_has_strings, graphs))
            return
        if _is_constant(node):
            self._constants.update(dict.fromkeys(node.outputs[:1], _dims(node)))
            return
        strings = [name for name in node.inputs if name in self._held or name in self._constants]
        if _makes_strings(node, takes=bool(strings)):
            self._make(node, self._size(node))
        elif strings and (node.op not in READ or _to_string(node)):
            self._keep(node, strings)

    def give(self, name: str) -> None:
        """An output of strings: there are objects of them as well. One that comes of nothing known may have any."""
        self.repeated = self.repeated or not (name in self._held or name in self._constants)
        self._count(self._strings(name))

    def _keep(self, node: Node, strings: list[str]) -> None:
        """Strings of a request, or of the model, that an operator gives on."""
        if all(name in self._constants for name in strings):
            if node.op in KEPT:
                self._constants.update(dict.fromkeys(node.outputs))
                return
            if node.op in PICKED:
                self._make(node, self._picked(node))
                return
        factor = CUTTING if node.op in CUT else 1 if node.op in KEPT or node.op in READ else self._positions(node)
        found: dict[str, int] = {}
        for name in strings:
            for source, times in self._strings(name).items():
                found[source] = min(MOST, found.get(source, 0) + max(1, factor) * times)
        self._count(found)
        if node.op in CUT:
            found = {name: times // CUTTING * PIECES for name, times in found.items()}
        self._held.update(dict.fromkeys(node.outputs if node.op == "Split" else node.outputs[:1], found))
        self.repeated = self.repeated or factor == 0

    def _make(self, node: Node, size: int | None) -> None:
        """Strings of the model's own, so many for each row; None: that isn't known."""
        found = {OWN: min(MOST, size or 1)}
        self._count(found)
        self._held.update(dict.fromkeys(node.outputs[:1], found))
        self.repeated = self.repeated or size is None

    def _strings(self, name: str) -> dict[str, int]:
        """How often a tensor may have the strings of each input."""
        if name in self._held:
            return self._held[name]
        dims = self._constants.get(name)
        self.repeated = self.repeated or dims is None
        return {OWN: min(MOST, math.prod(dims or ()))}

    def _count(self, found: dict[str, int]) -> None:
        """One more tensor has strings of the inputs, each so often."""
        for name, times in found.items():
            self.copies[name] = min(MOST, self.copies[name] + times)

    def _size(self, node: Node) -> int | None:
        """How many strings an operator makes for each row; None: that isn't known."""
        if node.op != "ZipMap":
            return _elements(self._known.get(node.outputs[0]) if node.outputs else None)
        # A map for each row: the graph may have it though no tensor can carry it, and onnxruntime makes it.
        scores = self._known.get(node.inputs[0]) if node.inputs else None
        lists = [value for name, value in node.attributes.items() if name.startswith("classlabels_")]
        one_each = scores is not None and scores.axis is not None and scores.exact
        return lists[0].length if one_each and len(lists) == 1 else None

    def _picked(self, node: Node) -> int | None:
        """How many strings of the model are picked for each row; None: that isn't known."""
        dims = self._constants.get(node.inputs[0])
        if len(node.inputs) < 2 or dims is None or math.prod(dims[:-1]) != 1:
            return None
        found = self._weights.get(node.inputs[1])
        return math.prod(found) if found is not None else _elements(self._known.get(node.inputs[1]))

    def _positions(self, node: Node) -> int:
        """How often an operator may give each string of a request; 0: that isn't known."""
        if node.op not in PICKED or len(node.inputs) < 2:
            return 0
        return math.prod(self._weights.get(node.inputs[1], (0,)))


def _elements(found: Known | None) -> int | None:
    """How many elements of a tensor each row has; None: that isn't known."""
    if found is None or found.dims is None or not found.exact:
        return None
    sizes = [size for axis, size in enumerate(found.dims) if axis != found.axis]
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None


def _is_constant(node: Node) -> bool:
    return node.op == "Constant" and (_tensor_of_strings(node, "value") or not TEXTS.isdisjoint(node.attributes))


def _dims(node: Node) -> tuple[int, ...] | None:
    """The shape of a constant; None: that isn't known."""
    [given] = list(node.attributes.values())[:1]
    if given.tensor is not None:
        return given.tensor.dims
    length = 1 if given.name == "value_string" else given.length
    return None if length is None else (length,)


def _tensor_of_strings(node: Node, name: str) -> bool:
    found = node.attributes.get(name)
    return found is not None and found.tensor is not None and found.tensor.kind == A_STRING


def _to_string(node: Node) -> bool:
    to = node.attributes.get("to")
    return node.op == "Cast" and (to is None or to.i == A_STRING)


def _makes_strings(node: Node, *, takes: bool) -> bool:
    """Whether it gives strings of the model, or numbers as strings; `takes`: it gets strings."""
    if node.op in {"Cast", "CategoryMapper"} or "classes_strings" in node.attributes:
        return not takes and (node.op != "Cast" or _to_string(node))
    if node.op == "OneHotEncoder":
        return False
    return node.op == "ZipMap" or _tensor_of_strings(node, "values_tensor") or not LABELS.isdisjoint(node.attributes)


def _has_strings(graph: Graph) -> bool:
    """Whether anything in it is a string, or becomes one."""
    return any(tensor.kind == A_STRING for tensor in graph.weights) or any(
        _is_constant(node)
        or _makes_strings(node, takes=False)
        or any(_has_strings(inner) for attribute in node.attributes.values() for inner in attribute.graphs)
        for node in graph.nodes
    )
