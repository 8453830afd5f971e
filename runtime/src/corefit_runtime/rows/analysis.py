"""What a model's graph proves without a run: that rows don't know of each other, and that a run's length is bounded.

The analysis goes through the nodes in order and keeps for each tensor where the rows lie (`types.Known`), by the
rules of `rows.rules` and `rows.shapes`. An operator without a rule ends it: nothing is then proved. So no request can
make a model that is proved drop, add, move or mix rows: what decides on rows by their elements (NonZero, Compress,
Unique, NonMaxSuppression, Loop, If, random numbers) has no rule. Pure; measuring is `calibration.row_independence`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from corefit_runtime.onnx.model import Node, OnnxModel
from corefit_runtime.rows.shapes import SHAPES, SIZES
from corefit_runtime.rows.tables import MICROSOFT, ML, STANDARD
from corefit_runtime.rows.types import MIXED, Known, MixedError, NotAnalysedError, Op, Rule, weight
from corefit_runtime.tensors.tensor_spec import TensorSpec

OLDEST: Final = 7
"""Version of the default operator set from which on broadcasting is as it is today."""
RULES: Final[dict[str, dict[str, Rule]]] = {"": {**STANDARD, **SHAPES}, "ai.onnx.ml": ML, "com.microsoft": MICROSOFT}


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What the graph proves.

    Attributes:
        independent: each row of each output depends on the same row of the inputs alone.
        bounded: how long a run takes depends on the sizes of its inputs, not on their elements.
        why: why it isn't independent; empty when it is.
    """

    independent: bool = False
    bounded: bool = False
    why: str = ""


def analyse(model: OnnxModel, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Proof:
    """What the graph proves of these inputs and outputs."""
    try:
        known = _walk(model, inputs)
    except NotAnalysedError as error:
        return Proof(why=str(error))
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        # Attributes that no such operator has: onnxruntime judges them, and nothing is proved.
        return Proof(why=f"the graph can't be followed: {error}")
    strings = any(spec.datatype == "BYTES" for spec in inputs)
    fixed = next((spec.name for spec in (*inputs, *outputs) if not spec.shape or spec.shape[0] != -1), "")
    if fixed:
        return Proof(bounded=not strings, why=f"{fixed} has no free leading dimension")
    for spec in outputs:
        found = known.get(spec.name, MIXED)
        if found.axis != 0:
            return Proof(bounded=not strings, why=f"the graph may mix the rows of {spec.name}")
    return Proof(independent=True, bounded=not strings)


def followed(model: OnnxModel, inputs: Sequence[TensorSpec], more: Mapping[str, Rule]) -> dict[str, Known]:
    """What is known of each tensor, `MIXED` behind an operator without a rule; nothing where the graph is none.

    Args:
        model: the graph.
        inputs: what a request gives.
        more: rules of further operators, by name.
    """
    try:
        known = _given(model, inputs)
    except NotAnalysedError:
        return {}
    static = _static(inputs)
    for node in model.graph.nodes:
        try:
            results = _applied(_op(node, known, model, static=static), more)
        except (NotAnalysedError, LookupError, TypeError, ValueError, ArithmeticError):
            results = []
        for index, name in enumerate(node.outputs):
            known[name] = results[index] if index < len(results) and name not in known else MIXED
    return known


def _walk(model: OnnxModel, inputs: Sequence[TensorSpec]) -> dict[str, Known]:
    known = _given(model, inputs)
    static = _static(inputs)
    for node in model.graph.nodes:
        results = _applied(_op(node, known, model, static=static), {})
        for index, name in enumerate(node.outputs):
            if name in known and name:
                raise NotAnalysedError(f"two tensors have the name {name}")
            if name:
                known[name] = results[index] if index < len(results) else MIXED
    return known


def _given(model: OnnxModel, inputs: Sequence[TensorSpec]) -> dict[str, Known]:
    """What is known before the first operator."""
    if model.functions:
        raise NotAnalysedError("the file defines operators of its own")
    _check_opsets(model)
    # The indices of a sparse weight have no name.
    weights = [tensor for tensor in model.graph.weights if tensor.name]
    known = {"": Known(), **{tensor.name: weight(tensor) for tensor in weights}}
    if len(known) <= len(weights):
        raise NotAnalysedError("two weights have one name")
    for spec in inputs:
        free = bool(spec.shape) and spec.shape[0] == -1
        dims = tuple(None if size < 0 else size for size in spec.shape)
        known[spec.name] = Known(dims=dims, axis=0, data=True) if free else MIXED
    return known


def _check_opsets(model: OnnxModel) -> None:
    if 0 in model.opsets.values():
        raise NotAnalysedError("it names two versions of an operator set")
    # Without a version onnxruntime takes its own newest.
    unsaid = any(not node.domain for node in model.graph.nodes)
    if model.opsets.get("", 0 if unsaid else OLDEST) < OLDEST:
        raise NotAnalysedError(f"its operator set is older than {OLDEST}, or the file doesn't say which it is")


def _static(inputs: Sequence[TensorSpec]) -> bool:
    """Whether all sizes but the number of rows are fixed."""
    return all(size >= 0 for spec in inputs for size in spec.shape[1:])


def _op(node: Node, known: dict[str, Known], model: OnnxModel, *, static: bool) -> Op:
    try:
        inputs = [known[name] if name else None for name in node.inputs]
    except KeyError as error:
        raise NotAnalysedError(f"{node.op} takes {error}, which nothing gives") from error
    return Op(node=node, inputs=inputs, opset=model.opsets.get(node.domain, 1), static=static)


def _applied(op: Op, more: Mapping[str, Rule]) -> list[Known]:
    node = op.node
    rule = RULES.get(node.domain, {}).get(node.op) or more.get(node.op)
    if rule is None or any(attribute.graphs for attribute in node.attributes.values()):
        raise NotAnalysedError(f"nothing is known of what {node.op} does to rows")
    sizes = [op.get(index) for index in SIZES.get(node.op, ())]
    if any(each is not None and each.data for each in sizes):
        raise NotAnalysedError(f"{node.op} takes a size or a position from the data")
    try:
        found = rule(op)
    except MixedError:
        return [_met(op)] * len(node.outputs)
    return found if isinstance(found, list) else [found]


def _met(op: Op) -> Known:
    """What is known where a rule knows nothing of rows: whether it depends on the request at all."""
    given = op.given()
    if any(each.data for each in given):
        return MIXED
    return Known(sized=any(each.sized for each in given))
