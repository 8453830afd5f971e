import itertools
import json
import math
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from corefit_core.errors import InvalidInput, TooLarge
from corefit_runtime.memory.buffers import ALIGN, BufferPool, _measured
from corefit_runtime.protocol import json_data
from corefit_runtime.protocol.codec import Codec, feeds
from corefit_runtime.protocol.forms import Form
from corefit_runtime.protocol.signature import Signature
from corefit_runtime.tensors import datatypes
from corefit_runtime.tensors.tensor_spec import TensorSpec

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
DATATYPES = sorted(datatypes.NUMPY)
KEYS = ("inputs", "name", "shape", "datatype", "data", "parameters")
TEXT = st.text(max_size=8)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, np.ndarray[Any, Any]]:
    datatype = draw(st.sampled_from(DATATYPES))
    shape = draw(SHAPES)
    if datatype == "BYTES":
        number = math.prod(shape)
        flat = np.empty(number, np.object_)
        flat[:] = draw(st.lists(TEXT, min_size=number, max_size=number))
        return datatype, flat.reshape(shape)
    return datatype, draw(arrays.arrays(datatypes.NUMPY[datatype], shape))


def signature(datatype: str, ndim: int) -> Signature:
    def spec(name: str) -> TensorSpec:
        return TensorSpec(name=name, datatype=datatype, shape=(-1,) * ndim)

    return Signature({"x": spec("x")}, {"y": spec("y")})


def codec(datatype: str, ndim: int) -> Codec:
    return Codec("m", "1", signature(datatype, ndim), max_tensors=8, max_depth=32)


def parsed(used: Codec, body: bytes, length: int | None) -> tuple[Form, dict[str, Any]]:
    """The form and the tensors of a request."""
    form = used.form(memoryview(body), length)
    return form, feeds(form, memoryview(body), length)


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
    used = codec(datatype, array.ndim)
    form, tensors = parsed(used, head + data, len(head))
    assert same(tensors["x"], array)
    length, pieces = used.render(form, [tensors["x"]])
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
    used = codec(datatype, array.ndim)
    form, tensors = parsed(used, head, None)
    assert same(tensors["x"], array)
    length, pieces = used.render(form, [tensors["x"]])
    assert length is None
    [output] = json.loads(bytes(pieces[0]))["outputs"]
    assert output["data"] == array.ravel().tolist()


@given(body=st.binary(max_size=200), length=st.none() | st.integers(0, 300))
def test_whatever_comes_is_answered_or_refused(body: bytes, length: int | None) -> None:
    with pytest.raises(InvalidInput):
        parsed(codec("FP32", 1), body, length)


@given(body=st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=20,
))  # fmt: skip
def test_json_of_any_form_is_refused_with_a_reason(body: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        parsed(codec("FP32", 1), json.dumps(body).encode(), None)
    assert str(refused.value)


FLOATS = {"datatype": "FP32", "shape": [2], "data": [1, 2]}


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        ({**FLOATS, "name": "z"}, "unknown input 'z'; the model takes x"),
        ({**FLOATS, "datatype": "FP64"}, "the model takes FP32, and the request says FP64"),
        ({**FLOATS, "shape": [2, 1]}, r"has shape \[2, 1\]"),
        ({**FLOATS, "shape": [-2]}, "shape"),
        ({**FLOATS, "shape": [3]}, r"has 2 elements of data; its shape \[3\] takes 3"),
        ({**FLOATS, "data": [1, "a"]}, "element 1 of input 'x' is 'a'"),
        ({**FLOATS, "data": [[1], [3]]}, "element 0"),
        ({**FLOATS, "data": [[1, 2], [3]]}, "has 3 elements"),
        ({**FLOATS, "data": {"a": 1}}, "is not a list"),
        ({"datatype": "FP32", "shape": [2]}, "neither data nor binary_data_size"),
        ({"datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}, "takes bytes 0 to 8"),
        ({"datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": "8"}}, "number of bytes"),
        ({"datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": True}}, "number of bytes"),
        ({"datatype": "FP32", "shape": [2**40]}, "neither data"),
        ({"datatype": "FP32", "shape": [0], "data": [0, 0]}, r"has 2 elements of data; its shape \[0\] takes 0"),
    ],
)
def test_what_is_wrong_is_named(tensor: dict[str, Any], says: str) -> None:
    head = message(tensor)
    with pytest.raises(InvalidInput, match=says):
        parsed(codec("FP32", 1), head, len(head))


def test_a_short_buffer_is_named_with_what_would_be_right() -> None:
    head = message({"datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 4}})
    with pytest.raises(InvalidInput, match=r"has 4 bytes of data; FP32 \[2\] takes 8"):
        parsed(codec("FP32", 1), head + b"1234", len(head))


def test_bytes_that_no_input_claims_are_refused() -> None:
    head = message(FLOATS)
    with pytest.raises(InvalidInput, match="3 bytes of binary data belong to no input"):
        parsed(codec("FP32", 1), head + b"123", len(head))


def test_broken_json_is_refused_with_its_position() -> None:
    with pytest.raises(InvalidInput, match="byte 11"):
        parsed(codec("FP32", 1), b'{"inputs":[}', None)


def test_deep_nesting_is_refused() -> None:
    deep = message(FLOATS)[:-1] + b',"outputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(InvalidInput):
        parsed(codec("FP32", 1), deep, None)
    data = message({**FLOATS, "data": 0}).replace(b'"data": 0', b'"data": ' + b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(InvalidInput):
        parsed(codec("FP32", 1), data, None)


nested = st.recursive(
    st.none() | st.integers() | st.text(alphabet='[]{}"\\a', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[{"\\', max_size=3), inner, max_size=3)
    ),
)


def deep(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(deep, inner), default=0)


@given(nested, st.integers(1, 8))
def test_the_depth_of_json_is_that_of_what_it_says(value: Any, block: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_data, "BLOCK", block)
        assert json_data.depth(json.dumps(value).encode()) == deep(value)


def test_looking_how_deep_json_is_takes_no_more_than_a_few_copies_of_it() -> None:
    """18 bytes a bracket: a body of 64 MB that was no JSON took a gigabyte."""
    text = b"[" * 40 + b"]" * 2_000_000
    tracemalloc.start()
    assert json_data.depth(text) == 40
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * len(text)


def test_json_that_is_nested_deeper_than_allowed_is_refused_with_the_option() -> None:
    data = message({**FLOATS, "data": 0}).replace(b'"data": 0', b'"data": ' + b"[" * 30 + b"1,2" + b"]" * 30)
    with pytest.raises(InvalidInput, match="33 deep, at most 32 is taken"):
        parsed(codec("FP32", 1), data, None)


@given(tensors(), st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_what_is_remembered_of_a_request_answers_the_next_one_as_if_it_were_the_first(
    case: tuple[str, np.ndarray[Any, Any]], order: list[int]
) -> None:
    datatype, array = case
    used = codec(datatype, array.ndim)
    variants = [array[: max(0, len(array) - cut)] if array.ndim else array for cut in range(4)]
    for index in order:
        variant = variants[index]
        data = bytes(datatypes.to_bytes(datatype, variant))
        tensor = {"datatype": datatype, "shape": variant.shape, "parameters": {"binary_data_size": len(data)}}
        head = message(tensor, parameters={"binary_data_output": True})
        body = head + data
        (form, tensors), fresh = parsed(used, body, len(head)), codec(datatype, array.ndim)
        assert same(tensors["x"], variant)
        outputs = [variants[(index + 1) % 4]]
        first = fresh.render(parsed(fresh, body, len(head))[0], outputs)
        length, pieces = used.render(form, outputs)
        assert (length, b"".join(pieces)) == (first[0], b"".join(first[1]))


def test_too_many_tensors_are_too_large() -> None:
    body = json.dumps({"inputs": [{"name": "x", **FLOATS}] * 9}).encode()
    with pytest.raises(TooLarge, match="--max-tensors"):
        parsed(codec("FP32", 1), body, None)


@pytest.mark.parametrize(("value", "seconds"), [(1500, 1500), ("1500", 1500), (0, 0)])
def test_the_timeout_is_in_microseconds_as_tritons_clients_send_it(value: Any, seconds: float) -> None:
    head = message(FLOATS, parameters={"timeout": value})
    assert parsed(codec("FP32", 1), head, None)[0].timeout_us == seconds


@pytest.mark.parametrize("value", [-1, True, "soon", None, "²", "nan", 10**400, "1" + "0" * 400])
def test_a_timeout_that_is_none_is_refused(value: Any) -> None:
    head = message(FLOATS, parameters={"timeout": value})
    with pytest.raises(InvalidInput, match="timeout"):
        parsed(codec("FP32", 1), head, None)


@pytest.mark.parametrize("more", [{"data": []}, {"parameters": {"binary_data_size": 0}}])
def test_an_empty_tensor_larger_than_any_can_be_is_refused(more: dict[str, Any]) -> None:
    head = message({"datatype": "FP32", "shape": [0, 2**40, 2**40], **more})
    with pytest.raises(InvalidInput, match="more than any tensor"):
        parsed(codec("FP32", 3), head, len(head))


@pytest.mark.parametrize("datatype", ["BYTES", "FP32"])
def test_strings_that_are_not_utf_8_are_refused(datatype: str) -> None:
    head = message({"datatype": datatype, "shape": [1], "data": ["X"]}).replace(b"X", b"\xff")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        parsed(codec(datatype, 1), head, None)


def test_null_is_what_is_not_said() -> None:
    """MLServer's clients send all fields."""
    head = message({**FLOATS, "parameters": None}, id=None, parameters=None, outputs=None)
    form, tensors = parsed(codec("FP32", 1), head, None)
    assert (form.id, form.names, tensors["x"].tolist()) == ("", ["y"], [1, 2])


@pytest.mark.parametrize(("datatype", "data"), [("UINT8", [256]), ("UINT8", [-1]), ("INT64", [2**63]), ("BOOL", [1])])
def test_numbers_out_of_range_are_refused(datatype: str, data: list[Any]) -> None:
    head = message({"datatype": datatype, "shape": [1], "data": data})
    with pytest.raises(InvalidInput):
        parsed(codec(datatype, 1), head, None)


@given(asked=st.lists(st.tuples(st.integers(0, 70), st.integers(1, 4), st.integers(0, 20)), max_size=60))
def test_the_memory_of_a_body_is_aligned_and_nobody_elses(asked: list[tuple[int, int, int]]) -> None:
    buffers = BufferPool()
    held: list[np.ndarray[Any, Any]] = []
    for offset, length, release in asked:
        room = buffers(length + offset, offset)
        assert len(room) == length + offset
        tensor = np.frombuffer(room[offset:], np.uint8)
        assert tensor.__array_interface__["data"][0] % ALIGN == 0
        del room
        assert not any(np.shares_memory(tensor, other) for other in held)
        held.append(tensor)
        del tensor
        if release < len(held):
            del held[release]


def test_the_memory_of_a_body_is_used_again_when_nobody_looks_at_it() -> None:
    buffers = BufferPool()
    room = buffers(1000, 0)
    first = np.frombuffer(room, np.uint8).__array_interface__["data"][0]
    tensor = np.frombuffer(room[8:], np.uint8)
    del room
    assert np.frombuffer(buffers(1000, 0), np.uint8).__array_interface__["data"][0] != first
    del tensor
    assert np.frombuffer(buffers(1000, 0), np.uint8).__array_interface__["data"][0] == first


@pytest.mark.parametrize("borrowed", [0, 1])
def test_what_counts_as_unused_is_measured_on_the_interpreter(monkeypatch: pytest.MonkeyPatch, borrowed: int) -> None:
    """Of Python 3.14 a call borrows its argument: with the count of 3.13 a block in use would be given out."""
    count = sys.getrefcount
    monkeypatch.setattr(sys, "getrefcount", lambda block: count(block) - borrowed)
    buffers = BufferPool(_measured())
    held = [buffers(1000, 0) for _ in range(3)]
    assert not any(np.shares_memory(np.asarray(a), np.asarray(b)) for a, b in itertools.combinations(held, 2))
    freed = np.asarray(held.pop()).__array_interface__["data"][0]
    assert np.asarray(buffers(1000, 0)).__array_interface__["data"][0] == freed


# --- what JSON has no words for, and extensions ---------------------------------------------------------------


def answered(datatype: str, data: str, shape: list[int], wish: dict[str, Any] | None = None, more: str = "") -> Any:
    """What a model that gives back what it gets answers to that data."""
    used = codec(datatype, len(shape))
    asked = f', "outputs": [{json.dumps({"name": "y", "parameters": wish})}]' if wish else ""
    text = f'{{"inputs": [{{"name": "x", "datatype": "{datatype}", "shape": {shape}, "data": {data}{more}}}]{asked}}}'
    form, given = parsed(used, text.encode(), None)
    length, pieces = used.render(form, [given["x"]])
    whole = b"".join(pieces)
    return json.loads(whole if length is None else whole[:length])["outputs"][0], whole[length or len(whole) :]


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
@pytest.mark.parametrize("count", [3, 300])
def test_infinity_and_nan_go_through_json(datatype: str, count: int) -> None:
    """They were refused in requests, and came as null in responses, which clients take for NaN."""
    bare = json.dumps([math.inf, -math.inf, math.nan] * (count // 3))
    for data in (bare, bare.replace("-Infinity", '"-Infinity"').replace("NaN", '"NaN"')):
        output, _ = answered(datatype, data, [count])
        assert output["data"] == ["Infinity", "-Infinity", "NaN"] * (count // 3)
    assert np.array(output["data"], np.float32).tolist()[:2] == [math.inf, -math.inf]
    with pytest.raises(InvalidInput, match="element 1"):
        answered(datatype, '[1, "Infinite"]', [2])


def test_infinity_is_found_behind_binary_data_and_strings() -> None:
    """It is looked for in what is encoded, from where the first data begins."""

    def spec(name: str, datatype: str) -> TensorSpec:
        return TensorSpec(name=name, datatype=datatype, shape=(-1,))

    outputs = {"a": spec("a", "FP32"), "b": spec("b", "BYTES"), "c": spec("c", "FP64"), "d": spec("d", "INT64")}
    used = Codec("m", "1", Signature({"x": spec("x", "FP32")}, outputs), max_tensors=8, max_depth=8)
    wishes = [{"name": name, "parameters": {"binary_data": name == "a"}} for name in outputs]
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}
    form = used.form(memoryview(json.dumps({"id": "null", "inputs": [tensor], "outputs": wishes}).encode()), None)
    found = [np.ones(1, np.float32), np.array(["null"], object), np.array([1, -np.inf]), np.array([1])]
    length, pieces = used.render(form, found)
    said = json.loads(b"".join(pieces)[:length])
    assert [output.get("data") for output in said["outputs"]] == [None, ["null"], [1, "-Infinity"], [1]]


@pytest.mark.parametrize("words", [[math.inf], ["Infinity"], ["-Infinity, NaN"]])
def test_infinity_in_a_string_or_for_an_integer_is_none(words: list[Any]) -> None:
    with pytest.raises(InvalidInput):
        answered("INT32", json.dumps(words), [1])
    if isinstance(words[0], str):
        assert answered("BYTES", json.dumps(words), [1])[0]["data"] == words


@pytest.mark.parametrize(("datatype", "number"), [("FP32", "1e39"), ("FP16", "70000"), ("FP32", "1" + 40 * "0")])
def test_a_number_that_the_datatype_does_not_hold_is_refused(datatype: str, number: str) -> None:
    """It became infinity."""
    with pytest.raises(InvalidInput, match="out of range"):
        answered(datatype, f"[0, {number}]", [2])


def test_data_may_be_null_where_there_is_binary_data() -> None:
    """As clients send it that write down all fields of a tensor."""
    used = codec("FP32", 1)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": None, "parameters": {"binary_data_size": 4}}
    text = message(tensor)
    _, given = parsed(used, text + np.float32(7).tobytes(), len(text))
    assert given["x"].tolist() == [7.0]
    with pytest.raises(InvalidInput, match="neither data"):
        parsed(used, message({**tensor, "parameters": None}), None)


@pytest.mark.parametrize(
    ("data", "shape", "classes", "expected"),
    [
        ("[0.1, 0.7, 0.2, 0.5, 0.5, 0]", [2, 3], 2, ["0.700000:1", "0.200000:2", "0.500000:0", "0.500000:1"]),
        ("[0.1, 0.7]", [2], 5, ["0.700000:1", "0.100000:0"]),
        ("[1, 2, 3, 4]", [1, 2, 2], 1, ["4.000000:3"]),
    ],
)
def test_the_classification_extension(data: str, shape: list[int], classes: int, expected: list[str]) -> None:
    """`class_count` of Triton's clients: it was ignored."""
    output, _ = answered("FP32", data, shape, {"classification": classes})
    assert (output["datatype"], output["data"]) == ("BYTES", expected)
    assert math.prod(output["shape"]) == len(expected)
    output, binary = answered("FP32", data, shape, {"classification": classes, "binary_data": True})
    assert output["parameters"] == {"binary_data_size": len(binary)}
    assert binary[4:14].decode() == expected[0]


@pytest.mark.parametrize(("datatype", "value"), [("FP32", 0), ("FP32", True), ("FP32", "2"), ("BYTES", 1), ("BOOL", 1)])
def test_a_classification_that_makes_no_sense_is_refused(datatype: str, value: object) -> None:
    data = {"FP32": "[1]", "BYTES": '["a"]', "BOOL": "[true]"}[datatype]
    with pytest.raises(InvalidInput, match="classification"):
        answered(datatype, data, [1], {"classification": value})


@pytest.mark.parametrize("wish", [{"shared_memory_region": "a"}, {}])
def test_shared_memory_is_refused_in_so_many_words(wish: dict[str, Any]) -> None:
    more = "" if wish else ', "parameters": {"shared_memory_region": "a"}'
    with pytest.raises(InvalidInput, match="shared memory"):
        answered("FP32", "[1]", [1], wish, more)


def test_a_boolean_without_dimensions_is_an_array_too() -> None:
    """onnxruntime takes no numpy scalar: such requests were answered with 500."""
    for data, truth in ((b"\x00", False), (b"\x02", True)):
        found = datatypes.from_bytes("BOOL", (), memoryview(data), "x")
        assert isinstance(found, np.ndarray)
        assert (found.shape, bool(found)) == ((), truth)


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("classes", [0, 2])
def test_an_answer_takes_no_more_memory_than_was_reckoned(datatype: str, binary: bool, classes: int) -> None:
    """As JSON, one of 80 MB took 1.4 GB: all of its elements were made Python objects, and then one text."""
    dtype, rows = datatypes.NUMPY[datatype], 100_000
    values = ["\x00\u20ac" * 4 if dtype.kind == "O" else -1 if dtype.kind == "i" else 1e-300 / 3] * rows
    array = np.array(values, dtype).reshape(rows, 1).repeat(3, axis=1)
    used = codec(datatype, 2)
    wanted = {"binary_data": binary} | ({"classification": classes} if classes else {})
    head = message({"datatype": datatype, "shape": [0, 0], "data": []}, outputs=[{"name": "y", "parameters": wanted}])
    if classes and dtype.kind not in "fiu":
        return
    form, _ = parsed(used, head, None)
    reckoned = used.weight(form, [array])
    tracemalloc.start()
    length, pieces = used.render(form, [array])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= reckoned + 100 * datatypes.BLOCK
    answer = b"".join(bytes(piece) for piece in pieces)
    [output] = json.loads(answer[:length])["outputs"]
    if not binary and not classes:
        assert output["data"] == datatypes.to_list(datatype, array)
    assert tuple(output["shape"]) == ((rows, min(3, classes)) if classes else array.shape)


@given(st.integers(0, 3), st.integers(0, 40))
def test_a_long_answer_says_the_same_as_a_short_one(outputs: int, rows: int) -> None:
    arrays_ = [np.where(np.arange(rows * 2).reshape(rows, 2) % 7 == 3, np.nan, 0.5).astype("<f4")] * (outputs + 1)
    specs = {f"y{i}": TensorSpec(name=f'"data":[] {i}', datatype="FP32", shape=(-1, 2)) for i in range(outputs + 1)}
    used = Codec("m", "1", Signature(signature("FP32", 2).inputs, specs), max_tensors=8, max_depth=32)
    form, _ = parsed(used, message({"datatype": "FP32", "shape": [0, 2], "data": []}), None)
    _, short = used.render(form, arrays_)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(datatypes, "BLOCK", 5)
        _, long = used.render(form, arrays_)
    assert b"".join(bytes(piece) for piece in long) == b"".join(bytes(piece) for piece in short)
