"""What a body becomes when it is read: how large at most, and all of it."""

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import msgspec
import pytest

from corefit_core.errors import InvalidInput, TooLarge
from corefit_runtime.protocol import json_data
from corefit_runtime.rest import compression


@pytest.mark.parametrize("data", [[0] * 5000, ["ab"] * 5000, [[]] * 5000, [{"a": 1}] * 5000, [1.5, 1e300] * 3000])
def test_json_takes_no_more_memory_than_was_reckoned(data: list[Any]) -> None:
    text = json.dumps(data, separators=(",", ":")).encode()
    tracemalloc.start()
    decoded = msgspec.json.decode(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(decoded) == len(data)
    assert peak <= json_data.weight(memoryview(text))


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
