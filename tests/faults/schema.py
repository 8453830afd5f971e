"""What can be asked of an InferenceService, drawn from the CRD's own schema.

For each field there are values that it lets through, at its edges too, and values that it refuses.

What the schema can't tell, since fields of core/v1 types are passed on as they are, is in two tables: values that pods
can have, and values that the resource takes and no pod can have.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hypothesis import strategies as st

CRD = next((Path(__file__).parents[2] / "crds").glob("*.yaml"))
Path_ = tuple[str, ...]
Schema = Mapping[str, Any]

PODS = 4
"""Replicas at most: each is a pod that has to come up before states can be compared."""
SOON_S = 1
"""Seconds of stabilization at most, for the same reason: how many pods there are is settled when it is over."""
CAPPED: Mapping[Path_, int] = {
    ("scaling", "minReplicas"): PODS,
    ("scaling", "maxReplicas"): PODS,
    ("scaling", "replicas"): PODS,
    ("scaling", "downStabilizationSeconds"): SOON_S,
}
WEB = {"name": "web", "image": "web:1"}
"""An application's container."""
QUANTITIES = {
    "cpu": (["100m", "200m", "0.25", "1", 1, 2, "1500m", "100e-3"], ["99m", "0", -1, "fast", "1 core", True, "1" * 33]),
    "memory": (["128Mi", "256Mi", "1Gi", 536870912, "134217728"], ["127Mi", "0", -1, "much", "1 Gi", [], "1" * 33]),
}
"""Good and refused, by the last word of the field's name: a rule says `isQuantity`, and from there on it is a word."""
GOOD: Mapping[Path_, list[Any]] = {
    ("template",): [
        {},
        {
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "volumeMounts": [{"name": "scratch", "mountPath": "/mnt/scratch"}],
        },
    ],
    ("template", "labels"): [{}, {"team": "a"}, {"x.example.org/l": "b" * 63}, {"app.kubernetes.io/name": "other"}],
    ("template", "annotations"): [{}, {"note": "Ж" * 100}, {"example.org/a": ""}],
    ("template", "nodeSelector"): [{}, {"disk": "ssd"}],
    ("template", "tolerations"): [[], [{"operator": "Exists"}], [{"key": "k", "value": "v", "effect": "NoSchedule"}]],
    ("template", "affinity"): [{}, {"nodeAffinity": {}}],
    ("template", "topologySpreadConstraints"): [
        [],
        [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}],
    ],
    ("template", "imagePullSecrets"): [[], [{"name": "a"}], [{"name": "a"}, {"name": "b"}]],
    ("template", "env"): [
        [],
        [{"name": "A", "value": "1"}],
        [{"name": "B", "value": ""}, {"name": "A", "value": "$(B)"}],
    ],
    ("template", "priorityClassName"): ["system-cluster-critical"],
    ("template", "serviceAccountName"): ["default"],
    ("application", "containers"): [
        [WEB],
        [{**WEB, "image": "web:2", "ports": [{"containerPort": 8080}]}],
        [{**WEB, "ports": [{"name": "http", "containerPort": 9000}], "env": [{"name": "COREFIT_URL", "value": "x"}]}],
        [{**WEB, "ports": [{"name": "web", "containerPort": 8080}], "resources": {"limits": {"cpu": "50m"}}}],
        [{**WEB, "name": "runtime"}, {"name": "log", "image": "log:1", "ports": [{"name": "log", "containerPort": 1}]}],
        [{**WEB, "env": None, "ports": None, "volumeMounts": None}],
    ],
    ("application", "volumes"): [[], [{"name": "models", "emptyDir": {}}], [{"name": "content", "emptyDir": {}}]],
    ("scaling", "targetRef", "name"): ["web", "there-is-none"],
    ("routing", "gateway", "parentRefs"): [
        [{"name": "public"}],
        [{"name": "public", "namespace": "infra"}, {"name": "public", "namespace": "infra2", "sectionName": "http"}],
        [{"name": "a.b", "port": 65535}],
    ],
    ("routing", "gateway", "hostnames"): [[], ["models.example.com"], ["*.example.com", "models"]],
}
REFUSED: Mapping[Path_, list[Any]] = {
    ("application", "containers"): [[], [{}], [{"name": ""}], [{**WEB, "name": "corefit-runtime"}], [WEB, WEB], "text"],
    ("application", "volumes"): [[{"name": "corefit-models", "emptyDir": {}}], [{"emptyDir": {}}], "text"],
    ("application", "port"): [0, 65536, 18080, 18081, "http", 1.5],
    ("routing", "gateway", "parentRefs"): [[], [{}], [{"name": "A"}], [{"name": "a", "namespace": "a.b"}], "text"],
    ("routing", "gateway", "hostnames"): [["10.0.0.1"], ["A.example.com"], ["a b"], [""], ["a.*"], "text"],
    ("scaling", "targetRef"): [{}, {"kind": "Deployment"}, {"kind": "Job", "name": "web"}, "web"],
}
"""What rules on lists and numbers refuse, beside what types do."""
UNSERVABLE: Mapping[Path_, list[Any]] = {
    ("template", "labels"): [{"not a label": "x"}, {"a": "not a value!"}],
    ("template", "annotations"): [{"not a name": "x"}],
    ("template", "nodeSelector"): [{"not a label": "x"}],
    ("template", "tolerations"): [[{"operator": "Nonsense"}], [{"effect": "Nonsense"}], [{"operator": 5}]],
    ("template", "affinity"): [{"nodeAffinity": 5}],
    ("template", "topologySpreadConstraints"): [[{"maxSkew": -1, "topologyKey": "k"}], [{}]],
    ("template", "env"): [[{"name": "A", "value": 5}], [{"name": "A", "valueFrom": {}}]],
    ("template", "volumes"): [
        [{"name": "Not A Name", "emptyDir": {}}],
        [{"name": "v", "emptyDir": {}, "hostPath": {}}],
    ],
    ("template", "volumeMounts"): [[{"mountPath": "/mnt/missing", "name": "missing"}]],
    ("template", "priorityClassName"): ["there-is-none", "Not A Name"],
    ("template", "serviceAccountName"): ["there-is-none", "Not A Name"],
    ("application", "containers"): [
        [{"name": "web"}],
        [{**WEB, "name": "Not A Name"}],
        [{**WEB, "image": 5}],
        [{**WEB, "env": "text"}],
        [{**WEB, "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}],
        [{**WEB, "ports": "text"}],
        [{**WEB, "ports": [{"containerPort": 0}]}],
        [{**WEB, "volumeMounts": [{"mountPath": "/missing", "name": "missing"}]}],
        [{**WEB, "unknown": 1}],
    ],
    ("application", "volumes"): [
        [{"name": "Not A Name", "emptyDir": {}}],
        [{"name": "v", "emptyDir": {}, "hostPath": {}}],
    ],
}
"""What the resource takes and its children can't have: the operator has to say so, and go on with what there is."""


class Field(NamedTuple):
    """A field of the spec.

    Attributes:
        good: values that the schema lets through, edges among them; rules across fields may still refuse one.
        refused: values that it must not let through.
    """

    path: Path_
    good: st.SearchStrategy[Any]
    refused: st.SearchStrategy[Any]


def fields() -> list[Field]:
    """All fields of the spec."""
    crd = yaml.safe_load(CRD.read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return list(_walk((), spec))


def _walk(path: Path_, schema: Schema) -> Iterator[Field]:
    if path:
        yield Field(path, _good(path, schema), _refused(path, schema))
    for name, child in schema.get("properties", {}).items():
        yield from _walk((*path, name), child)


def _good(path: Path_, schema: Schema) -> st.SearchStrategy[Any]:
    told = GOOD.get(path) or schema.get("enum")
    if schema.get("x-kubernetes-int-or-string"):
        told = _quantities(path)[0]
    if told:
        return st.sampled_from(told)
    match schema["type"]:
        case "integer":
            least, most = schema["minimum"], min(schema["maximum"], CAPPED.get(path, schema["maximum"]))
            return st.sampled_from((least, most)) | st.integers(least, most)
        case "number":
            return st.sampled_from((schema["minimum"], schema["maximum"], 97.5))
        case "string":
            return _text(schema)
        case "object":
            return _object(path, schema)
        case _:
            return st.just([])


def _refused(path: Path_, schema: Schema) -> st.SearchStrategy[Any]:
    told = REFUSED.get(path) or ("enum" in schema and ["Nonsense", "", 5])
    if schema.get("x-kubernetes-int-or-string"):
        told = _quantities(path)[1]
    if told:
        return st.sampled_from(told)
    match schema["type"]:
        case "integer":
            return st.sampled_from((schema["minimum"] - 1, schema["maximum"] + 1, "many", 1.5, True, 2**63))
        case "number":
            return st.sampled_from((schema["minimum"] - 0.5, schema["maximum"] + 0.9, "many", True))
        case "string":
            wrong = ["x" * (schema["maxLength"] + 1), 5, {}]
            return st.sampled_from([*wrong, "no match of anything\n"] if _pattern(schema) else wrong)
        case "object":
            return st.sampled_from(("text", [], 5))
        case _:
            return st.sampled_from(("text", {}, [5]))


def _quantities(path: Path_) -> tuple[list[Any], list[Any]]:
    return QUANTITIES["memory" if path[-1] == "memory" else "cpu"]


def _text(schema: Schema) -> st.SearchStrategy[str]:
    pattern, most = _pattern(schema), schema["maxLength"]
    letters = st.characters(min_codepoint=33, max_codepoint=126)
    if pattern is None:
        plain = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True, alphabet=letters)
        return plain.filter(lambda text: schema.get("minLength", 0) <= len(text) <= most)
    found = st.from_regex(pattern.removeprefix("^").removesuffix("$"), fullmatch=True, alphabet=letters)
    return found.filter(lambda text: len(text) <= most)


def _pattern(schema: Schema) -> str | None:
    """The regular expression of the rule that a string has to match, out of CEL's quotes."""
    for rule in schema.get("x-kubernetes-validations", ()):
        found = re.fullmatch(r"self\.matches\('(.*)'\)", rule["rule"])
        if found:
            return found[1].replace("\\\\", "\\")
    return None


def _object(path: Path_, schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """What has to be there, and nothing else: the other fields are changed one by one."""
    required = {name: _good((*path, name), schema["properties"][name]) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required)
