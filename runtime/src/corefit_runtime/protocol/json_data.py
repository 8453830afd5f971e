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
_STRING: Final = re.compile(_QUOTED, re.DOTALL)
_WEIGHTS: Final = {b",": 40, b"[": 80, b"{": 240, b'"': 32}
"""Bytes of memory for each: a number, with its place in a list and in an array; a list; a dict; half of a string."""
NOT_FINITE: Final = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
"""Floats that JSON has no numbers for are these strings, as in Protocol Buffers' JSON (protobuf.dev, "ProtoJSON")."""
_BARE: Final = re.compile(_QUOTED + rb"|-?\bInfinity\b|\bNaN\b", re.DOTALL)
BLOCK: Final = 1 << 16
"""Brackets that are looked at together."""
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def check_depth(text: memoryview, limit: int) -> None:
    """Sees that JSON is nested no deeper than `limit`, before anything is made of it.

    Raises:
        InvalidInput: it is.
    """
    whole = bytes(text)
    if whole.count(b"[") + whole.count(b"{") <= limit:
        return  # However they are nested.
    if (found := depth(whole)) > limit:
        raise InvalidInput(f"bad JSON: nested {found} deep, at most {limit} is taken (--max-json-depth)")


def depth(text: bytes) -> int:
    """How deeply it is nested. A fifth of the time that parsing takes: brackets are all that is left to look at."""
    brackets = np.frombuffer(_STRING.sub(b"", text).translate(None, _NO_BRACKETS), np.uint8)
    deepest = level = 0
    for start in range(0, len(brackets), BLOCK):  # In one piece it would take 18 bytes a bracket.
        block = brackets[start : start + BLOCK]
        levels = level + np.cumsum(np.where((block == ord("[")) | (block == ord("{")), 1, -1))
        deepest, level = max(deepest, int(levels.max())), int(levels[-1])
    return deepest


def weight(text: memoryview) -> int:
    """Bytes that decoding this takes beside the text itself: by its commas, brackets and quotes."""
    whole = bytes(text)
    wide = 1 if whole.isascii() else 4  # A string has four bytes a character when one of them needs four.
    return wide * len(whole) + sum(size * whole.count(mark) for mark, size in _WEIGHTS.items())


def quoted(text: memoryview) -> bytes | None:
    """The text with Infinity, -Infinity and NaN in quotes, which Python's json writes bare; None where there are none.

    For text that is no JSON as it is: no time is lost on any that is.
    """
    whole = bytes(text)
    found = _BARE.sub(lambda match: match[0] if match[0].startswith(b'"') else b'"%b"' % match[0], whole)
    return None if found == whole else found


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
    text = bytes(data)
    if not text or text == b"null":
        raise InvalidInput(f"{what} has neither data nor binary_data_size")
    if not text.startswith(b"["):
        raise InvalidInput(f"the data of {what} is not a list")
    _check_commas(text, shape, dtype.kind, what)
    try:
        flat = _decoded(data, shape, dtype.kind, what)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the data of {what} has a string that is not UTF-8: {error.reason}") from error
    if len(flat) != elements:
        raise InvalidInput(f"{what} has {len(flat)} elements of data; its shape {list(shape)} takes {elements}")
    return _array(flat, dtype, what).reshape(shape)


def _check_commas(text: bytes, shape: tuple[int, ...], kind: str, what: str) -> None:
    """Counts before it decodes: an element of two bytes becomes an object of 40. Strings may have commas in them."""
    most = text.count(b",") + 1
    # Nested or flat, all but one element has a comma; where there are none, the innermost lists that could be.
    wanted = math.prod(itertools.takewhile(bool, shape))
    if most < math.prod(shape) or (kind != "O" and most > wanted):
        most -= text.strip(b"[] \t\r\n") == b""
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
