"""The networks of the benches: real layers and real cost, random weights. May not write files or measure time."""

from typing import Final

import onnx
from bench.models.graph import Graph

IMAGE: Final = (3, 224, 224)
"""602,112 bytes of float32: the usual image, and what makes the way of a tensor through HTTP cost something."""
CLASSES: Final = 1000
MLP_FEATURES: Final = 784
TINY_FEATURES: Final = 16


def tiny() -> onnx.ModelProto:
    """A linear classifier: about 10 us a run, nearly all of it onnxruntime's own call."""
    graph = Graph("tiny")
    out = graph.softmax(graph.dense("input", TINY_FEATURES, 8))
    return graph.model(out, inputs={"input": (TINY_FEATURES,)}, columns=8)


def mlp(hidden: int = 1024, layers: int = 3) -> onnx.ModelProto:
    """784 features through `layers` hidden layers to 10 classes: 12 MB of weights, bound by memory at one row."""
    graph, x, width = Graph("mlp"), "input", MLP_FEATURES
    for _ in range(layers):
        x, width = graph.relu(graph.dense(x, width, hidden)), hidden
    out = graph.softmax(graph.dense(x, width, 10))
    return graph.model(out, inputs={"input": (MLP_FEATURES,)}, columns=10)


def stack(blocks: int, channels: int) -> onnx.ModelProto:
    """A stem that shrinks the image to 28 x 28 and `blocks` convolutions: the cost grows evenly with `blocks`."""
    graph = Graph("stack")
    x = graph.max_pool(graph.relu(graph.conv("input", 3, channels, kernel=7, stride=4)), 3, 2)
    for _ in range(blocks):
        x = graph.relu(graph.conv(x, channels, channels, kernel=3))
    out = graph.dense(graph.pooled(x), channels, CLASSES)
    return graph.model(out, inputs={"input": IMAGE}, columns=CLASSES)


def mobilenet() -> onnx.ModelProto:
    """MobileNetV2's layers (Sandler et al. 2018, table 2), batch norms folded into the convolutions."""
    graph = Graph("mobilenet")
    x, cin = graph.relu6(graph.conv("input", 3, 32, kernel=3, stride=2)), 32
    for expand, cout, repeats, stride in _MOBILENET_BLOCKS:
        for index in range(repeats):
            x = _inverted_residual(graph, x, cin, cout, expand=expand, stride=stride if index == 0 else 1)
            cin = cout
    x = graph.relu6(graph.conv(x, cin, 1280, kernel=1))
    out = graph.dense(graph.pooled(x), 1280, CLASSES)
    return graph.model(out, inputs={"input": IMAGE}, columns=CLASSES)


def resnet18() -> onnx.ModelProto:
    """ResNet-18's layers (He et al. 2015, table 1), batch norms folded into the convolutions."""
    graph = Graph("resnet18")
    x = graph.max_pool(graph.relu(graph.conv("input", 3, 64, kernel=7, stride=2)), 3, 2)
    cin = 64
    for cout, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        x, cin = _residual(graph, x, cin, cout, stride), cout
    out = graph.dense(graph.pooled(x), cin, CLASSES)
    return graph.model(out, inputs={"input": IMAGE}, columns=CLASSES)


_MOBILENET_BLOCKS: Final = (
    # expansion, channels, repeats, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _inverted_residual(graph: Graph, x: str, cin: int, cout: int, *, expand: int, stride: int) -> str:
    wide = cin * expand
    y = graph.relu6(graph.conv(x, cin, wide, kernel=1)) if expand > 1 else x
    y = graph.relu6(graph.conv(y, wide, wide, kernel=3, stride=stride, groups=wide))
    y = graph.conv(y, wide, cout, kernel=1)
    return graph.add(x, y) if stride == 1 and cin == cout else y


def _residual(graph: Graph, x: str, cin: int, cout: int, stride: int) -> str:
    y = graph.relu(graph.conv(x, cin, cout, kernel=3, stride=stride))
    y = graph.conv(y, cout, cout, kernel=3)
    shortcut = x if stride == 1 and cin == cout else graph.conv(x, cin, cout, kernel=1, stride=stride)
    return graph.relu(graph.add(y, shortcut))
