"""Protobuf's wire format, read without a schema: the fields of one message, nested ones as bytes.

https://protobuf.dev/programming-guides/encoding/. It exists because importing the `onnx` package takes 0.2 s of CPU,
which is 0.8 s of the start of a pod with a quarter of a core, and copies the weights. It may not know any message.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from corefit_core.errors import ModelInvalid

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
MAX_VARINT: Final = 10
"""Bytes: 64 bits in groups of seven."""

MAX_KEY: Final = (1 << 32) - 1
"""The largest key: protobuf's own parsers drop the bits above, so that a larger one would name another field."""

Value = int | memoryview


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How a field of a message is written.

    Attributes:
        wire: the wire types that it may have.
        once: whether it is there at most once.
    """

    wire: frozenset[int]
    once: bool = False


INTEGER: Final = Kind(wire=frozenset({VARINT}), once=True)
INTEGERS: Final = Kind(wire=frozenset({VARINT, BYTES}))
FLOAT: Final = Kind(wire=frozenset({FIXED32}), once=True)
FLOATS: Final = Kind(wire=frozenset({FIXED32, BYTES}))
DOUBLES: Final = Kind(wire=frozenset({FIXED64, BYTES}))
ONE: Final = Kind(wire=frozenset({BYTES}), once=True)
"""A text, bytes, or a message."""
MANY: Final = Kind(wire=frozenset({BYTES}))
Schema = Mapping[int, Kind]
Runs = Mapping[int, re.Pattern[bytes]]
_SHORT: Final = 64
"""Bytes up to which the texts of a list are skipped together."""


def run_of(number: int, wire: int) -> re.Pattern[bytes]:
    """Finds elements of a list that follow each other, of a field below 16: 20 ns for each, a field takes 1 us."""
    texts = b"|".join(re.escape(bytes([size])) + b".{%d}" % size for size in range(_SHORT))
    element = {FIXED32: b".{4}", VARINT: rb"[\x80-\xff]{0,9}+[\x00-\x7f]", BYTES: b"(?:" + texts + b")"}[wire]
    return re.compile(b"(?:" + re.escape(bytes([number << 3 | wire])) + element + b")*+", re.DOTALL)


def fields(message: memoryview, schema: Schema, runs: Runs | None = None) -> Iterator[tuple[int, Value]]:
    """Each field's number and value, in the order of the message: an integer, or the bytes of everything else.

    Where parsers may differ, the message is refused: one takes the last of two values and another merges them; one
    skips a value of an unexpected wire type and another takes it.

    Args:
        message: its bytes.
        schema: the fields that are known, by their numbers; others pass.
        runs: of fields of which nobody wants the elements: those that follow each other come as one, in an empty value.

    Raises:
        ModelInvalid: it is not a message, or not one of this schema.
    """
    position, size = 0, len(message)
    seen: set[int] = set()
    while position < size:
        start = position
        key, position = varint(message, position)
        kind = key & 7
        _check(key, schema, seen)
        if runs and key >> 3 in runs and (end := _end(runs[key >> 3], message, start)) > start:
            yield key >> 3, message[end:end]
            position = end
            continue
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


def _end(run: re.Pattern[bytes], message: memoryview, start: int) -> int:
    found = run.match(message, start)
    return start if found is None else found.end()


def _check(key: int, schema: Schema, seen: set[int]) -> None:
    number = key >> 3
    known = schema.get(number)
    if key > MAX_KEY or (known is not None and key & 7 not in known.wire):
        raise ModelInvalid(f"the file is not an ONNX model: its field {number} is of another type than ONNX says")
    if known is None or not known.once:
        return
    if number in seen:
        raise ModelInvalid(f"the file is not an ONNX model: it has the field {number} twice, which ONNX allows once")
    seen.add(number)


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
