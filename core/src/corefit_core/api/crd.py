"""The CustomResourceDefinition, generated from the structs of `corefit_core.api.inference_service`. May not do I/O.

Structural schemas (apiextensions.k8s.io/v1) know no `$ref`, no `title`, no null in a union: references are put
in place, an optional field is its plain type, and a core/v1 object that is passed through keeps its fields.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from corefit_core.api.inference_service import MANUAL_RULE, InferenceService
from corefit_core.naming import GROUP, KIND, PLURAL, VERSION

SHORT_NAME: Final = "cfis"
CATEGORY: Final = "corefit"

_COLUMNS: Final = (
    ("Ready", "string", ".status.ready", 0),
    ("Status", "string", ".status.state", 0),
    ("CPU", "string", ".status.cpu.granted", 0),
    ("Latency", "string", ".status.latency", 0),
    ("Objective", "string", '.status.conditions[?(@.type=="ObjectiveMet")].reason', 0),
    ("Cost/h", "string", ".status.costPerHour", 0),
    ("Scaling", "string", '.status.conditions[?(@.type=="ScalingActive")].reason', 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Mode", "string", ".spec.scaling.mode", 1),
    ("Workers", "integer", ".status.plan.workers", 1),
    ("Model", "string", ".status.model.uri", 1),
    ("Revision", "string", ".status.model.revision", 1),
    ("Why", "string", '.status.conditions[?(@.type=="ScalingActive")].message', 1),
)
"""Name, type, path, priority: those above 0 are shown by `kubectl get -o wide`."""


def manifest() -> dict[str, Any]:
    """The CRD, ready for `kubectl apply`."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": [SHORT_NAME],
                "categories": [CATEGORY],
            },
            "versions": [_version()],
        },
    }


def schema() -> dict[str, Any]:
    """The structural schema of an InferenceService."""
    (root,), components = msgspec.json.schema_components([InferenceService], ref_template="{name}")
    structural = _structural(root, components)
    properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    structural["properties"] = properties | structural["properties"]
    structural["properties"]["status"] = _without_defaults(structural["properties"]["status"])
    structural["x-kubernetes-validations"] = [MANUAL_RULE]
    return structural


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path} | ({"priority": priority} if priority else {})
            for name, kind, path, priority in _COLUMNS
        ],
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.scaling.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "schema": {"openAPIV3Schema": schema()},
    }


def _structural(node: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """One node of JSON Schema as a structural schema."""
    merged = _resolved(node, components)
    merged.pop("title", None)
    if "x-kubernetes-validations" in merged:
        merged.pop("pattern", None)  # a rule says the same, and in words
    if "enum" in merged:
        merged.setdefault("type", "string")
    if "properties" in merged:
        merged["properties"] = {k: _structural(v, components) for k, v in merged["properties"].items()}
        if not merged.get("required"):
            merged.pop("required", None)
    if "items" in merged:
        merged["items"] = _item(_structural(merged["items"], components), merged.get("x-kubernetes-list-map-keys", ()))
    if merged.get("type") == "object" and "properties" not in merged and "additionalProperties" not in merged:
        merged["x-kubernetes-preserve-unknown-fields"] = True
    if merged.get("default") == {} and "properties" in merged:
        # In full: the API server checks a default against the rules before it fills in the ones inside it.
        merged["default"] = {k: v["default"] for k, v in merged["properties"].items() if "default" in v}
    if merged.get("default", ...) in ((), [], {}):
        del merged["default"]  # an absent list or map says the same, without noise in every stored object
    return merged


def _without_defaults(node: dict[str, Any]) -> dict[str, Any]:
    """Status says what was found: a default in it would be a statement that nobody made."""
    node.pop("default", None)
    for child in (*node.get("properties", {}).values(), *filter(None, [node.get("items")])):
        _without_defaults(child)
    return node


def _resolved(node: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """The node with its reference put in place; what the node itself says wins, as a field's own description."""
    own = {k: v for k, v in node.items() if k not in ("$ref", "anyOf")}
    if "$ref" in node:
        return {**components[node["$ref"]], **own}
    if own.get("x-kubernetes-int-or-string"):
        return {**own, "anyOf": node["anyOf"]}
    return own


def _item(item: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """An item of a list that is merged by keys: the API server wants these declared and required."""
    if keys and "properties" not in item:
        item["properties"] = {key: {"type": "string", "minLength": 1, "maxLength": 1024} for key in keys}
        item["required"] = list(keys)
    return item
