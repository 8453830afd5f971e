"""Tensor data written as JSON: numbers, booleans or strings, flat in row-major order or nested like the shape.

May not know messages. Flat lists are decoded by type (a third of the time of untyped ones).
"""

import itertools
import math
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np

from corefit_core.errors import InvalidInput
from corefit_core.text import shown
from corefit_runtime.tensors import datatypes
from corefit_runtime.tensors.datatypes import NUMPY, Array

_KIND: Final[dict[str, type]] = {"f": float, "i": int, "u": int, "b": bool, "O": str}
_FLAT: Final = {kind: msgspec.json.Decoder(list[python]) for kind, python in _KIND.items()}  # type: ignore[valid-type]  # a type made at run time
_ANY: Final = msgspec.json.Decoder()
_ENCODER: Final = msgspec.json.Encoder()
_QUOTED: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
"""A string, or the start of one that has no end. It matches at the first try, and possessive quantifiers remember no
way back: each character is looked at once, and the memory for it does not grow with the text."""
_WEIGHTS: Final = {b",": 40, b"[": 80, b"{": 240, b'"': 32}
"""Bytes of memory for each: a number, with its place in a list and in an array; a list; a dict; half of a string."""
NOT_FINITE: Final = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
"""Floats that JSON has no numbers for are these strings, as in Protocol Buffers' JSON (protobuf.dev, "ProtoJSON")."""
_BARE: Final = re.compile(_QUOTED + rb"|-?\bInfinity\b|\bNaN\b", re.DOTALL)
BLOCK: Final = 1 << 16
"""Characters that are looked at together: what that takes is some times as much."""
PIECE: Final = 1 << 18
_NO_MARKS: Final = bytes(set(range(256)) - set(b'[]{}"'))
_ESCAPED: Final = re.compile(rb"\\.", re.DOTALL)
_WORDS: Final = (b"NaN", b"Infinity")
_WORD: Final = 80
"""Bytes of memory for such a word, which becomes a string."""
_ESCAPE: Final = re.compile(rb"\\u")
_HIGH: Final = re.compile(rb"\\u[dD][89abAB]")
"""The first half of a character that needs four bytes."""


def check_depth(text: memoryview, limit: int) -> None:
    """Sees that JSON is nested no deeper than `limit`, before anything is made of it.

    Raises:
        InvalidInput: it is.
    """
    if sum(piece.count(b"[") + piece.count(b"{") for piece in _pieces(text)) <= limit:
        return  # However they are nested.
    if (found := depth(text)) > limit:
        raise InvalidInput(f"bad JSON: nested {found} deep, at most {limit} is taken (--max-json-depth)")


def depth(text: bytes | memoryview) -> int:
    """How deeply it is nested. A fifth of the time that parsing takes: brackets and quotes are all that it looks at."""
    deepest, level, quoted = 0, 0, 0
    for piece in _unescaped(memoryview(text)):
        marks = np.frombuffer(piece.translate(None, _NO_MARKS), np.uint8)
        if not len(marks):
            continue
        strings = (quoted + np.cumsum(marks == ord('"'))) & 1  # Each quote opens one, or ends it.
        steps = np.where((marks == ord("[")) | (marks == ord("{")), 1, -1)
        levels = level + np.cumsum(np.where((strings == 1) | (marks == ord('"')), 0, steps))
        deepest, level, quoted = max(deepest, int(levels.max())), int(levels[-1]), int(strings[-1])
    return deepest


def _unescaped(text: memoryview) -> Iterator[bytes]:
    """JSON in pieces, without its escapes: each quote that is left begins a string, or ends it."""
    start = 0
    while start < len(text):
        piece = bytes(text[start : start + BLOCK])
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:  # An escape isn't cut in two.
            piece = bytes(text[start : start + BLOCK + 1])
        start += len(piece)
        yield _ESCAPED.sub(b"", piece) if b"\\" in piece else piece


def _pieces(text: memoryview) -> Iterator[bytes]:
    """A long text in pieces: a copy of all of it would take as much memory again."""
    for start in range(0, len(text), PIECE):
        yield bytes(text[start : start + PIECE])


def weight(text: memoryview) -> int:
    """Bytes that decoding this takes in addition to the text itself: by its characters, commas, brackets and quotes."""
    marks, words, growth, escaped = 0, 0, 1, False
    for piece in _pieces(text):
        marks += sum(size * piece.count(mark) for mark, size in _WEIGHTS.items())
        words += sum(map(piece.count, _WORDS))
        growth, escaped = max(growth, datatypes.growth(piece)), escaped or b"\\" in piece
    if escaped and (first := _ESCAPE.search(text)):
        growth = max(growth, datatypes.GROWTH[4 if _HIGH.search(text, first.start()) else 2])
    # A string with an escape is put together in a buffer, which grows by half; words are quoted in a second text.
    return growth * len(text) + marks + escaped * 3 * len(text) // 2 + bool(words) * len(text) + _WORD * words


def quoted(text: memoryview) -> bytearray | None:
    """The text with Infinity, -Infinity and NaN in quotes, which Python's json writes bare; None where there are none.

    For text that is no JSON as it is: no time is lost on any that is.
    """
    found, done = bytearray(), 0
    for match in _BARE.finditer(text):  # One at a time: all of them take 50 times the text.
        if text[match.start()] != ord('"'):
            found += text[done : match.start()]
            found += b'"%b"' % match[0]
            done = match.end()
    found += text[done:]
    return found if done else None


def finite(array: Array) -> bool:
    """Whether JSON has numbers for all elements: nothing is infinite, or not a number."""
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def written(flat: list[float]) -> list[Any]:
    """Floats as JSON can say them."""
    return [value if math.isfinite(value) else _name(value) for value in flat]


MOST_TEXT: Final = {
    "BOOL": 6,
    "UINT8": 4,
    "INT8": 5,
    "UINT16": 6,
    "INT16": 7,
    "UINT32": 11,
    "INT32": 12,
    "UINT64": 21,
    "INT64": 21,
    **dict.fromkeys(datatypes.FLOATS, 25),
}
"""Bytes that an element takes as text at most, its comma included: a float has 17 digits, a sign, a point, e-308."""


STRING_BYTES: Final = 120
"""Memory of a short string while it becomes binary data, beside its characters."""


def strings_weight(array: Array) -> int:
    """Bytes that strings take at most, as text or as binary data: a control character is six as text."""
    return sum(6 * len(value) + STRING_BYTES for value in array.ravel().tolist())


def texts(datatype: str, array: Array) -> Iterator[bytes]:
    """A tensor's elements as JSON without brackets, in pieces."""
    flat = array.ravel()
    for start in range(0, len(flat), datatypes.BLOCK):
        block = flat[start : start + datatypes.BLOCK]
        elements = datatypes.to_list(datatype, block)
        text = _ENCODER.encode(elements if finite(block) else written(elements))
        yield text[1:-1] if start == 0 else b"," + text[1:-1]


def _name(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def parse(datatype: str, shape: tuple[int, ...], data: msgspec.Raw, what: str) -> Array:
    """The tensor that this JSON is.

    Raises:
        InvalidInput: it isn't that tensor; `what` names it in the message.
    """
    dtype, elements = NUMPY[datatype], math.prod(shape)
    text = memoryview(data)
    if not text or bytes(text[:5]) == b"null":
        raise InvalidInput(f"{what} has neither data nor binary_data_size")
    if bytes(text[:1]) != b"[":
        raise InvalidInput(f"the data of {what} is not a list")
    _check_commas(text, shape, dtype.kind, what)
    try:
        flat = _decoded(data, shape, dtype.kind, what)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the data of {what} has a string that is not UTF-8: {error.reason}") from error
    if len(flat) != elements:
        raise InvalidInput(f"{what} has {len(flat)} elements of data; its shape {list(shape)} takes {elements}")
    return _array(flat, dtype, what).reshape(shape)


def _check_commas(text: memoryview, shape: tuple[int, ...], kind: str, what: str) -> None:
    """Counts before it decodes: an element of two bytes becomes an object of 40. Strings may have commas in them."""
    most = sum(piece.count(b",") for piece in _pieces(text)) + 1
    # Nested or flat, all but one element has a comma; where there are none, the innermost lists that could be.
    wanted = math.prod(itertools.takewhile(bool, shape))
    if most < math.prod(shape) or (kind != "O" and most > wanted):
        most -= most == 1 and bytes(text).strip(b"[] \t\r\n") == b""
        raise InvalidInput(f"{what} has {most} elements of data; its shape {list(shape)} takes {math.prod(shape)}")


def _decoded(data: msgspec.Raw, shape: tuple[int, ...], kind: str, what: str) -> list[Any]:
    try:
        flat: list[Any] = _FLAT[kind].decode(data)
    except msgspec.ValidationError:
        return _flatten(_nested(data, what), shape, kind, what)
    return flat


def _nested(data: msgspec.Raw, what: str) -> list[Any]:
    try:
        value: list[Any] = _ANY.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"the data of {what} can't be read: {error}") from error
    return value


def _flatten(value: list[Any], shape: tuple[int, ...], kind: str, what: str) -> list[Any]:
    """Takes the nesting off, level by level, and sees that it follows the shape."""
    for size in shape[1:] if value and isinstance(value[0], list) else ():
        flat: list[Any] = []
        for inner in value:
            if not isinstance(inner, list) or len(inner) != size:
                raise InvalidInput(f"the data of {what} is nested unlike its shape {list(shape)}")
            flat.extend(inner)
        value = flat
    python = _KIND[kind]
    if kind == "f":
        value = [NOT_FINITE.get(element, element) if isinstance(element, str) else element for element in value]
    for index, element in enumerate(value):
        fits = isinstance(element, python) or (kind == "f" and isinstance(element, int))
        if not fits or (isinstance(element, bool) and kind != "b"):
            raise InvalidInput(f"element {index} of {what} is {shown(element)}; it must be a {python.__name__}")
    return value


def _array(flat: list[Any], dtype: "np.dtype[Any]", what: str) -> Array:
    try:
        if dtype.kind == "O":
            array = np.empty(len(flat), np.object_)
            array[:] = flat
            return array
        if dtype.kind != "f":
            return np.array(flat, dtype)
        with np.errstate(over="raise"):
            return np.array(flat, dtype)
    except (OverflowError, FloatingPointError) as error:
        raise InvalidInput(f"the data of {what} has a number out of range: {error}") from error
