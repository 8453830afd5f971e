"""Files that a model hides: what our reader doesn't see, onnxruntime would read from the container and answer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from corefit_core.errors import ModelInvalid, ModelUnavailable
from corefit_runtime.engine.onnxruntime import OnnxRuntimeEngine
from corefit_runtime.engine.types import Threads
from corefit_runtime.models import model_files
from corefit_runtime.onnx import reader
from corefit_runtime.onnx.model import locations

N = helper.make_node
SECRET = b"token-of-somebody"
NAME = "secret"
BASE = onnx.ModelProto(ir_version=8, opset_import=[helper.make_opsetid("", 17)]).SerializeToString()
TO_32_BITS = bytes([14 << 3, 0x81, 0x80, 0x80, 0x80, 0x10])
"""data_location, 2^32 + 1."""


def field(number: int, data: bytes, *, high: int = 0) -> bytes:
    """A field of bytes, as it is on the wire; `high` goes to the bits of its key that protobuf drops."""
    out = bytearray()
    for left in (number << 3 | 2 | high << 32, len(data)):
        value = left
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
    return bytes(out) + data


def tensor(*, place: int | None = 1, location: bool = True) -> onnx.TensorProto:
    found = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[len(SECRET)])
    if place is not None:
        found.data_location = place
    if location:
        found.external_data.add(key="location", value=NAME)
    return found


def graph(weights: list[onnx.TensorProto] | None = None, *first: onnx.NodeProto) -> bytes:
    x, z = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xz")
    y = helper.make_tensor_value_info("y", TensorProto.UINT8, [len(SECRET)])
    nodes = [N("Identity", ["x"], ["z"]), *first, N("Identity", ["w"], ["y"])]
    made: bytes = helper.make_graph(nodes, "g", [x], [y, z], weights or []).SerializeToString()
    return made


def in_a_functions_default() -> bytes:
    """Only where the operator is called without that attribute is it read."""
    opsets = [helper.make_opsetid("", 17)]
    function = onnx.FunctionProto(name="F", domain="own", opset_import=opsets, output=["o"])
    function.attribute_proto.append(helper.make_attribute("v", tensor()))
    constant = N("Constant", [], ["o"])
    constant.attribute.append(onnx.AttributeProto(name="value", ref_attr_name="v", type=onnx.AttributeProto.TENSOR))
    function.node.append(constant)
    own = onnx.ModelProto(opset_import=[helper.make_opsetid("own", 1)], functions=[function])
    return BASE + own.SerializeToString() + field(7, graph(None, N("F", [], ["w"], domain="own")))


def in_a_graph_that_is_merged() -> bytes:
    empty = helper.make_graph([], "g", [], [], [tensor()]).SerializeToString()
    return BASE + field(7, empty) + field(7, graph())


def in_a_graph_of_a_key_that_is_cut() -> bytes:
    empty = helper.make_graph([], "g", [], [], [tensor()]).SerializeToString()
    return BASE + field(7, graph()) + field(7, empty, high=1)


def in_a_key_of_two_types() -> bytes:
    entry = onnx.StringStringEntryProto(key="location", value=NAME).SerializeToString() + bytes([1 << 3, 0])
    return BASE + field(7, graph() + field(5, tensor(location=False).SerializeToString() + field(13, entry)))


def in_a_key_twice() -> bytes:
    entry = field(1, b"other") + onnx.StringStringEntryProto(key="location", value=NAME).SerializeToString()
    again = entry + field(2, NAME.encode())
    return BASE + field(7, graph() + field(5, tensor(location=False).SerializeToString() + field(13, again)))


def in_a_number_that_is_cut() -> bytes:
    return BASE + field(7, graph() + field(5, tensor(place=None).SerializeToString() + TO_32_BITS))


def in_an_attribute_twice() -> bytes:
    harmless = helper.make_attribute("value", helper.make_tensor("v", TensorProto.UINT8, [1], [1]))
    constant = N("Constant", [], ["w"], value=tensor())
    constant.attribute.append(harmless)
    return BASE + field(7, graph(None, constant))


HIDDEN = [
    in_a_functions_default,
    in_a_graph_that_is_merged,
    in_a_graph_of_a_key_that_is_cut,
    in_a_key_of_two_types,
    in_a_key_twice,
    in_a_number_that_is_cut,
]


@pytest.mark.parametrize("hidden", [*HIDDEN, in_an_attribute_twice])
def test_a_model_that_hides_a_file_is_seen_through(
    hidden: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them answered a file of the working directory to whoever asked."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / NAME).write_bytes(SECRET)
    monkeypatch.chdir(tmp_path / "run")
    path = tmp_path / "m.onnx"
    path.write_bytes(hidden())
    with pytest.raises((ModelInvalid, ModelUnavailable)) as refused:
        model_files.take(path, "m", "", tmp_path / "held")
    # Either our own reader names what is wrong, or it sees the file, which the model's folder doesn't have.
    assert "the file is not an ONNX model: " in str(refused.value) or NAME in str(refused.value)


class Bytes:
    """A model in memory, of which nobody has looked for other files."""

    name = "m.onnx"

    def __init__(self, data: bytes) -> None:
        self._data = data

    def open(self) -> bytes:
        return self._data


@pytest.mark.parametrize("hidden", [lambda: BASE + field(7, graph([tensor()])), *HIDDEN])
def test_onnxruntime_reads_no_file_for_a_model_in_memory(
    hidden: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took the working directory for the model's folder: / in the image, and so the Secret that is mounted."""
    (tmp_path / NAME).write_bytes(SECRET)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelInvalid, match=r"onnxruntime refuses"):
        OnnxRuntimeEngine(Bytes(hidden()), Threads())


def test_a_model_in_one_file_is_served_as_before() -> None:
    weight = helper.make_tensor("w", TensorProto.UINT8, [len(SECRET)], SECRET, raw=True)
    engine = OnnxRuntimeEngine(Bytes(BASE + field(7, graph([weight]))), Threads())
    assert locations(reader.parse(memoryview(BASE + field(7, graph([weight]))))) == []
    y = engine.run(["y"], {"x": np.ones(1, np.float32)})[0]
    assert y.tobytes() == SECRET
