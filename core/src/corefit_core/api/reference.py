"""The reference of the resource as a Markdown page, generated from the CRD. May not do I/O.

One table for each object of the schema: its fields with type, default, limits and meaning. The page therefore says
what the API server enforces (OpenAPI structural schema and CEL rules of apiextensions.k8s.io/v1), and nothing else.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_INTRODUCTION: Final = """\
# Reference of the resource

An `InferenceService` of the API group `{group}`, version `{version}`. `kubectl get {short}` lists them;
`kubectl explain {plural}.{group}.spec` shows the same descriptions as this page. The API server enforces each limit
below and answers with the sentence that stands here.
"""


def markdown(manifest: Mapping[str, Any]) -> str:
    """The page for a CRD with one version, as `corefit_core.api.crd.manifest` gives it."""
    spec = manifest["spec"]
    (version,) = spec["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    root = schema["properties"]
    parts = [
        _INTRODUCTION.format(
            group=spec["group"],
            version=version["name"],
            short=spec["names"]["shortNames"][0],
            plural=spec["names"]["plural"],
        ),
        *_refusals(schema),
        *_sections("spec", root["spec"]),
        *_sections("status", root["status"]),
        _columns(version["additionalPrinterColumns"]),
    ]
    return "\n".join(parts)


def _sections(path: str, node: Mapping[str, Any]) -> Iterator[str]:
    """The object at a path, then the objects below it, depth first."""
    yield _section(path, node)
    for name, child in node["properties"].items():
        inner, below = _object_below(child)
        if inner is not None:
            yield from _sections(f"{path}.{name}{below}", inner)


def _object_below(node: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str]:
    """The object with fields of its own that a field holds, itself or in a list, and what the path adds for a list.

    An object of core/v1 that Corefit passes on (it preserves unknown fields) has no section of its own.
    """
    item, below = (node["items"], "[]") if "items" in node else (node, "")
    known = "properties" in item and not item.get("x-kubernetes-preserve-unknown-fields")
    return (item, below) if known else (None, "")


def _section(path: str, node: Mapping[str, Any]) -> str:
    required = node.get("required", ())
    lines = [f"## {path}", ""]
    if node.get("description"):
        lines += [node["description"], ""]
    lines += _refusals(node)
    lines += ["| Field | Type | Default | Limits | Meaning |", "|---|---|---|---|---|"]
    for name, child in node["properties"].items():
        default = "**required**" if name in required else _default(child)
        inner, below = _object_below(child)
        label = f"`{name}`" if inner is None else f"[`{name}`](#{_anchor(path + '.' + name + below)})"
        cells = (label, _type(child), default, "; ".join(_limits(child)), child.get("description", ""))
        lines.append("| " + " | ".join(_cell(text) for text in cells) + " |")
    return "\n".join([*lines, ""])


def _refusals(node: Mapping[str, Any]) -> list[str]:
    rules = [f"- {rule}" for rule in _rules(node)]
    return ["The API server refuses an object that breaks one of these rules:", "", *rules, ""] if rules else []


def _anchor(heading: str) -> str:
    """The fragment that GitHub's renderer gives a heading: lower case, without punctuation."""
    return "".join(c for c in heading.lower() if c.isalnum() or c in "-_")


def _type(node: Mapping[str, Any]) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "items" in node:
        return f"list of {_type(node['items'])}"
    if "additionalProperties" in node:
        return "map of strings"
    return str(node.get("format", node.get("type", "any value")))


def _default(node: Mapping[str, Any]) -> str:
    default = node.get("default")
    return "" if default is None or isinstance(default, dict) else f"`{default}`"


def _limits(node: Mapping[str, Any]) -> Iterator[str]:
    """What the schema allows, in words. The length of a quantity says nothing to a reader and is left out."""
    if "enum" in node:
        yield " or ".join(f"`{value}`" for value in node["enum"])
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        yield f"{low} to {high}"
    elif low is not None:
        yield f"at least {low}"
    if "maxLength" in node and not node.get("x-kubernetes-int-or-string"):
        yield f"at most {node['maxLength']} characters"
    if "maxItems" in node:
        yield f"at most {node['maxItems']} items"
    if "maxProperties" in node:
        yield f"at most {node['maxProperties']} entries"
    if "properties" not in node:
        yield from _rules(node)
    if "items" in node and "properties" not in node["items"]:
        yield from _rules(node["items"])


def _rules(node: Mapping[str, Any]) -> list[str]:
    """The messages of the CEL rules, each once."""
    return list(dict.fromkeys(rule["message"] for rule in node.get("x-kubernetes-validations", ())))


def _columns(columns: list[dict[str, Any]]) -> str:
    lines = ["## Columns of kubectl get", "", "| Column | Where it comes from | Shown |", "|---|---|---|"]
    for column in columns:
        shown = "with `-o wide`" if column.get("priority") else "always"
        lines.append(f"| {column['name']} | `{_cell(column['jsonPath'])}` | {shown} |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    """A text in a cell of a table: a bar would end the cell."""
    return text.replace("|", "\\|").replace("\n", " ")
