"""Requests of the Open Inference Protocol v2 without their binary data: JSON read, and checked against the model.

Knows no transport, and makes no tensors: a `Form` says what they are and where their bytes will be.
"""

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Annotated, Final

import msgspec

from corefit_core.errors import InvalidInput, TooLarge
from corefit_runtime import json_data
from corefit_runtime.engine import TensorSpec
from corefit_runtime.memo import Memo

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


Wanted = list[tuple[TensorSpec, bool]]
"""Outputs, and whether each is wanted as binary, in the order of the response."""


@dataclass(frozen=True, slots=True)
class Part:
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


@dataclass(frozen=True, slots=True)
class Form:
    """All of a request but its binary data, checked against the model: what repeats from request to request.

    Attributes:
        id: to be repeated in the response; may be empty.
        rows: size of the leading dimension that all inputs share; 0 when they don't.
        timeout_us: the client's deadline in microseconds, as Triton's clients count it; 0 for none.
        heads: JSON parts of responses by the shapes of the outputs; used when all of them are binary.
    """

    id: str
    parts: list[Part]
    outputs: Wanted
    names: list[str]
    rows: int
    timeout_us: float
    all_binary: bool
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
    if len(wire.inputs) + len(wire.outputs) > max_tensors:
        raise TooLarge(f"{len(wire.inputs)} inputs and {len(wire.outputs)} outputs: over --max-tensors {max_tensors}")
    outputs = _outputs(wire, signature)
    parts = _parts(wire.inputs, signature)
    return Form(
        id=wire.id,
        parts=parts,
        outputs=outputs,
        names=[spec.name for spec, _ in outputs],
        rows=_rows(parts),
        timeout_us=_number(wire.parameters, "timeout"),
        all_binary=all(binary and spec.datatype != "BYTES" for spec, binary in outputs),
        heads=Memo(8),
    )


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


def _parts(tensors: list[WireTensor], signature: Signature) -> list[Part]:
    parts: dict[str, Part] = {}
    for tensor in tensors:
        _check(tensor, signature, parts)
        size = tensor.parameters.get("binary_data_size")
        part = Part(tensor.name, tensor.datatype, tuple(tensor.shape), None, tensor.data)
        if size is not None:
            part = replace(part, size=_size(size, part.what))
            if bytes(tensor.data):
                raise InvalidInput(f"{part.what} has both data and binary_data_size")
        parts[tensor.name] = part
    missing = [name for name in signature.inputs if name not in parts]
    if missing:
        raise InvalidInput(f"input {missing[0]!r} is missing; the model takes {', '.join(signature.inputs)}")
    return list(parts.values())


def _check(tensor: WireTensor, signature: Signature, seen: Container[str]) -> None:
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


def _outputs(wire: WireRequest, signature: Signature) -> Wanted:
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


def _rows(parts: list[Part]) -> int:
    sizes = {part.shape[0] if part.shape else 0 for part in parts}
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
