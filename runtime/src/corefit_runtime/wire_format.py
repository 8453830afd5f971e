"""Protobuf's wire format, read without a schema: the fields of one message, nested ones as bytes.

https://protobuf.dev/programming-guides/encoding/. It exists because importing the `onnx` package takes 0.2 s of CPU,
which is 0.8 s of the start of a pod with a quarter of a core, and copies the weights. It may not know any message.
"""

from collections.abc import Iterator
from typing import Final

from corefit_core.errors import ModelInvalid

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
MAX_VARINT: Final = 10
"""Bytes: 64 bits in groups of seven."""

Value = int | memoryview


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Each field's number and value, in the order of the message: an integer, or the bytes of everything else.

    Raises:
        ModelInvalid: it is not a message.
    """
    position, size = 0, len(message)
    while position < size:
        key, position = varint(message, position)
        kind = key & 7
        if kind == VARINT:
            value, position = varint(message, position)
            yield key >> 3, value
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(kind, -1)
        if kind == BYTES:
            length, position = varint(message, position)
        if not 0 <= length <= size - position:
            raise ModelInvalid("the file is not an ONNX model: its protobuf encoding is broken")
        yield key >> 3, message[position : position + length]
        position += length


def varint(message: memoryview, position: int) -> tuple[int, int]:
    """The integer at a position, and the position after it.

    Raises:
        ModelInvalid: there is none.
    """
    value = shift = 0
    for byte in message[position : position + MAX_VARINT]:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position + shift // 7
    raise ModelInvalid("the file is not an ONNX model: its protobuf encoding is broken")


def varints(message: memoryview) -> Iterator[int]:
    """The integers of a packed field."""
    position = 0
    while position < len(message):
        value, position = varint(message, position)
        yield value


def signed(value: int) -> int:
    """An int64, which is written as its two's complement."""
    return value - (1 << 64) if value >= 1 << 63 else value
