"""What the engine may load."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from corefit_core.errors import ModelInvalid
from corefit_runtime.engine import Engine, Threads


def refers_to(location: str, folder: Path) -> Path:
    """A model whose weights lie in a file of their own."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], initializer=[weights])
    path = folder / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_weights_may_lie_beside_the_model_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for place in (folder, tmp_path):
        (place / "w.bin").write_bytes(np.ones(4, np.float32).tobytes())
    [y] = Engine(refers_to("w.bin", folder), Threads()).run(None, {"x": np.zeros((1, 4), np.float32)})
    assert y.tolist() == [[1.0] * 4]
    for outside in ("../w.bin", str(tmp_path / "w.bin")):
        with pytest.raises(ModelInvalid, match=r"m\.onnx"):
            Engine(refers_to(outside, folder), Threads())
