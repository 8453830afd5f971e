"""Requests of the Open Inference Protocol v2 without their binary data: JSON read, and checked against the model.

Knows no transport, and makes no tensors: a `Form` says what they are and where their bytes will be.
"""

import contextlib
import math
import sys
from collections.abc import Container
from typing import Annotated, Final

import msgspec

from corefit_core.errors import InvalidInput, TooLarge
from corefit_core.text import EXCERPT, excerpt, shown
from corefit_runtime.memo import Memo
from corefit_runtime.protocol import classification, json_data
from corefit_runtime.protocol.signature import Answer, Signature, Wanted
from corefit_runtime.tensors import datatypes
from corefit_runtime.tensors.datatypes import NUMPY
from corefit_runtime.tensors.tensor_spec import TensorSpec

MAX_ID: Final = 1024
"""Characters of a request's id, which the answer repeats: nobody charges it."""
MAX_DIMENSION: Final = 2**40
MAX_RANK: Final = 16
MAX_ELEMENTS: Final = 2**56
"""Of an empty tensor, were its dimensions of no size of size one: numpy can't tell of 2**63 bytes or more."""
OFFLOAD_STRINGS: Final = 16_384
"""Bytes of a body from which its strings are made off the event loop: 0.2 us each, of four bytes or more."""
OFFLOAD_COPIES: Final = 1 << 20
"""Bytes of a body from which tensors are copied off the event loop: at 2 to 10 GB/s it is half a millisecond."""
STRING_BYTES: Final = 72
"""Memory of a short string in an array beside its characters: CPython's header, malloc's rounding, the reference."""
Parameters = dict[str, bool | int | float | str | None]


class WireTensor(msgspec.Struct):
    """One input as it comes; `data` is parsed when its datatype is known."""

    name: str
    datatype: str
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=MAX_DIMENSION)]], msgspec.Meta(max_length=MAX_RANK)]
    parameters: Parameters | None = None
    data: msgspec.Raw = msgspec.Raw(b"")


class WireOutput(msgspec.Struct):
    """One output as it is asked for."""

    name: str
    parameters: Parameters | None = None


class WireRequest(msgspec.Struct):
    """An inference request's JSON part. MLServer's clients send null for what they don't say."""

    inputs: list[WireTensor]
    id: Annotated[str, msgspec.Meta(max_length=MAX_ID)] | None = None
    parameters: Parameters | None = None
    outputs: list[WireOutput] | None = None


class Part(msgspec.Struct, frozen=True):
    """One input of a form: what is said of it, and where its elements are.

    Attributes:
        size: bytes of the binary data that are its own; None when it has its elements in `data`.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    size: int | None
    data: msgspec.Raw

    @property
    def what(self) -> str:
        """How messages name it."""
        return f"input {self.name!r}"


class Form(msgspec.Struct, frozen=True):
    """All of a request but its binary data, checked against the model: what repeats from request to request.

    Attributes:
        id: to be repeated in the response; may be empty.
        outputs: in the order of the response.
        rows: size of the leading dimension that all inputs share; 0 when they don't.
        elements: of all inputs together.
        offload_from: bytes of a body above which its tensors are made off the event loop.
        views: whether all tensors lie in the body, and take no memory of their own.
        timeout_us: the client's deadline in microseconds, as Triton's clients count it; 0 for none.
        heads: JSON parts of responses by the shapes of the outputs; used when all of them are binary.
    """

    id: str
    parts: list[Part]
    outputs: list[Wanted]
    names: list[str]
    rows: int
    elements: int
    offload_from: int
    views: bool
    timeout_us: float
    all_binary: bool
    classified: bool
    heads: Memo[tuple[tuple[int, ...], ...], bytes]


_REQUEST: Final = msgspec.json.Decoder(WireRequest)


def read(text: memoryview, signature: Signature, *, max_tensors: int, max_depth: int) -> Form:
    """The form that this JSON is.

    Raises:
        InvalidInput: naming what is wrong with it.
        TooLarge: more tensors than are allowed.
    """
    json_data.check_depth(text, max_depth)
    wire = _wire(text)
    asked = wire.outputs or []
    if len(wire.inputs) + len(asked) > max_tensors:
        raise TooLarge(f"{len(wire.inputs)} inputs and {len(asked)} outputs: over --max-tensors {max_tensors}")
    answer = _answer(wire, signature)
    parts = _parts(wire.inputs, signature)
    return Form(
        id=wire.id or "",
        parts=parts,
        outputs=answer.outputs,
        names=answer.names,
        rows=_rows(parts, signature),
        elements=sum(math.prod(part.shape) for part in parts),
        offload_from=_offload_from(parts),
        views=_offload_from(parts) == sys.maxsize and all(part.size is not None for part in parts),
        timeout_us=_number(wire.parameters or {}, "timeout"),
        all_binary=answer.all_binary,
        classified=answer.classified,
        heads=Memo(8),
    )


def _wire(text: memoryview) -> WireRequest:
    try:
        return _decoded(text)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"not an inference request: {error}") from error
    except msgspec.DecodeError as error:
        raise InvalidInput(f"bad JSON: {error}") from error
    except RecursionError:
        raise InvalidInput("bad JSON: nested too deeply") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"bad JSON: not UTF-8 at byte {error.start}") from error


def _decoded(text: memoryview) -> WireRequest:
    try:
        return _REQUEST.decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        quoted = json_data.quoted(text)
        if quoted is None:
            raise
        return _REQUEST.decode(quoted)


def _parts(tensors: list[WireTensor], signature: Signature) -> list[Part]:
    parts: dict[str, Part] = {}
    for tensor in tensors:
        _check(tensor, signature, parts)
        part = Part(tensor.name, tensor.datatype, tuple(tensor.shape), None, tensor.data)
        if tensor.parameters:
            part = _sized(part, tensor.parameters)
        parts[tensor.name] = part
    missing = [name for name in signature.inputs if name not in parts]
    if missing:
        raise InvalidInput(f"input {missing[0]!r} is missing; the model takes {', '.join(signature.inputs)}")
    return list(parts.values())


def _sized(part: Part, parameters: Parameters) -> Part:
    """The part with the size of its binary data, where it says one."""
    _no_shared_memory(parameters, part.what)
    size = parameters.get("binary_data_size")
    if size is None:
        return part
    if bytes(part.data) not in {b"", b"null"}:
        raise InvalidInput(f"{part.what} has both data and binary_data_size")
    return msgspec.structs.replace(part, size=_size(size, part.what))


def _check(tensor: WireTensor, signature: Signature, seen: Container[str]) -> None:
    spec = signature.inputs.get(tensor.name) or signature.optional.get(tensor.name)
    if spec is None:
        takes = ", ".join((*signature.inputs, *signature.optional))
        raise InvalidInput(f"unknown input {excerpt(tensor.name)}; the model takes {takes}")
    if tensor.name in seen:
        raise InvalidInput(f"input {tensor.name!r} is given twice")
    if tensor.datatype != spec.datatype:
        says = tensor.datatype[:EXCERPT]
        raise InvalidInput(f"input {tensor.name!r}: the model takes {spec.datatype}, and the request says {says}")
    if len(tensor.shape) != len(spec.shape) or any(
        want not in {-1, got} for want, got in zip(spec.shape, tensor.shape, strict=True)
    ):
        raise InvalidInput(f"input {tensor.name!r} has shape {tensor.shape}; the model takes {list(spec.shape)}")
    if math.prod(max(1, size) for size in tensor.shape) > MAX_ELEMENTS:
        raise InvalidInput(f"input {tensor.name!r} has shape {tensor.shape}: more than any tensor can have")


def _answer(wire: WireRequest, signature: Signature) -> Answer:
    default = (wire.parameters or {}).get("binary_data_output") is True
    if not wire.outputs:
        return signature.everything(binary=default)
    wanted: dict[str, Wanted] = {}
    for output in wire.outputs:
        spec = signature.outputs.get(output.name)
        if spec is None:
            gives = "; ".join(filter(None, (", ".join(signature.outputs), signature.left_out)))
            raise InvalidInput(f"unknown output {excerpt(output.name)}; the model gives {gives}")
        if output.name in wanted:
            raise InvalidInput(f"output {output.name!r} is asked for twice")
        wanted[output.name] = _wanted(spec, output.parameters, default=default)
    return Answer.of(list(wanted.values()))


def _wanted(spec: TensorSpec, parameters: Parameters | None, *, default: bool) -> Wanted:
    if not parameters:
        return Wanted(spec, default, 0, spec.datatype)
    what = f"output {spec.name!r}"
    _no_shared_memory(parameters, what)
    classes = classification.count(parameters.get("classification"), spec.datatype, what)
    binary = parameters.get("binary_data", default) is True
    return Wanted(spec, binary, classes, "BYTES" if classes else spec.datatype)


def _no_shared_memory(parameters: Parameters, what: str) -> None:
    if "shared_memory_region" in parameters:
        raise InvalidInput(f"{what} is in shared memory, which is not served: send the data in the request")


def _rows(parts: list[Part], signature: Signature) -> int:
    if signature.optional and any(part.name in signature.optional for part in parts):
        return 0  # What stands for a weight has no rows.
    sizes = {part.shape[0] if part.shape else 0 for part in parts}
    return sizes.pop() if len(sizes) == 1 else 0


def _size(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInput(f"{what} has a binary_data_size of {shown(value)}; it must be a number of bytes")
    return value


def _offload_from(parts: list[Part]) -> int:
    """Bytes of a body above which its binary tensors take too long to make: they are views else, in no time."""
    least, offset = sys.maxsize, 0
    for part in parts:
        if part.size is None:
            continue
        if part.datatype == "BYTES":
            return OFFLOAD_STRINGS
        if part.datatype == "BOOL" or offset % NUMPY[part.datatype].itemsize:
            least = OFFLOAD_COPIES
        offset += part.size
    return least


def strings_weight(form: Form, binary: memoryview) -> int:
    """Bytes of memory that the strings in the binary data take, beside the data itself."""
    found = start = 0
    for part in form.parts:
        data = binary[start : start + (part.size or 0)]
        start += part.size or 0
        if part.datatype == "BYTES" and len(data):
            # Each takes four bytes for its length, whatever the shape says.
            count = min(math.prod(part.shape), len(data) // 4)
            # And all that it has is copied before it is decoded.
            found += (1 + datatypes.growth(data)) * len(data) + STRING_BYTES * count
    return found


def copies_weight(form: Form) -> int:
    """Bytes of the tensors that are copied out of the binary data: where another alignment or type asks for it."""
    if form.views:
        return 0
    return sum(part.size for part in form.parts if part.size is not None and part.datatype != "BYTES")


def _number(parameters: Parameters, name: str) -> float:
    if name not in parameters:
        return 0.0
    value, number = parameters[name], math.nan
    if value is not None and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            number = float(value)
    if not 0 <= number < math.inf:
        raise InvalidInput(f"parameter {name!r} is {shown(value)}; it must be a positive number")
    return number
