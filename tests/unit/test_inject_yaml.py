"""YAML as Kubernetes reads it: what nobody has changed is written as it was."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from corefit.inject.kubernetes_yaml import Document, documents, represented, written

READ_BY_KUBECTL: dict[str, Any] = {
    "12:30:45": "12:30:45",
    "22:22": "22:22",
    "2024-01-01": "2024-01-01",
    "2024-01-01T10:00:00Z": "2024-01-01T10:00:00Z",
    "2024-99-99": "2024-99-99",
    "=": "=",
    "y": True,
    "Off": False,
    "1e3": 1000.0,
    "-1e5": -100000.0,
    "0777": 511,
    "0o14": 12,
    "0x1F": 31,
    "1_000": 1000,
    "08": 8.0,
    "~": None,
    '"y"': "y",
    "'0777'": "0777",
    "!!str 1e3": "1e3",
    "tRue": "tRue",
    "1.2.3": "1.2.3",
}
"""As `kubectl annotate --local -o json` of Kubernetes 1.36 has them."""


def one(text: str) -> Document:
    [found] = documents(text)
    return found


@pytest.mark.parametrize("scalar", list(READ_BY_KUBECTL))
def test_scalars_are_read_as_kubernetes_reads_them(scalar: str) -> None:
    found = one(f"a: {scalar}\n").value["a"]
    assert (found, type(found)) == (READ_BY_KUBECTL[scalar], type(READ_BY_KUBECTL[scalar]))


@pytest.mark.parametrize("scalar", list(READ_BY_KUBECTL))
@pytest.mark.parametrize("form", ["a: {}\nb: [1]\n", "{{a: {}, b: [1]}}"])
def test_a_scalar_keeps_its_text_when_something_else_changes(scalar: str, form: str) -> None:
    """Ten of fifteen were another after `corefit inject`: they had lost the quotes that kubectl needs."""
    read = one(form.format(scalar))
    text = written(read, {**read.value, "b": [1, "yes"], "c": "0777"})
    assert one(text).value == {"a": READ_BY_KUBECTL[scalar], "b": [1, "yes"], "c": "0777"}
    assert scalar.removeprefix("!!str ").strip("\"'") in text


STREAM = """# first
a: 1   # one
---
# second
b: {c: [1, 2]}
...
%YAML 1.1
---
d: |
  text
   more
e: >-
  folded
  text
"""


def test_what_does_not_change_is_not_even_formatted() -> None:
    read = list(documents(STREAM))
    assert [document.value for document in read] == [
        {"a": 1},
        {"b": {"c": [1, 2]}},
        {"d": "text\n more\n", "e": "folded text"},
    ]
    text = "".join(written(document, document.value) for document in read)
    for line in STREAM.splitlines():
        assert line in text.splitlines()
    assert list(yaml.safe_load_all(text)) == [document.value for document in read]


def test_an_alias_of_what_changes_becomes_a_copy() -> None:
    text = "base: &b {x: 1, w: [1]}\nother: *b\nmerged: {<<: *b, z: '5'}\n"
    read = one(text)
    value = {**read.value, "other": {"x": 2, "w": [1, 3]}, "merged": {**read.value["merged"], "x": 7}}
    found = one(written(read, value)).value
    assert found == {"base": {"x": 1, "w": [1]}, "other": {"x": 2, "w": [1, 3]}, "merged": {"x": 7, "w": [1], "z": "5"}}


@pytest.mark.parametrize("text", ["a: [b", "a: !!int b", "a: !!bool b", "&a [*b]", "a: !unknown b"])
def test_what_is_no_yaml_raises(text: str) -> None:
    with pytest.raises((yaml.YAMLError, ValueError)):
        list(documents(text))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
KEYS = st.text(max_size=4) | st.sampled_from(["y", "null", "1", "<<", "="])
VALUES = st.recursive(
    SCALARS | st.sampled_from(["y", "0777", "1e3", "12:30:45", "<<", "=", "~", "", "a b", "# a", "- a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
MAPPINGS = st.dictionaries(KEYS, VALUES, min_size=1, max_size=4)


@given(old=MAPPINGS, new=MAPPINGS)
def test_whatever_changes_comes_back_as_it_is(old: dict[str, Any], new: dict[str, Any]) -> None:
    before = one(yaml.serialize(represented(old)))
    assert before.value == old
    first = one(written(before, {**old, **new}))
    assert first.value == {**old, **new}
    assert one(written(first, new)).value == new
