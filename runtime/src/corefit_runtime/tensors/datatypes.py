"""The protocol's datatypes and their bytes: OIP v2 names, numpy types, onnxruntime's type strings.

May not know messages or transports. BYTES elements are a 4-byte little-endian length and the bytes, in row-major
order; everything else is the little-endian values in row-major order (OIP v2, binary tensor data extension).
"""

import math
import struct
from typing import Any, Final

import numpy as np

from corefit_core.errors import InvalidInput

Array = np.ndarray[Any, Any]
DType = np.dtype[Any]

NUMPY: Final[dict[str, "np.dtype[Any]"]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(np.object_),
}
FLOATS: Final = ("FP16", "FP32", "FP64")
OF_ONNX: Final = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
SMALL: Final = 4096
"""Bytes up to which a copy takes less time than making a view (0.2 us against 3)."""
BLOCK: Final = 65_536
"""Elements that are made Python objects at once, of 32 bytes each and more: what they become takes less."""
GROWTH: Final = {1: 1, 2: 3, 4: 6}
"""What a byte of UTF-8 takes at most while it is decoded, by the bytes of the widest character of its string: all of
them have so many (PEP 393), and when the widest comes, those before it are there in half the width as well."""
_LENGTH: Final = struct.Struct("<I")


def from_bytes(datatype: str, shape: tuple[int, ...], data: memoryview, name: str) -> Array:
    """The tensor that these bytes are, without a copy where alignment allows.

    Raises:
        InvalidInput: the bytes aren't exactly that tensor; `name` is in the message.
    """
    if datatype == "BYTES":
        return _strings(shape, data, f"input {name!r}")
    dtype = NUMPY[datatype]
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise InvalidInput(f"input {name!r} has {len(data)} bytes of data; {datatype} {list(shape)} takes {expected}")
    if expected == 0:
        return np.zeros(shape, dtype)
    if datatype == "BOOL":
        # Any non-zero byte is true, but a numpy bool of another value than 0 and 1 is undefined.
        # And of no dimensions it would be a scalar, which onnxruntime doesn't take.
        return np.asarray(np.not_equal(np.frombuffer(data, np.uint8).reshape(shape), 0))
    tensor: Array = np.ndarray(shape, dtype, data)
    # x86 and arm64 would read it unaligned; a kernel that was written for aligned data would not.
    return tensor if tensor.flags.aligned else tensor.copy()


def to_bytes(datatype: str, array: Array) -> memoryview:
    """The tensor's bytes, without a copy where it is large and contiguous already."""
    if datatype == "BYTES":
        return memoryview(b"".join(_LENGTH.pack(len(b)) + b for b in map(_encoded, array.ravel().tolist())))
    if array.nbytes <= SMALL and array.dtype == NUMPY[datatype]:
        return memoryview(array.tobytes())
    contiguous = np.ascontiguousarray(array, NUMPY[datatype])
    return contiguous.reshape(-1).view(np.uint8).data


def to_list(datatype: str, array: Array) -> list[Any]:
    """The elements in row-major order for JSON; BYTES must be UTF-8 there, others are replaced."""
    flat: list[Any] = array.ravel().tolist()
    if datatype == "BYTES":
        return [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in flat]
    return flat


def growth(text: bytes | memoryview) -> int:
    """Bytes that strings of this UTF-8 take at most while it is decoded, for each of its own."""
    highest = int(np.frombuffer(text, np.uint8).max(initial=0))
    return GROWTH[1 if highest < 0x80 else 2 if highest < 0xF0 else 4]


def _strings(shape: tuple[int, ...], data: memoryview, what: str) -> Array:
    number, position, size = math.prod(shape), 0, len(data)
    if number * _LENGTH.size > size:
        # Before anything is allocated: each element takes at least its length.
        raise InvalidInput(f"{what} has {size} bytes of data; {number} elements take at least {number * 4}")
    values: list[str] = []
    for index in range(number):
        start = position + _LENGTH.size
        if start > size or (position := start + _LENGTH.unpack_from(data, start - 4)[0]) > size:
            raise InvalidInput(f"{what} ends within element {index} of {number}: the data is cut short")
        values.append(_decoded(bytes(data[start:position]), index, what))
    if position != size:
        raise InvalidInput(f"{what} has {size - position} bytes after its {number} elements")
    array = np.empty(number, np.object_)
    array[:] = values
    return array.reshape(shape)


def _decoded(raw: bytes, index: int, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        # ONNX strings are UTF-8; onnxruntime would pass a broken one on as another string than was sent.
        raise InvalidInput(f"{what}, element {index}, is not UTF-8: {error.reason} at byte {error.start}") from error


def _encoded(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
