"""YAML as Kubernetes reads it, written back without a change to what nobody has changed.

Kubernetes' tools read YAML by sigs.k8s.io/yaml, which is go-yaml v2: neither YAML 1.1 as PyYAML has it (12:30:45 is no
number there, 2024-01-01 no date) nor YAML 1.2 (`y` is true). So scalars are resolved as go-yaml does (`resolve.go`),
and a document is edited as a tree of nodes, in which every scalar keeps its own text and quotes. May not know
Kubernetes objects.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

WIDTH: Final = 1 << 30
"""Characters of a line: none is folded."""
_TAG: Final = "tag:yaml.org,2002:"
_STR: Final = _TAG + "str"
_TRUE: Final = ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")
_FALSE: Final = ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")
_RESOLVED: Final = (
    ("bool", "|".join((*_TRUE, *_FALSE)), "yYnNtTfFoO"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+0123456789."),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("merge", "<<", "<"),
)
"""Tag, pattern, first characters. The first that fits counts."""
_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9./_-]*")
"""Strings that are written without quotes, where no kind of YAML takes them for anything else."""


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    made: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for tag, pattern, first in _RESOLVED:
        for character in first:
            made.setdefault(character, []).append((_TAG + tag, re.compile(f"(?:{pattern})\\Z")))
    return made


class _Loader(yaml.SafeLoader):
    """Composes documents, and notes of each where it ends in the text."""

    yaml_implicit_resolvers = _resolvers()

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.ended = 0

    def compose_document(self) -> Any:
        node = super().compose_document()
        self.ended = self.last.end_mark.index
        return node

    def get_event(self) -> Any:
        self.last: Any = super().get_event()  # type: ignore[no-untyped-call]  # the library has no types for it
        return self.last


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _resolvers()


def _bool(_loader: yaml.SafeLoader, node: ScalarNode) -> bool:
    if node.value not in (*_TRUE, *_FALSE):
        raise ValueError(f"{node.value!r} is no boolean")
    return node.value in _TRUE


def _int(_loader: yaml.SafeLoader, node: ScalarNode) -> int:
    text = node.value.replace("_", "")
    octal = re.fullmatch(r"[-+]?0[0-7]+", text)
    return int(text, 8 if octal else 0)


def _float(_loader: yaml.SafeLoader, node: ScalarNode) -> float:
    return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


for _name, _construct in (("bool", _bool), ("int", _int), ("float", _float)):
    _Loader.add_constructor(_TAG + _name, _construct)


@dataclass(frozen=True)
class Document:
    """One document of a stream.

    Attributes:
        text: as it stands there, with what introduces it.
        node: its tree.
        value: what Kubernetes' tools read it as.
    """

    text: str
    node: Node
    value: Any


def documents(text: str) -> Iterator[Document]:
    """The documents of a stream that aren't empty.

    Raises:
        yaml.YAMLError: it is no YAML.
        ValueError: a scalar isn't of the kind that its tag says.
    """
    loader = _Loader(text)
    try:
        while loader.check_node():
            begun = loader.ended
            node = cast("Node", loader.get_node())
            value = loader.construct_document(node)
            if value is not None:
                yield Document(text[begun : loader.ended], node, value)
    finally:
        loader.dispose()


def written(document: Document, value: Any) -> str:
    """The document with that value; to the letter as it was where that is its own."""
    if value == document.value:
        text = document.text.lstrip("\ufeff").rstrip() + "\n"
        return text if re.match(r"(?:\s*#[^\n]*\n|\s|%[^\n]*\n)*---(?:\s|$)", text) else "---\n" + text
    node = updated(document.node, document.value, value)
    text = yaml.serialize(node, Dumper=_Dumper, width=WIDTH, allow_unicode=True)
    # On a line of its own: kubectl takes no document that begins behind the dashes, as one that came as JSON would.
    return f"---\n{text}"


def updated(node: Node, old: Any, new: Any) -> Node:
    """The tree of `new`, made of that of `old` (`node`) wherever the two agree.

    An alias of something that changes becomes a copy: what else refers to its anchor stays as it was.
    """
    if new is old or (type(new) is type(old) and new == old):
        return node
    if isinstance(node, MappingNode) and isinstance(old, dict) and isinstance(new, Mapping):
        return MappingNode(node.tag, _pairs(node, old, new), flow_style=node.flow_style)
    if isinstance(node, SequenceNode) and isinstance(old, list) and isinstance(new, list | tuple):
        kept = zip(node.value, old, new, strict=False)
        items = [updated(*each) for each in kept] + [represented(item) for item in new[len(old) :]]
        return SequenceNode(node.tag, items, flow_style=node.flow_style)
    return represented(new)


def _pairs(node: MappingNode, old: dict[Any, Any], new: Mapping[Any, Any]) -> list[tuple[Node, Node]]:
    pairs, direct = [], set()
    for key_node, value_node in node.value:
        if key_node.tag != _STR:  # A merge, or a key that is no string and so nothing to Kubernetes.
            pairs.append((key_node, value_node))
        elif key_node.value in new:
            direct.add(key_node.value)
            pairs.append((key_node, updated(value_node, old[key_node.value], new[key_node.value])))
    further = [
        key for key in new if isinstance(key, str) and key not in direct and (key not in old or old[key] != new[key])
    ]
    return [*pairs, *((represented(key), represented(new[key])) for key in further)]


def represented(value: Any) -> Node:
    """The tree of a value as JSON has them: strings in quotes unless they are a word to every kind of YAML."""
    if isinstance(value, Mapping):
        pairs = [(represented(key), represented(item)) for key, item in value.items()]
        return MappingNode(_TAG + "map", pairs, flow_style=not pairs)
    if isinstance(value, list | tuple):
        return SequenceNode(_TAG + "seq", [represented(item) for item in value], flow_style=not value)
    if isinstance(value, str):
        return ScalarNode(_STR, value, style=None if _word(value) else '"')
    if value is None:
        return ScalarNode(_TAG + "null", "null")
    if isinstance(value, bool):
        return ScalarNode(_TAG + "bool", "true" if value else "false")
    return ScalarNode(_TAG + ("int" if isinstance(value, int) else "float"), str(value))


def _word(text: str) -> bool:
    known = _resolvers().get(text[:1], ())
    return bool(_PLAIN.fullmatch(text)) and not any(pattern.match(text) for _, pattern in known)
