"""What a graph proves of its rows: the proof is given for what keeps them apart, and for nothing that may not."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from corefit_core.errors import ModelInvalid
from corefit_runtime.engine.onnxruntime import OnnxRuntimeEngine
from corefit_runtime.engine.types import Threads
from corefit_runtime.onnx import reader
from corefit_runtime.rows.analysis import Proof, analyse
from corefit_runtime.tensors.tensor_spec import TensorSpec

F, I = TensorProto.FLOAT, TensorProto.INT64  # noqa: E741 - onnx's own letters
N = helper.make_node
Shape = tuple[int | str | None, ...]


def prove(
    folder: Path, nodes: list[Any], x: Shape = ("n", 4), y: Shape = ("n", "m"), *, kind: int = F, **weights: Any
) -> Proof:
    """What is proved of a model that onnxruntime loads."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, x)],
        [helper.make_tensor_value_info("y", F, y)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    path = folder / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())
    made = OnnxRuntimeEngine(path, Threads())
    return analyse(reader.parse(memoryview(path.read_bytes())), made.inputs, made.outputs)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def f32(*shape: int) -> Any:
    return np.ones(shape, np.float32)


APART: dict[str, tuple[list[Any], Shape, dict[str, Any]]] = {
    "perceptron": (
        [N("Gemm", ["x", "w", "b"], ["a"], transB=1), N("Relu", ["a"], ["r"]), N("Softmax", ["r"], ["y"])],
        ("n", 4),
        {"w": f32(3, 4), "b": f32(3)},
    ),
    "pictures": (
        [
            N("Conv", ["x", "k"], ["a"], pads=[1, 1, 1, 1]),
            N("BatchNormalization", ["a", "s", "s", "s", "s"], ["b"]),
            N("GlobalAveragePool", ["b"], ["c"]),
            N("Reshape", ["c", "to"], ["y"]),
        ],
        ("n", 1, "h", "w"),
        {"k": f32(8, 1, 3, 3), "s": f32(8), "to": ints(-1, 8)},
    ),
    "flattened by its own size": (
        [
            N("Shape", ["x"], ["s"]),
            N("Gather", ["s", "zero"], ["n"]),
            N("Unsqueeze", ["n", "axes"], ["n1"]),
            N("Concat", ["n1", "rest"], ["to"], axis=0),
            N("Reshape", ["x", "to"], ["y"]),
        ],
        ("n", 2, 3),
        {"zero": np.array(0), "axes": ints(0), "rest": ints(-1)},
    ),
    "attention": (
        [
            N("MatMul", ["x", "w"], ["q"]),
            N("Reshape", ["q", "heads"], ["q4"]),
            N("Transpose", ["q4"], ["qt"], perm=[0, 2, 1, 3]),
            N("Transpose", ["q4"], ["kt"], perm=[0, 2, 3, 1]),
            N("MatMul", ["qt", "kt"], ["a"]),
            N("Softmax", ["a"], ["p"], axis=-1),
            N("MatMul", ["p", "qt"], ["c"]),
            N("Transpose", ["c"], ["ct"], perm=[0, 2, 1, 3]),
            N("Reshape", ["ct", "back"], ["o"]),
            N("LayerNormalization", ["o", "g"], ["l"]),
            N("ReduceMean", ["l"], ["y"], axes=[1], keepdims=0),
        ],
        ("n", "s", 8),
        {"w": f32(8, 8), "heads": ints(0, -1, 2, 4), "back": ints(0, -1, 8), "g": f32(8)},
    ),
    "time first": (
        [
            N("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
            N("LSTM", ["t", "w", "r"], ["", "h"], hidden_size=2),
            N("Squeeze", ["h", "axes"], ["y"]),
        ],
        ("n", "s", 3),
        {"w": f32(1, 8, 3), "r": f32(1, 8, 2), "axes": ints(0)},
    ),
    "forest": (
        [
            N(
                "TreeEnsembleRegressor",
                ["x"],
                ["y"],
                domain="ai.onnx.ml",
                n_targets=1,
                nodes_treeids=[0],
                nodes_nodeids=[0],
                nodes_modes=["LEAF"],
                nodes_featureids=[0],
                nodes_values=[0.0],
                nodes_truenodeids=[0],
                nodes_falsenodeids=[0],
                target_treeids=[0],
                target_nodeids=[0],
                target_ids=[0],
                target_weights=[1.0],
            )
        ],
        ("n", 4),
        {},
    ),
    "a cut inside the rows": (
        [N("Slice", ["x", "b", "e", "a"], ["y"])],
        ("n", 4),
        {"b": ints(1), "e": ints(3), "a": ints(1)},
    ),
    "the best of a row": ([N("TopK", ["x", "k"], ["y", "i"])], ("n", 4), {"k": ints(2)}),
    "a token for each": (
        [
            N("Shape", ["x"], ["s"], end=1),
            N("Concat", ["s", "rest"], ["to"], axis=0),
            N("Expand", ["token", "to"], ["t"]),
            N("Concat", ["t", "x"], ["c"], axis=1),
            N("ReduceSum", ["c", "axes"], ["y"], keepdims=0),
        ],
        ("n", 5, 2),
        {"rest": ints(1, 2), "token": f32(1, 1, 2), "axes": ints(1)},
    ),
}

MET: dict[str, tuple[list[Any], Shape, dict[str, Any]]] = {
    "rows of zeros are dropped": (
        [
            N("ReduceMax", ["x"], ["f"], axes=[1], keepdims=0),
            N("Greater", ["f", "zero"], ["g"]),
            N("Compress", ["x", "g"], ["y"], axis=0),
        ],
        ("n", 4),
        {"zero": np.float32(0)},
    ),
    "dropped, then filled up": (
        [
            N("NonZero", ["x"], ["i"]),
            N("Transpose", ["i"], ["it"]),
            N("GatherND", ["x", "it"], ["v"]),
            N("Shape", ["x"], ["s"]),
            N("Reshape", ["v", "s"], ["y"]),
        ],
        ("n", 4),
        {},
    ),
    "sorted by the first element": (
        [
            N("Slice", ["x", "b", "e", "a"], ["c"]),
            N("Squeeze", ["c", "a"], ["k"]),
            N("Shape", ["k"], ["n"]),
            N("TopK", ["k", "n"], ["v", "order"], axis=0),
            N("Gather", ["x", "order"], ["y"], axis=0),
        ],
        ("n", 4),
        {"b": ints(0), "e": ints(1), "a": ints(1)},
    ),
    "the largest of the batch": ([N("ReduceMax", ["x"], ["m"], axes=[0]), N("Sub", ["x", "m"], ["y"])], ("n", 4), {}),
    "by the batch's own statistics": ([N("MeanVarianceNormalization", ["x"], ["y"])], ("n", 2, 2, 2), {}),
    "softmax over the batch": ([N("Softmax", ["x"], ["y"], axis=0)], ("n", 4), {}),
    "the row before": ([N("CumSum", ["x", "a"], ["y"])], ("n", 4), {"a": np.array(0)}),
    "two rows in one": (
        [N("Reshape", ["x", "two"], ["a"]), N("Softmax", ["a"], ["b"]), N("Reshape", ["b", "back"], ["y"])],
        ("n", 4),
        {"two": ints(-1, 8), "back": ints(-1, 4)},
    ),
    "rows and columns exchanged": (
        [N("Transpose", ["x"], ["t"]), N("Softmax", ["t"], ["s"]), N("Transpose", ["s"], ["y"])],
        ("n", 4),
        {},
    ),
    "each with each": ([N("Transpose", ["x"], ["t"]), N("MatMul", ["x", "t"], ["y"])], ("n", 4), {}),
    "a place in the batch": ([N("Add", ["x", "place"], ["y"])], ("n", 4), {"place": f32(3, 4)}),
    "how many there are": (
        [N("Shape", ["x"], ["s"], end=1), N("Cast", ["s"], ["f"], to=F), N("Mul", ["x", "f"], ["y"])],
        ("n", 4),
        {},
    ),
    "as many as there are of each": (
        [N("Shape", ["x"], ["s"], end=1), N("TopK", ["x", "s"], ["t", "i"]), N("ReduceSum", ["t"], ["y"], keepdims=0)],
        ("n", 4),
        {},
    ),
    "noise": ([N("RandomNormalLike", ["x"], ["r"]), N("Add", ["x", "r"], ["y"])], ("n", 4), {}),
    "quantised by the batch": (
        [N("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), N("DequantizeLinear", ["q", "s", "z"], ["y"])],
        ("n", 4),
        {},
    ),
    "without the sizes of 1": (
        [N("Squeeze", ["x"], ["a"]), N("Reshape", ["a", "to"], ["y"])],
        ("n", 4),
        {"to": ints(-1, 4)},
    ),
    "indices into the batch": (
        [N("MaxPool", ["x"], ["v", "i"], kernel_shape=[2, 2]), N("Cast", ["i"], ["y"], to=F)],
        ("n", 1, 4, 4),
        {},
    ),
}


@pytest.mark.parametrize("case", APART)
def test_rows_that_stay_apart_are_proved(tmp_path: Path, case: str) -> None:
    nodes, x, weights = APART[case]
    assert prove(tmp_path, nodes, x, ("n", "m"), **weights) == Proof(independent=True, bounded=True)


@pytest.mark.parametrize("case", MET)
def test_rows_that_may_meet_are_not(tmp_path: Path, case: str) -> None:
    nodes, x, weights = MET[case]
    y: Shape = ("n",) if case.startswith("as many") else ("n", *[f"d{i}" for i in range(len(x) - 1)])
    proof = prove(tmp_path, nodes, x, y, **weights)
    assert not proof.independent
    assert proof.why


def _looping() -> list[Any]:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [N("Identity", ["c"], ["c2"]), N("Add", ["s", "s"], ["s2"])],
        "b",
        [value("i", I, []), value("c", TensorProto.BOOL, []), value("s", F, ["n", 4])],
        [value("c2", TensorProto.BOOL, []), value("s2", F, ["n", 4])],
    )
    return [
        N("ReduceMax", ["x"], ["m"], keepdims=0),
        N("Cast", ["m"], ["k"], to=I),
        N("Loop", ["k", "", "x"], ["y"], body=body),
    ]


@pytest.mark.parametrize(
    ("nodes", "bounded"),
    [
        ([N("Softmax", ["x"], ["y"], axis=0)], True),
        (_looping(), False),
        ([N("Cast", ["x"], ["i"], to=I), N("Reshape", ["i", "all"], ["s"]), N("Expand", ["x", "s"], ["y"])], False),
    ],
    ids=["coupled", "a loop", "a size from the data"],
)
def test_the_length_of_a_run_is_bounded_where_no_element_decides_on_it(
    tmp_path: Path, nodes: list[Any], bounded: bool
) -> None:
    proof = prove(tmp_path, nodes, y=("n", "m"), all=ints(-1))
    assert proof.bounded == bounded
    assert not proof.independent


def test_a_fixed_leading_dimension_is_named_and_its_run_bounded(tmp_path: Path) -> None:
    proof = prove(tmp_path, [N("Neg", ["x"], ["y"])], (2, 4), (2, 4))
    assert proof == Proof(bounded=True, why="x has no free leading dimension")


def test_operators_that_a_file_defines_itself_prove_nothing(tmp_path: Path) -> None:
    """It may call them what it likes, such as Relu."""
    function = helper.make_function(
        "own", "Relu", ["a"], ["b"], [N("CumSum", ["a", "z"], ["b"])], [helper.make_opsetid("", 17)]
    )
    graph = helper.make_graph(
        [N("Relu", ["x"], ["y"], domain="own")],
        "g",
        [helper.make_tensor_value_info("x", F, ["n", 4])],
        [helper.make_tensor_value_info("y", F, ["n", 4])],
    )
    model = helper.make_model(graph, functions=[function], opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    parsed = reader.parse(memoryview(model.SerializeToString()))
    assert not analyse(parsed, (), ()).independent


def test_a_file_is_read_as_onnx_itself_reads_it(tmp_path: Path) -> None:
    """Names, attributes, shapes and small weights, in both ways in which numbers are written."""
    weights = [
        helper.make_tensor("packed", I, [3], [1, -2, 3]),
        numpy_helper.from_array(np.array([0.5, 2.0], np.float32), "raw"),
        helper.make_tensor("floats", F, [2], [1.0, 2.0]),
        numpy_helper.from_array(np.zeros((100, 3), np.float32), "large"),
    ]
    node = N("Conv", ["x", "large"], ["y"], pads=[1, -1], group=-3, auto_pad="VALID")
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", F, ["n"])], [], weights)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx", 17)]).SerializeToString()
    parsed = reader.parse(memoryview(data))
    assert parsed.opsets == {"": 17}
    assert [(w.name, w.dims, w.values) for w in parsed.graph.weights] == [
        ("packed", (3,), (1, -2, 3)),
        ("raw", (2,), (0.5, 2.0)),
        ("floats", (2,), (1.0, 2.0)),
        ("large", (100, 3), None),
    ]
    [read] = parsed.graph.nodes
    assert (read.op, read.inputs, read.outputs) == ("Conv", ["x", "large"], ["y"])
    assert (read.attributes["pads"].ints, read.attributes["group"].i, read.attributes["auto_pad"].s) == (
        (1, -1),
        -3,
        "VALID",
    )
    assert onnx.load_from_string(data).graph.node[0].op_type == read.op


def test_long_lists_are_not_read(tmp_path: Path) -> None:
    """A forest of 50 MB took 20 s of CPU."""
    node = N("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", nodes_treeids=[7] * 5000, n_targets=2)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", F, ["n"])], [])
    [read] = reader.parse(memoryview(helper.make_model(graph).SerializeToString())).graph.nodes
    assert read.attributes["nodes_treeids"].unread
    assert not read.attributes["nodes_treeids"].ints
    assert read.attributes["n_targets"].i == 2
    nodes = [N("Constant", [], ["c"], value_ints=list(range(3000))), N("Shape", ["c"], ["s"])]
    nodes += [N("Concat", ["s", "rest"], ["to"], axis=0), N("Reshape", ["x", "to"], ["y"])]
    assert not prove(tmp_path, nodes, ("n", 4), ("n", "m"), rest=ints(-1)).independent


@settings(max_examples=200)
@given(data=st.data())
def test_a_broken_file_is_refused_or_read_and_nothing_else(data: st.DataObject) -> None:
    graph = helper.make_graph(
        [N("Conv", ["x", "w"], ["y"], pads=[1, 1], group=1), N("Reshape", ["y", "to"], ["z"])],
        "g",
        [helper.make_tensor_value_info("x", F, ["n", 1, 4])],
        [helper.make_tensor_value_info("z", F, ["n", 4])],
        [numpy_helper.from_array(f32(1, 1, 3), "w"), numpy_helper.from_array(ints(-1, 4), "to")],
    )
    broken = bytearray(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    x = TensorSpec(name="x", datatype="FP32", shape=(-1, 1, 4))
    z = TensorSpec(name="z", datatype="FP32", shape=(-1, 4))
    with contextlib.suppress(ModelInvalid):
        analyse(reader.parse(memoryview(bytes(broken))), (x,), (z,))


def int32(*values: int) -> Any:
    return np.array(values, np.int32)


FIRST = ("x", "zero", "end", "zero", "one")
PLACES: dict[str, Any] = {"zero": ints(0), "one": ints(1)}
SIZED = [N("Shape", ["x"], ["s"], end=1), N("Concat", ["s", "six"], ["to"], axis=0)]
FOOLED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "an end that a cast narrows": (
        [N("Cast", ["big"], ["b"], to=TensorProto.INT32), N("Cast", ["b"], ["end"], to=I)],
        {"big": ints((1 << 32) + 1)},
    ),
    "an end that a cast like another narrows": (
        [N("CastLike", ["big", "l"], ["b"]), N("CastLike", ["b", "one"], ["end"])],
        {"big": ints((1 << 32) + 1), "l": int32(0)},
    ),
    "an end that a cast to floats rounds": (
        [
            N("Cast", ["a"], ["b"], to=F),
            N("Cast", ["two"], ["c"], to=F),
            N("Div", ["b", "c"], ["d"]),
            N("Mul", ["d", "c"], ["e"]),
            N("Cast", ["e"], ["f"], to=I),
            N("Mul", ["f", "h"], ["end"]),
        ],
        {"a": ints(1), "two": ints(2), "h": ints((1 << 31) - 1)},
    ),
    "an end beyond 64 bits": (
        [N("Mul", ["a", "b"], ["z"]), N("Add", ["z", "one"], ["end"])],
        {"a": ints(1 << 62), "b": ints(4)},
    ),
}


@pytest.mark.parametrize("name", FOOLED)
def test_an_end_of_a_slice_that_the_operators_change_is_not_all_rows(name: str, tmp_path: Path) -> None:
    """Each of them gave every client of a joined run the first row."""
    nodes, weights = FOOLED[name]
    nodes = [*nodes, N("Slice", FIRST, ["first"]), N("Add", ["x", "first"], ["y"])]
    assert not prove(tmp_path, nodes, ("n", 4), ("n", 4), **PLACES, **weights).independent


def test_arithmetic_of_32_bits_is_not_that_of_64(tmp_path: Path) -> None:
    nodes = [N("Mul", ["a", "b"], ["z"]), N("Add", ["z", "one"], ["end"])]
    nodes += [N("Slice", FIRST, ["first"]), N("Add", ["x", "first"], ["y"])]
    weights = {"a": int32(1 << 30), "b": int32(4), "zero": int32(0), "one": int32(1)}
    assert not prove(tmp_path, nodes, ("n", 4), ("n", 4), **weights).independent


def test_axes_that_a_cast_changes_are_not_known(tmp_path: Path) -> None:
    nodes = [N("Cast", ["two"], ["b"], to=TensorProto.BOOL), N("Cast", ["b"], ["axes"], to=I)]
    nodes += [N("Unsqueeze", ["x", "zero"], ["u"]), N("ReduceSum", ["u", "axes"], ["s"], keepdims=1)]
    nodes += [N("Squeeze", ["s", "zero"], ["t"]), N("Add", ["x", "t"], ["y"])]
    assert not prove(tmp_path, nodes, ("n", 4), ("n", 4), zero=ints(0), two=ints(2)).independent


def test_a_squeeze_of_an_empty_list_of_axes_is_one_of_all_axes_of_size_1(tmp_path: Path) -> None:
    nodes = [N("Unsqueeze", ["x", "one"], ["u"]), N("Squeeze", ["u", "none"], ["s"])]
    nodes += [N("ReduceSum", ["s", "last"], ["r"], keepdims=0), N("Add", ["x", "r"], ["y"])]
    assert not prove(tmp_path, nodes, ("n", 4), ("n", 4), one=ints(1), none=ints(), last=ints(-2)).independent


def test_pictures_that_keep_their_form_change_the_number_of_rows(tmp_path: Path) -> None:
    for policy in ("stretch", "not_smaller", "not_larger"):
        node = N("Resize", ["x", "", "", "to"], ["y"], mode="linear", keep_aspect_ratio_policy=policy)
        path = tmp_path / "m.onnx"
        graph = helper.make_graph(
            [*SIZED, node],
            "g",
            [helper.make_tensor_value_info("x", F, ["n", 3])],
            [helper.make_tensor_value_info("y", F, ["n", 6])],
            [numpy_helper.from_array(ints(6), "six")],
        )
        opsets = [helper.make_opsetid("", 19)]
        path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())
        made = OnnxRuntimeEngine(path, Threads())
        found = analyse(reader.parse(memoryview(path.read_bytes())), made.inputs, made.outputs)
        assert found.independent == (policy == "stretch")


LIST_LIKE = b"x" * 5000 + bytes([0xC2, 0xA0, 1, 7])
"""A description that ends as a long list does: with its type."""


def attribute(node: Any, given: Any, *, more: bytes = b"") -> Any:
    """The node with an attribute that has more bytes, which onnx itself would not write there."""
    data = given.SerializeToString() + more
    wire = bytes([5 << 3 | 2])
    size = len(data)
    while size > 127:
        wire += bytes([size & 127 | 128])
        size >>= 7
    return onnx.NodeProto.FromString(node.SerializeToString() + wire + bytes([size]) + data)


def test_a_description_hides_no_attribute(tmp_path: Path) -> None:
    """The axis was not read, and the operator's default was taken for it."""
    given = helper.make_attribute("axis", 0)
    given.doc_string = LIST_LIKE.decode()
    node = attribute(N("Softmax", ["x"], ["y"]), given)
    data = helper.make_model(helper.make_graph([node], "g", [], [])).SerializeToString()
    # As onnx writes it the type comes last; here it comes before the description.
    last = data.replace(LIST_LIKE + b"\xa0\x01\x02", b"\xa0\x01\x02" + LIST_LIKE)
    for each in (data, last):
        [read] = reader.parse(memoryview(each)).graph.nodes
        assert (read.attributes["axis"].i, read.attributes["axis"].unread) == (0, False)


@pytest.mark.parametrize("kind", [onnx.AttributeProto.INTS, onnx.AttributeProto.UNDEFINED])
def test_an_attribute_of_another_type_proves_nothing(kind: Any) -> None:
    given = onnx.AttributeProto(name="axis", i=1, type=kind)
    node = N("Softmax", ["x"], ["y"])
    node.attribute.append(given)
    data = helper.make_model(helper.make_graph([node], "g", [], [])).SerializeToString()
    x, y = (TensorSpec(name=name, datatype="FP32", shape=(-1, 4)) for name in "xy")
    assert not analyse(reader.parse(memoryview(data)), (x,), (y,)).independent


def test_an_attribute_that_parsers_may_read_differently_is_refused() -> None:
    tensor = helper.make_tensor("t", I, [1], [0]).SerializeToString()
    twice = onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR).SerializeToString()
    twice += (bytes([5 << 3 | 2, len(tensor)]) + tensor) * 2
    renamed = helper.make_attribute("axis", 0).SerializeToString() + bytes([1 << 3, 5])
    for data in (twice, renamed):
        node = bytes([5 << 3 | 2, len(data)]) + data
        graph = bytes([1 << 3 | 2, len(node)]) + node
        with pytest.raises(ModelInvalid, match=r"field 5 twice|field 1 is of another type"):
            reader.parse(memoryview(bytes([7 << 3 | 2, len(graph)]) + graph))


def test_a_model_of_countless_empty_nodes_is_refused() -> None:
    """2 MB of them took 300 MB and 4 s of CPU."""
    graph = b"\x0a\x00" * 1_000_000
    size = len(graph)
    wire = bytes([7 << 3 | 2, size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127])
    with pytest.raises(ModelInvalid, match=r"more than 300,000 nodes"):
        reader.parse(memoryview(wire + graph))
