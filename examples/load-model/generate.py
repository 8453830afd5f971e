"""Writes the load model beside this file: `model.onnx`, and `rows.json` with requests and their right answers.

    python examples/load-model/generate.py

A small convolutional network with seeded random weights over an 8x8 image that it scales up to 112x112 itself:
256 bytes on the wire, 150 KB of weights and about 8 ms of CPU a row. What it says means nothing; what it costs is
what a small vision model costs. Rows don't influence each other. The same seed gives the same file.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
SEED = 20240229
SIDE = 8  # of the image on the wire
SCALE = 14
CHANNELS = 32
LAYERS = 4
CLASSES = 10
ROWS = 16
OPSET, IR = 17, 8  # old enough for every onnxruntime of the last three years


def model() -> onnx.ModelProto:
    """`X` FP32 [N,64] in, `scores` FP32 [N,10] out."""
    weights = _weights(np.random.default_rng(SEED))
    graph = helper.make_graph(
        _nodes(),
        "load-model",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", SIDE * SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(made)
    return made


def _weights(source: np.random.Generator) -> dict[str, Any]:
    """He initialisation, so that values neither die nor explode on their way through."""
    named: dict[str, Any] = {
        "image_shape": np.array([-1, 1, SIDE, SIDE], np.int64),
        "scales": np.array([1, 1, SCALE, SCALE], np.float32),
        "head": _normal(source, (CHANNELS, CLASSES), CHANNELS),
    }
    for layer in range(LAYERS + 1):
        depth = CHANNELS if layer else 1
        named[f"kernel{layer}"] = _normal(source, (CHANNELS, depth, 3, 3), depth * 9)
    return named


def _normal(source: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> Any:
    return (source.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)


def _nodes() -> list[onnx.NodeProto]:
    nodes = [
        helper.make_node("Reshape", ["X", "image_shape"], ["image"]),
        helper.make_node("Resize", ["image", "", "scales"], ["map0"], mode="nearest"),
    ]
    for layer in range(LAYERS + 1):
        nodes += [
            helper.make_node("Conv", [f"map{layer}", f"kernel{layer}"], [f"conv{layer}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"conv{layer}"], [f"map{layer + 1}"]),
        ]
    return [
        *nodes,
        helper.make_node("GlobalAveragePool", [f"map{LAYERS + 1}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("MatMul", ["features", "head"], ["scores"]),
    ]


def rows(made: bytes) -> dict[str, Any]:
    """Rows of whole numbers from 0 to 16, as the digits have, and what onnxruntime answers to them."""
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    chosen = np.random.default_rng(SEED + 1).integers(0, 17, (ROWS, SIDE * SIDE))
    (scores,) = session.run(None, {"X": chosen.astype(np.float32)})
    return {
        "input": "X",
        "output": "scores",
        "rows": chosen.tolist(),
        "scores": [[round(float(score), 4) for score in row] for row in scores],
    }


def main() -> None:
    """Write both files."""
    made = model().SerializeToString()
    (HERE / "model.onnx").write_bytes(made)
    (HERE / "rows.json").write_text(json.dumps(rows(made), separators=(",", ":")) + "\n")
    print(f"{len(made)} bytes")


if __name__ == "__main__":
    main()
