"""A model whose runs take far more memory than its inputs."""

from pathlib import Path

from onnx import TensorProto, helper


def products(folder: Path) -> Path:
    """Of a row of n numbers, the sum of the n x n products of two of them: a row of 4 n bytes takes 4 n^2 bytes."""
    nodes = [
        helper.make_node("Unsqueeze", ["x", "two"], ["a"]),
        helper.make_node("Unsqueeze", ["x", "one"], ["b"]),
        helper.make_node("Mul", ["a", "b"], ["c"]),
        helper.make_node("ReduceSum", ["c", "both"], ["y"], keepdims=0),
    ]
    axes = {"one": [1], "two": [2], "both": [1, 2]}
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", "n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows"])],
        [helper.make_tensor(name, TensorProto.INT64, [len(at)], at) for name, at in axes.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    path = folder / "products.onnx"
    path.write_bytes(made.SerializeToString())
    return path
