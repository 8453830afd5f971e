"""Puts ONNX graphs together layer by layer, with seeded random weights. May not write files or measure time."""

import math
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 17
IR_VERSION: Final = 8
"""Old enough for every onnxruntime since 1.14, so that peers with an older one can serve the same file."""
BATCH: Final = "batch"
"""The symbolic name of the leading dimension, shared by inputs and outputs: rows are independent of each other."""


class Graph:
    """A chain of layers on float32 images or rows; each method appends one and returns the name of its output."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self._name = name
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def conv(self, x: str, cin: int, cout: int, *, kernel: int, stride: int = 1, groups: int = 1) -> str:
        """A convolution with bias that keeps the size at stride 1."""
        fan_in = cin // groups * kernel * kernel
        weight = self._weight((cout, cin // groups, kernel, kernel), fan_in)
        pad = kernel // 2
        return self._node(
            "Conv",
            [x, weight, self._weight((cout,), 100)],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            group=groups,
        )

    def relu(self, x: str) -> str:
        """max(x, 0)."""
        return self._node("Relu", [x])

    def relu6(self, x: str) -> str:
        """min(max(x, 0), 6), MobileNet's activation."""
        low, high = self._constant(np.float32(0)), self._constant(np.float32(6))
        return self._node("Clip", [x, low, high])

    def add(self, a: str, b: str) -> str:
        """Element by element: the shortcut of a residual block."""
        return self._node("Add", [a, b])

    def max_pool(self, x: str, kernel: int, stride: int) -> str:
        """The maximum in each window."""
        pads = [kernel // 2] * 4
        return self._node("MaxPool", [x], kernel_shape=[kernel, kernel], strides=[stride, stride], pads=pads)

    def pooled(self, x: str) -> str:
        """The mean over the image: one row of channels."""
        return self._node("Flatten", [self._node("GlobalAveragePool", [x])])

    def dense(self, x: str, cin: int, cout: int) -> str:
        """A fully connected layer with bias."""
        return self._node("Gemm", [x, self._weight((cin, cout), cin), self._weight((cout,), 100)])

    def softmax(self, x: str) -> str:
        """Probabilities of each row."""
        return self._node("Softmax", [x], axis=-1)

    def model(self, output: str, *, inputs: dict[str, tuple[int, ...]], columns: int) -> onnx.ModelProto:
        """The checked model: `inputs` without the leading dimension, one output `[batch, columns]` named `output`."""
        self._nodes.append(helper.make_node("Identity", [output], ["output"]))
        graph = helper.make_graph(
            self._nodes,
            self._name,
            [_value(name, shape) for name, shape in inputs.items()],
            [_value("output", (columns,))],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="corefit-bench")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return model

    def _node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{op.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def _weight(self, shape: tuple[int, ...], fan_in: int) -> str:
        """He's initialisation: activations keep their scale, so no layer computes on denormals or infinities."""
        values = self._random.standard_normal(shape, dtype=np.float32) * np.float32(math.sqrt(2 / fan_in))
        return self._constant(values)

    def _constant(self, values: "np.ndarray[Any, Any] | np.float32") -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name


def _value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, *shape])
