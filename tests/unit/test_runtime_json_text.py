"""JSON of requests before it is decoded: one look at each character, whatever is in it, and short words about it."""

import json
import re
import subprocess
import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unit.test_runtime_codec import FLOATS, codec, message, parsed

from corefit_core.errors import InvalidInput
from corefit_core.text import EXCERPT, excerpt
from corefit_runtime.protocol import json_data

LONG = 1_000_000
HOSTILE = {
    "escaped quotes without an end": b'{"id":"' + b'\\"' * LONG,
    "backslashes without an end": b'{"id":"' + b"\\" * (2 * LONG + 1),
    "no end": b'{"id":"' + b"x" * LONG,
    "one string": b'{"id":"' + b"x" * LONG + b'"',
    "escapes": b'{"id":"' + b"\\n" * LONG + b'"',
}
JSON = st.recursive(
    st.none() | st.integers() | st.text(st.sampled_from('ab"\\[]{}\n'), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


@given(value=JSON)
@example(value=['a\\"[', "\\\\", '["'])
def test_brackets_in_strings_count_for_nothing(value: Any) -> None:
    assert json_data.depth(json.dumps([value]).encode()) == _depth([value])


@given(value=JSON)
def test_only_bare_words_are_quoted(value: Any) -> None:
    text = json.dumps([value, "NaN", 'a\\"NaN']).encode()
    assert json_data.quoted(memoryview(text)) is None
    assert json.loads(json_data.quoted(memoryview(b"[NaN," + text + b"]")) or b"") == ["NaN", json.loads(text)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_string_is_looked_at_once(kind: str) -> None:
    """It took time with the square of its length: a minute for 100 KB, with the lock of the interpreter held."""
    assert json_data.depth(HOSTILE[kind]) == 1
    assert json_data.quoted(memoryview(HOSTILE[kind])) is None


def test_a_string_takes_no_memory_to_look_at() -> None:
    """It took 114 bytes a character: 1,012 MB by a body of 7.8 KB, compressed."""
    program = (
        "import resource; from corefit_runtime.protocol import json_data as j\n"
        "text = b'[\"' + b'x' * 4_000_000 + b'\"]'\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "j.depth(text); j.quoted(memoryview(text))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert int(said) < 100 * 1024, "KiB"


WRONG: dict[str, dict[str, Any]] = {
    "name": {"name": "\x7f" * LONG},
    "datatype": {"datatype": "\x7f" * LONG},
    "text for a number": {"data": ["\x7f" * LONG, 1]},
    "a list for a number": {"data": [1, [0] * LONG], "shape": [LONG + 1]},
    "an object for a number": {"data": [1, {"a": "\x7f" * LONG}]},
    "size": {"parameters": {"binary_data_size": "\x7f" * LONG}, "data": None},
}


@pytest.mark.parametrize("kind", WRONG)
def test_words_about_a_request_are_short(kind: str) -> None:
    """A name of 62 MB, 60 KB compressed, made an answer of 310 MB; a wrong element was written out as a whole."""
    head = message({**FLOATS, **WRONG[kind]})
    tracemalloc.start()
    with pytest.raises(InvalidInput) as refused:
        parsed(codec("FP32", 1), head, len(head))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(str(refused.value)) < 2000
    assert not re.search(r"\[0, 0|\{'a'", str(refused.value)), "nothing that has parts is written out"
    assert peak < json_data.weight(memoryview(head)) + 3 * len(head)


@pytest.mark.parametrize("parameter", ["timeout", "classification"])
def test_words_about_a_parameter_are_short(parameter: str) -> None:
    said = {parameter: "\x7f" * LONG}
    outputs = [{"name": "y", "parameters": said}]
    head = message(FLOATS, **({"parameters": said} if parameter == "timeout" else {"outputs": outputs}))
    tracemalloc.start()
    with pytest.raises(InvalidInput, match=r"\.\.\. \(1000000 characters\); it must be a positive"):
        parsed(codec("FP32", 1), head, len(head))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(head)


def test_an_id_is_no_longer_than_an_answer_may_repeat_uncharged() -> None:
    """The answer repeats it, and nobody charged it."""
    head = message(FLOATS, id="\u6a21" * 1024)
    assert len(parsed(codec("FP32", 1), head, len(head))[0].id) == 1024
    head = message(FLOATS, id="i" * 1025)
    with pytest.raises(InvalidInput, match=r"length <= 1024 - at `\$\.id`"):
        parsed(codec("FP32", 1), head, len(head))


def test_words_about_an_output_are_short() -> None:
    head = json.dumps({"inputs": [{**FLOATS, "name": "x"}], "outputs": [{"name": "y" * LONG}]}).encode()
    with pytest.raises(InvalidInput, match=r"unknown output 'y+'\.\.\. \(1000000 characters\)") as refused:
        parsed(codec("FP32", 1), head, len(head))
    assert len(str(refused.value)) < 2000


@given(text=st.text(max_size=2 * EXCERPT))
def test_an_excerpt_is_the_beginning_quoted(text: str) -> None:
    assert excerpt(text).startswith(repr(text[:EXCERPT]))
    assert (excerpt(text) == repr(text)) == (len(text) <= EXCERPT)
