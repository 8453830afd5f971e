"""What the engine may load."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from corefit_core.errors import InvalidInput, ModelInvalid, TooLarge
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


F, N, S = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
ONES = np.ones((2, 2), np.float32)


def of_one_node(folder: Path, operator: str, kinds: dict[str, int], **attributes: Any) -> Engine:
    inputs = [helper.make_tensor_value_info(name, kind, ["n", "m"][: 1 + (kind == F)]) for name, kind in kinds.items()]
    node = helper.make_node(operator, list(kinds), ["y"], **attributes)
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", F, None)])
    path = folder / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return Engine(path, Threads())


@pytest.mark.parametrize(
    ("operator", "kinds", "feeds", "refused"),
    [
        (
            "Add",
            {"a": F, "b": F},
            {"a": ONES, "b": np.ones((3, 2), np.float32)},
            (InvalidInput, "'n' is 2 in input 'a'"),
        ),
        ("Cast", {"a": S}, {"a": np.array(["abc"], object)}, (InvalidInput, "Cast node: a string is not a number")),
        ("Gather", {"a": F, "b": N}, {"a": ONES, "b": np.array([9])}, (InvalidInput, "out of data bounds")),
        ("Reshape", {"a": F, "b": N}, {"a": ONES, "b": np.array([9])}, (InvalidInput, "cannot be reshaped")),
        ("ConstantOfShape", {"a": N}, {"a": np.array([2**40, 2**20])}, (TooLarge, "more memory for this input")),
    ],
)
def test_what_an_operator_refuses_is_the_clients_to_mend(
    tmp_path: Path, operator: str, kinds: dict[str, int], feeds: dict[str, Any], refused: tuple[type[Exception], str]
) -> None:
    """It was answered with 500, counted as a fault of the server, and logged with a traceback each time."""
    engine = of_one_node(tmp_path, operator, kinds, **({"to": F} if operator == "Cast" else {}))
    with pytest.raises(refused[0], match=re.escape(refused[1])):
        engine.run(None, feeds)
