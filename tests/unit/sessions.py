"""Small models made here, in real onnxruntime sessions."""

from pathlib import Path
from typing import Any

from onnx import TensorProto, helper, numpy_helper

from corefit_runtime.engine.onnxruntime import OnnxRuntimeEngine
from corefit_runtime.engine.types import Threads

F, I = TensorProto.FLOAT, TensorProto.INT64  # noqa: E741 - onnx's own letters


def engine(
    folder: Path, nodes: list[Any], *, x: Any = ("n", 4), y: Any = ("n", 4), kind: int = F, **weights: Any
) -> OnnxRuntimeEngine:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, x)],
        [helper.make_tensor_value_info("y", F, y)],
        initializer=[numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return OnnxRuntimeEngine(path, Threads())
