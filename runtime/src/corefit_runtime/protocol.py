"""The Open Inference Protocol v2 as messages: bytes in, tensors out, and back. It knows no transport.

Covers inference requests and responses in JSON and with the binary tensor data extension, and the metadata.
Shapes are checked against the model and against the bytes before anything is allocated.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from corefit_core.errors import InvalidInput, TooLarge
from corefit_runtime import datatypes, json_data
from corefit_runtime.datatypes import Array
from corefit_runtime.engine import TensorSpec

MAX_DIMENSION: Final = 2**40
Parameters = dict[str, bool | int | float | str | None]


class WireTensor(msgspec.Struct):
    """One input as it comes; `data` is parsed when its datatype is known."""

    name: str
    datatype: str
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=MAX_DIMENSION)]], msgspec.Meta(max_length=16)]
    parameters: Parameters = {}
    data: msgspec.Raw = msgspec.Raw(b"")


class WireOutput(msgspec.Struct):
    """One output as it is asked for."""

    name: str
    parameters: Parameters = {}


class WireRequest(msgspec.Struct):
    """An inference request's JSON part."""

    inputs: list[WireTensor]
    id: str = ""
    parameters: Parameters = {}
    outputs: list[WireOutput] = []


@dataclass(frozen=True, slots=True)
class Signature:
    """What the model takes and gives, by name."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


@dataclass(slots=True)
class InferRequest:
    """A request that is checked and ready to run.

    Attributes:
        id: to be repeated in the response; may be empty.
        feeds: inputs by name.
        outputs: names and whether each is wanted as binary, in the order of the response.
        rows: size of the leading dimension that all inputs share; 0 when they don't.
        timeout_us: the client's deadline in microseconds, as Triton's clients count it; 0 for none.
    """

    id: str
    feeds: dict[str, Array]
    outputs: list[tuple[TensorSpec, bool]]
    rows: int
    timeout_us: float


_REQUEST: Final = msgspec.json.Decoder(WireRequest)
_ENCODER: Final = msgspec.json.Encoder()


def parse(body: memoryview, header_length: int | None, signature: Signature, max_tensors: int) -> InferRequest:
    """The request from a body, of which the first `header_length` bytes are JSON (None: all of it).

    Raises:
        InvalidInput: naming what is wrong with it.
    """
    if header_length is not None and header_length > len(body):
        raise InvalidInput(f"Inference-Header-Content-Length is {header_length}, the body has {len(body)} bytes")
    wire = _wire(body if header_length is None else body[:header_length])
    if len(wire.inputs) + len(wire.outputs) > max_tensors:
        raise TooLarge(f"{len(wire.inputs)} inputs and {len(wire.outputs)} outputs: over --max-tensors {max_tensors}")
    feeds = _feeds(wire.inputs, body[len(body) if header_length is None else header_length :], signature)
    return InferRequest(
        id=wire.id,
        feeds=feeds,
        outputs=_outputs(wire, signature),
        rows=_rows(feeds),
        timeout_us=_number(wire.parameters, "timeout"),
    )


def render(
    request: InferRequest, outputs: list[Array], model_name: str, model_version: str
) -> tuple[int | None, list[bytes | memoryview]]:
    """The response: the length of its JSON part (None without binary data), and its pieces."""
    tensors: list[dict[str, Any]] = []
    pieces: list[bytes | memoryview] = [b""]
    for (spec, binary), array in zip(request.outputs, outputs, strict=True):
        tensor: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": array.shape}
        if binary:
            data = datatypes.to_bytes(spec.datatype, array)
            tensor["parameters"] = {"binary_data_size": len(data)}
            pieces.append(data)
        else:
            tensor["data"] = datatypes.to_list(spec.datatype, array)
        tensors.append(tensor)
    message: dict[str, Any] = {"model_name": model_name, "model_version": model_version, "outputs": tensors}
    if request.id:
        message["id"] = request.id
    pieces[0] = _ENCODER.encode(message)
    return (len(pieces[0]) if len(pieces) > 1 else None), pieces


def model_metadata(name: str, version: str, signature: Signature) -> bytes:
    """The answer to GET v2/models/NAME."""
    described = {
        part: [{"name": s.name, "datatype": s.datatype, "shape": s.shape} for s in specs.values()]
        for part, specs in (("inputs", signature.inputs), ("outputs", signature.outputs))
    }
    return _ENCODER.encode({"name": name, "versions": [version], "platform": "onnxruntime_onnx", **described})


def server_metadata(version: str) -> bytes:
    """The answer to GET v2."""
    return _ENCODER.encode({"name": "corefit", "version": version, "extensions": ["binary_tensor_data"]})


def _wire(text: memoryview) -> WireRequest:
    try:
        return _REQUEST.decode(text)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"not an inference request: {error}") from error
    except msgspec.DecodeError as error:
        raise InvalidInput(f"bad JSON: {error}") from error
    except RecursionError:
        raise InvalidInput("bad JSON: nested too deeply") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"bad JSON: not UTF-8 at byte {error.start}") from error


def _feeds(tensors: list[WireTensor], binary: memoryview, signature: Signature) -> dict[str, Array]:
    feeds: dict[str, Array] = {}
    start = 0
    for tensor in tensors:
        _check(tensor, signature, feeds)
        what = f"input {tensor.name!r}"
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            feeds[tensor.name] = json_data.parse(tensor.datatype, tuple(tensor.shape), tensor.data, what)
            continue
        stop = start + _size(size, what)
        if stop > len(binary):
            raise InvalidInput(f"{what} takes bytes {start} to {stop} of the binary data, which has {len(binary)}")
        if bytes(tensor.data):
            raise InvalidInput(f"{what} has both data and binary_data_size")
        feeds[tensor.name] = datatypes.from_bytes(tensor.datatype, tuple(tensor.shape), binary[start:stop], what)
        start = stop
    if start != len(binary):
        raise InvalidInput(f"{len(binary) - start} bytes of binary data belong to no input")
    missing = [name for name in signature.inputs if name not in feeds]
    if missing:
        raise InvalidInput(f"input {missing[0]!r} is missing; the model takes {', '.join(signature.inputs)}")
    return feeds


def _check(tensor: WireTensor, signature: Signature, seen: dict[str, Array]) -> None:
    spec = signature.inputs.get(tensor.name)
    if spec is None:
        raise InvalidInput(f"unknown input {tensor.name!r}; the model takes {', '.join(signature.inputs)}")
    if tensor.name in seen:
        raise InvalidInput(f"input {tensor.name!r} is given twice")
    if tensor.datatype != spec.datatype:
        raise InvalidInput(f"input {tensor.name!r} is {spec.datatype}, not {tensor.datatype}")
    if len(tensor.shape) != len(spec.shape) or any(
        want not in {-1, got} for want, got in zip(spec.shape, tensor.shape, strict=True)
    ):
        raise InvalidInput(f"input {tensor.name!r} has shape {tensor.shape}; the model takes {list(spec.shape)}")


def _outputs(wire: WireRequest, signature: Signature) -> list[tuple[TensorSpec, bool]]:
    default = wire.parameters.get("binary_data_output") is True
    if not wire.outputs:
        return [(spec, default) for spec in signature.outputs.values()]
    wanted: dict[str, tuple[TensorSpec, bool]] = {}
    for output in wire.outputs:
        spec = signature.outputs.get(output.name)
        if spec is None:
            raise InvalidInput(f"unknown output {output.name!r}; the model gives {', '.join(signature.outputs)}")
        if output.name in wanted:
            raise InvalidInput(f"output {output.name!r} is asked for twice")
        binary = output.parameters.get("binary_data", default)
        wanted[output.name] = (spec, binary is True)
    return list(wanted.values())


def _rows(feeds: dict[str, Array]) -> int:
    sizes = {array.shape[0] if array.ndim else 0 for array in feeds.values()}
    return sizes.pop() if len(sizes) == 1 else 0


def _size(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInput(f"{what} has a binary_data_size of {value!r}; it must be a number of bytes")
    return value


def _number(parameters: Parameters, name: str) -> float:
    value = parameters.get(name, 0)
    if isinstance(value, str):
        value = float(value) if value.replace(".", "", 1).isdigit() else -1
    if value is None or isinstance(value, bool) or not value >= 0:
        raise InvalidInput(f"parameter {name!r} is {parameters[name]!r}; it must be a positive number")
    return value
