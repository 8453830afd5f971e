"""What a model may make of the strings of a request: how many copies of them, or as many as numbers in a request say.

onnxruntime allocates the characters of strings outside of the memory of runs, where nothing bounds them. So they are
bounded before a run: where each string that an operator gives is one of a request's, by the request's; where an
operator may repeat strings, by how long they are.
"""

import math
from collections.abc import Sequence
from typing import Final

from corefit_runtime.onnx.model import Node, OnnxModel, Tensor
from corefit_runtime.tensors.strings import NO_STRINGS, Strings
from corefit_runtime.tensors.tensor_spec import TensorSpec

A_STRING: Final = 8
"""TensorProto.DataType."""
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
"""Operators that give numbers for strings, or others that are in the model, one for one."""
LABELS: Final = frozenset({"cats_strings", "classlabels_strings", "value_string", "value_strings", "values_strings"})
"""Attributes of operators that give strings of the model, one for each number that they get at most."""
PICKED: Final = frozenset({"ArrayFeatureExtractor", "Gather"})
"""Operators that give of a string as many as there are positions: as long as these are a weight, a known number."""


def analyse(model: OnnxModel, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Strings:
    """What the model's graph may make of the strings of these inputs."""
    taken = [spec.name for spec in inputs if spec.datatype == "BYTES"]
    given = [spec for spec in outputs if spec.datatype == "BYTES"]
    walk = _Walk(model.graph.weights, taken)
    for node in model.graph.nodes:
        walk.go_on(node)
    if not walk.held and not given:
        return NO_STRINGS
    labels = [spec for spec in given if not walk.held.get(spec.name)]
    for spec in given:
        walk.count(walk.held.get(spec.name, {}))
    repeated = walk.repeated or bool(model.functions) or any(min(spec.shape[1:], default=0) < 0 for spec in labels)
    return Strings(walk.copies, sum(math.prod(spec.shape[1:]) for spec in labels), repeated)


class _Walk:
    """What is known of the tensors of strings so far.

    Attributes:
        held: how often each may have the strings of each input.
        copies: how often all of them together may.
        repeated: whether an operator may give a string as often as numbers say.
    """

    def __init__(self, weights: Sequence[Tensor], inputs: Sequence[str]) -> None:
        self._weights = {tensor.name: tensor for tensor in weights}
        self.held: dict[str, dict[str, int]] = {tensor.name: {} for tensor in weights if tensor.kind == A_STRING}
        self.held.update({name: {name: 1} for name in inputs})
        self.copies = dict.fromkeys(inputs, 1)
        self.repeated = False

    def go_on(self, node: Node) -> None:
        """Goes on by a node."""
        if any(attribute.graphs for attribute in node.attributes.values()):
            self.repeated = self.repeated or bool(self.held)
            return
        if _makes_strings(node):
            self.held.update({name: {} for name in node.outputs[:1]})
            return
        strings = [self.held[name] for name in node.inputs if name in self.held]
        if not strings or node.op in READ:
            return
        factor = CUTTING if node.op in CUT else 1 if node.op in KEPT else self._positions(node)
        found: dict[str, int] = {}
        for name, times in (each for several in strings for each in several.items()):
            found[name] = found.get(name, 0) + max(1, factor) * times
        self.count(found)
        if node.op in CUT:
            found = {name: times // CUTTING * PIECES for name, times in found.items()}
        self.held.update(dict.fromkeys(node.outputs if node.op == "Split" else node.outputs[:1], found))
        self.repeated = self.repeated or factor == 0

    def count(self, found: dict[str, int]) -> None:
        """One more tensor has strings of the inputs, each so often."""
        for name, times in found.items():
            self.copies[name] += times

    def _positions(self, node: Node) -> int:
        """How often an operator may give each string of a request; 0: that isn't known."""
        if node.op not in PICKED or len(node.inputs) < 2:
            return 0
        positions = self._weights.get(node.inputs[1])
        if positions is not None:
            return math.prod(positions.dims)
        # Strings of the model, one for each number.
        return 0 if self.held.get(node.inputs[0], {"": 1}) else 1


def _makes_strings(node: Node) -> bool:
    """Whether it gives strings of the model, or numbers as strings."""
    to = node.attributes.get("to")
    if node.op == "Cast":
        return to is not None and to.i == A_STRING
    tensor = node.attributes.get("value")
    if tensor is not None and tensor.tensor is not None and tensor.tensor.kind == A_STRING:
        return True
    return not LABELS.isdisjoint(node.attributes)
