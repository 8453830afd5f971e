"""What a body becomes when it is read: how large at most, and all of it."""

import contextlib
import gzip
import json
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from unit.test_runtime_codec import codec, parsed

from corefit_core.errors import InvalidInput, TooLarge
from corefit_runtime.protocol import forms, json_data
from corefit_runtime.protocol.codec import feeds
from corefit_runtime.rest import compression

SLACK = 2_000_000
"""Bytes of what is looked at together."""
COUNT = 50_000
LONG = b"a" * 2_000_000


def strings(text: bytes, count: int) -> bytes:
    return b"[" + b",".join([b'"%b"' % text] * count) + b"]"


def numbers(text: bytes) -> bytes:
    return b"[" + b",".join([text] * COUNT) + b"]"


JSON: dict[str, tuple[str, list[int], bytes]] = {
    "short numbers": ("FP32", [COUNT], numbers(b"0")),
    "rows": ("FP32", [COUNT, 1], numbers(b"[0]")),
    "lists": ("FP32", [COUNT], numbers(b"[]")),
    "objects": ("FP32", [COUNT], numbers(b'{"a":1}')),
    "bare words": ("FP32", [COUNT], numbers(b"NaN")),
    "bare words and strings": ("FP32", [COUNT], strings(b"NaN", COUNT - 1)[:-1] + b",-Infinity]"),
    "text for numbers": ("FP32", [COUNT], strings(b"ab", COUNT)),
    "short strings": ("BYTES", [COUNT], strings(b"ab", COUNT)),
    "nested strings": ("BYTES", [COUNT, 1], numbers(b'["ab"]')),
    "short wide strings": ("BYTES", [COUNT], strings("\U0001f600".encode(), COUNT)),
    "long strings": ("BYTES", [4], strings(LONG, 4)),
    "an escape": ("BYTES", [1], strings(LONG + b"\\n", 1)),
    "an escaped character": ("BYTES", [1], strings(LONG + b"\\u6a21", 1)),
    "an escaped wide character": ("BYTES", [4], strings(LONG + b"\\ud83d\\ude00", 4)),
    "a character": ("BYTES", [1], strings(LONG + "\u6a21".encode(), 1)),
    "a wide character": ("BYTES", [1], strings(LONG + "\xe9".encode() + LONG + "\u6a21\U0001f600".encode(), 1)),
    "brackets": ("FP32", [1], b"[" * 20 + b"1" + b"]" * 20 + b" " * 2_000_000),
}


def peak_of(made: Callable[[], object]) -> int:
    """Bytes that this takes at most while it is made."""
    tracemalloc.start()
    with contextlib.suppress(InvalidInput):
        made()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("kind", JSON)
def test_json_takes_no_more_memory_than_was_reckoned(kind: str) -> None:
    """Copies for a look at it, the buffer of an escape, and bare words (50 times the text) were not reckoned."""
    datatype, shape, data = JSON[kind]
    head = b'{"inputs":[{"name":"x","datatype":"%b","shape":%b,"data":' % (datatype.encode(), str(shape).encode())
    body, used = memoryview(head + data + b"}]}"), codec(datatype, len(shape))
    weight = json_data.weight(body)
    assert peak_of(lambda: parsed(used, bytes(body), None)) <= weight + len(body) + SLACK
    assert peak_of(lambda: json_data.weight(body)) <= SLACK, "nor does it take any to reckon"


@pytest.mark.parametrize("text", ["ab", "a" * 1000 + "\U0001f600", "\xe9\u6a21"])
@pytest.mark.parametrize("length", [1, 1000])
def test_strings_as_binary_data_take_no_more_memory_than_was_reckoned(text: str, length: int) -> None:
    """One character of four bytes makes all of its string as wide."""
    raw = (text * length).encode()
    data = (struct.pack("<I", len(raw)) + raw) * (2_000_000 // len(raw))
    count = 2_000_000 // len(raw)
    head = json.dumps(
        {
            "inputs": [
                {"name": "x", "datatype": "BYTES", "shape": [count], "parameters": {"binary_data_size": len(data)}}
            ]
        }
    ).encode()
    body, used = memoryview(head + data), codec("BYTES", 1)
    form = used.form(body, len(head))
    peak = peak_of(lambda: feeds(form, body, len(head)))
    assert peak <= forms.strings_weight(form, body[len(head) :]) + SLACK


@pytest.mark.parametrize("body", [bytes(20_000_000), random.Random(0).randbytes(4_000_000) * 3])  # noqa: S311 - no secret
def test_what_a_body_expands_to_is_there_once(body: bytes) -> None:
    """Pieces, all of it, and a copy of that: twice to three times what was charged."""
    packed = memoryview(gzip.compress(body))
    assert peak_of(lambda: compression.expand(packed, b"gzip", 20_000_000)) <= 9 / 8 * len(body) + 4 * SLACK
    assert compression.expand(packed, b"gzip", 20_000_000) == body


def test_gzip_may_have_several_members_but_nothing_else_behind_them() -> None:
    """What followed the first one was dropped."""
    two = gzip.compress(b"ab") + gzip.compress(b"c")
    assert compression.expand(memoryview(two), b"gzip", 3) == b"abc"
    with pytest.raises(TooLarge):
        compression.expand(memoryview(two), b"gzip", 2)
    for wrong in (two + b"x", two + two[:9], gzip.compress(b"") * 17):
        with pytest.raises(InvalidInput):
            compression.expand(memoryview(wrong), b"gzip", 3)
    with pytest.raises(InvalidInput, match="follow"):
        compression.expand(memoryview(zlib.compress(b"a") + b"x"), b"deflate", 3)
