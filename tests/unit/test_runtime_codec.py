import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from corefit_core.errors import InvalidInput, TooLarge
from corefit_runtime import datatypes, protocol
from corefit_runtime.engine import TensorSpec
from corefit_runtime.protocol import Signature

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
DATATYPES = sorted(datatypes.NUMPY)
KEYS = ("inputs", "name", "shape", "datatype", "data", "parameters")
TEXT = st.text(max_size=8)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, np.ndarray[Any, Any]]:
    datatype = draw(st.sampled_from(DATATYPES))
    shape = draw(SHAPES)
    if datatype == "BYTES":
        number = datatypes.count(shape)
        flat = np.empty(number, np.object_)
        flat[:] = draw(st.lists(TEXT, min_size=number, max_size=number))
        return datatype, flat.reshape(shape)
    return datatype, draw(arrays.arrays(datatypes.NUMPY[datatype], shape))


def signature(datatype: str, ndim: int) -> Signature:
    def spec(name: str) -> TensorSpec:
        return TensorSpec(name=name, datatype=datatype, shape=(-1,) * ndim)

    return Signature({"x": spec("x")}, {"y": spec("y")})


def same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and (a.tobytes() == b.tobytes() or a.tolist() == b.tolist())


def message(tensor: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": [{"name": "x", **tensor}], **more}).encode()


@given(tensors())
def test_every_datatype_and_shape_survives_the_binary_extension(case: tuple[str, np.ndarray[Any, Any]]) -> None:
    datatype, array = case
    data = bytes(datatypes.to_bytes(datatype, array))
    head = message(
        {"datatype": datatype, "shape": array.shape, "parameters": {"binary_data_size": len(data)}},
        parameters={"binary_data_output": True},
    )
    request = protocol.parse(memoryview(head + data), len(head), signature(datatype, array.ndim), 8)
    assert same(request.feeds["x"], array)
    length, pieces = protocol.render(request, [request.feeds["x"]], "m", "1")
    answer = b"".join(bytes(p) for p in pieces)
    [output] = json.loads(answer[:length])["outputs"]
    assert output["parameters"]["binary_data_size"] == len(answer) - (length or 0)
    back = datatypes.from_bytes(datatype, tuple(output["shape"]), memoryview(answer)[length:], "y")
    assert same(back, array)


@given(tensors(), st.booleans())
def test_every_datatype_and_shape_survives_json(case: tuple[str, np.ndarray[Any, Any]], nested: bool) -> None:
    datatype, array = case
    if array.dtype.kind == "f":
        array = np.nan_to_num(array, nan=0.5, posinf=1.0, neginf=-1.0)
    data = array.tolist() if nested and array.ndim else array.ravel().tolist()
    head = message({"datatype": datatype, "shape": array.shape, "data": data})
    request = protocol.parse(memoryview(head), None, signature(datatype, array.ndim), 8)
    assert same(request.feeds["x"], array)
    length, pieces = protocol.render(request, [request.feeds["x"]], "m", "1")
    assert length is None
    [output] = json.loads(pieces[0])["outputs"]
    assert output["data"] == array.ravel().tolist()


@given(body=st.binary(max_size=200), length=st.none() | st.integers(0, 300))
def test_whatever_comes_is_answered_or_refused(body: bytes, length: int | None) -> None:
    with pytest.raises(InvalidInput):
        protocol.parse(memoryview(body), length, signature("FP32", 1), 8)


@given(body=st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=20,
))  # fmt: skip
def test_json_of_any_form_is_refused_with_a_reason(body: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        protocol.parse(memoryview(json.dumps(body).encode()), None, signature("FP32", 1), 8)
    assert str(refused.value)


FLOATS = {"datatype": "FP32", "shape": [2], "data": [1, 2]}


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        ({**FLOATS, "name": "z"}, "unknown input 'z'; the model takes x"),
        ({**FLOATS, "datatype": "FP64"}, "is FP32, not FP64"),
        ({**FLOATS, "shape": [2, 1]}, r"has shape \[2, 1\]"),
        ({**FLOATS, "shape": [-2]}, "shape"),
        ({**FLOATS, "shape": [3]}, r"has 2 elements of data; its shape \[3\] takes 3"),
        ({**FLOATS, "data": [1, "a"]}, "element 1 of input 'x' is 'a'"),
        ({**FLOATS, "data": [[1, 2], [3]]}, "element 0"),
        ({**FLOATS, "data": {"a": 1}}, "is not a list"),
        ({"datatype": "FP32", "shape": [2]}, "neither data nor binary_data_size"),
        ({"datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}, "takes bytes 0 to 8"),
        ({"datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": "8"}}, "number of bytes"),
        ({"datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": True}}, "number of bytes"),
        ({"datatype": "FP32", "shape": [2**40]}, "neither data"),
    ],
)
def test_what_is_wrong_is_named(tensor: dict[str, Any], says: str) -> None:
    head = message(tensor)
    with pytest.raises(InvalidInput, match=says):
        protocol.parse(memoryview(head), len(head), signature("FP32", 1), 8)


def test_a_short_buffer_is_named_with_what_would_be_right() -> None:
    head = message({"datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 4}})
    with pytest.raises(InvalidInput, match=r"has 4 bytes of data; FP32 \[2\] takes 8"):
        protocol.parse(memoryview(head + b"1234"), len(head), signature("FP32", 1), 8)


def test_bytes_that_no_input_claims_are_refused() -> None:
    head = message(FLOATS)
    with pytest.raises(InvalidInput, match="3 bytes of binary data belong to no input"):
        protocol.parse(memoryview(head + b"123"), len(head), signature("FP32", 1), 8)


def test_broken_json_is_refused_with_its_position() -> None:
    with pytest.raises(InvalidInput, match="byte 11"):
        protocol.parse(memoryview(b'{"inputs":[}'), None, signature("FP32", 1), 8)


def test_deep_nesting_is_refused() -> None:
    deep = message(FLOATS)[:-1] + b',"outputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(InvalidInput):
        protocol.parse(memoryview(deep), None, signature("FP32", 1), 8)
    data = message({**FLOATS, "data": 0}).replace(b'"data": 0', b'"data": ' + b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(InvalidInput):
        protocol.parse(memoryview(data), None, signature("FP32", 1), 8)


def test_too_many_tensors_are_too_large() -> None:
    body = json.dumps({"inputs": [{"name": "x", **FLOATS}] * 9}).encode()
    with pytest.raises(TooLarge, match="--max-tensors"):
        protocol.parse(memoryview(body), None, signature("FP32", 1), 8)


@pytest.mark.parametrize(("value", "seconds"), [(1500, 1500), ("1500", 1500), (0, 0)])
def test_the_timeout_is_in_microseconds_as_tritons_clients_send_it(value: Any, seconds: float) -> None:
    head = message(FLOATS, parameters={"timeout": value})
    assert protocol.parse(memoryview(head), None, signature("FP32", 1), 8).timeout_us == seconds


@pytest.mark.parametrize("value", [-1, True, "soon", None])
def test_a_timeout_that_is_none_is_refused(value: Any) -> None:
    head = message(FLOATS, parameters={"timeout": value})
    with pytest.raises(InvalidInput, match="timeout"):
        protocol.parse(memoryview(head), None, signature("FP32", 1), 8)


@pytest.mark.parametrize(("datatype", "data"), [("UINT8", [256]), ("UINT8", [-1]), ("INT64", [2**63]), ("BOOL", [1])])
def test_numbers_out_of_range_are_refused(datatype: str, data: list[Any]) -> None:
    head = message({"datatype": datatype, "shape": [1], "data": data})
    with pytest.raises(InvalidInput):
        protocol.parse(memoryview(head), None, signature(datatype, 1), 8)


@given(offset=st.integers(0, 70), length=st.integers(0, 200))
def test_the_tensor_data_of_a_body_is_aligned(offset: int, length: int) -> None:
    room = datatypes.aligned_room(length + offset, offset)
    assert len(room) == length + offset
    if length:
        assert np.frombuffer(room[offset:], np.uint8).__array_interface__["data"][0] % datatypes.ALIGN == 0
