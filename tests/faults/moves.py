"""What a sequence of changes draws from: kinds of resources, edits of children by hand, faults of the network.

Pure; what is asked of the fields of a resource is `schema`'s.
"""

import copy
from collections.abc import Mapping
from typing import Any

from faults import schema
from faults.proxy import LOSE, REFUSE, Reply, Verdict
from faults.state import State

from corefit_core.naming import LABEL_SERVICE

BASE: Mapping[str, Any] = {
    "model": {"uri": "http://models/digits.onnx"},
    "resources": {"cpu": "200m", "memory": "256Mi"},
    "scaling": {"mode": "Manual", "replicas": 1, "maxReplicas": schema.PODS, "downStabilizationSeconds": 0},
}
APPLICATION = {"containers": [schema.WEB]}
TARGET = {"kind": "Deployment", "name": "web"}
KINDS = ("alone", "beside an application", "in pods of others")
"""Where the runtime of a resource is."""

APPS, CORE = "apis/apps/v1", "api/v1"
CHILDREN = {
    "deployments": APPS,
    "services": CORE,
    "serviceaccounts": CORE,
    "poddisruptionbudgets": "apis/policy/v1",
    "networkpolicies": "apis/networking.k8s.io/v1",
    "httproutes": "apis/gateway.networking.k8s.io/v1",
}
EDITS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "deployments": (
        {"metadata": {"labels": {LABEL_SERVICE: None}}},
        {"metadata": {"annotations": None}},
        {"metadata": {"ownerReferences": None}},
        {"spec": {"progressDeadlineSeconds": 5, "minReadySeconds": 0}},
        {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}},
    ),
    "services": (
        {"spec": {"selector": {"app": "other"}}},
        {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": 81}]}},
    ),
    "serviceaccounts": ({"automountServiceAccountToken": True}, {"metadata": {"labels": None}}),
    "poddisruptionbudgets": ({"spec": {"maxUnavailable": 3}}, {"metadata": {"ownerReferences": None}}),
    "networkpolicies": ({"spec": {"ingress": []}}, {"spec": {"policyTypes": ["Egress"]}}),
    "httproutes": ({"spec": {"rules": []}}, {"metadata": {"labels": None}}, {"metadata": {"annotations": None}}),
}
"""What somebody does to children by hand, as merge patches. Fields that Corefit never set it leaves alone, so none."""
FAULTS: Mapping[str, Verdict] = {
    "the answer is lost": LOSE,
    "the connection is": REFUSE,
    "conflict": Reply(409),
    "too many requests": Reply(429, {"Retry-After": "1"}),
    "an error": Reply(500),
    "not available": Reply(503),
}


def of_kind(spec: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The same for another kind of resource, with what belongs to that and without what doesn't."""
    made = without(without(without(spec, ("mode",)), ("application",)), ("scaling", "targetRef"))
    if kind == KINDS[1]:
        made["application"] = spec.get("application", APPLICATION)
        made = without(made, ("routing", "balancing"))
    if kind == KINDS[2]:
        made = without(made, ("routing",))
        made = {**made, "mode": "Sidecar", "scaling": {**made.get("scaling", {}), "targetRef": TARGET}}
    return made


def kind_of(spec: Mapping[str, Any]) -> str:
    """Which of the kinds a resource is."""
    return KINDS[2 if spec.get("mode") == "Sidecar" else 1 if "application" in spec else 0]


def scales(spec: Mapping[str, Any]) -> bool:
    """Whether the replicas are Corefit's to say."""
    scaling = spec.get("scaling", {})
    target = scaling.get("targetRef", {})
    found = (target.get("kind"), target.get("name")) == (TARGET["kind"], TARGET["name"])
    return scaling.get("mode") != "Recommend" and (found or spec.get("mode") != "Sidecar")


def compared(found: State, spec: Mapping[str, Any]) -> State:
    """What is looked at in the end.

    Not the resource's own spec, in which what was emptied may be empty, null or absent, by the way there. And not a
    workload of others, whose pods have the runtime still, where the resource has pods of its own.
    """
    kept = {key: items for key, items in found.items() if kind_of(spec) == KINDS[2] or "/web" not in key}
    bare = {"spec": None}
    return {key: [{**i, **bare} for i in items] if "InferenceService/" in key else items for key, items in kept.items()}


def whole(spec: Mapping[str, Any]) -> bool:
    """Whether what is mounted is there: fields that are good each by itself may make no pod together."""
    template = spec.get("template", {})
    volumes = {volume["name"] for volume in template.get("volumes", ())}
    return all(mount["name"] in volumes for mount in template.get("volumeMounts", ()))


def with_(spec: Mapping[str, Any], path: schema.Path_, value: Any) -> dict[str, Any]:
    """The same with another value at a path."""
    changed = copy.deepcopy(dict(spec))
    node = changed
    for step in path[:-1]:
        node = node.setdefault(step, {})
    node[path[-1]] = value
    return changed


def without(spec: Mapping[str, Any], path: schema.Path_) -> dict[str, Any]:
    """The same with nothing at a path."""
    changed = copy.deepcopy(dict(spec))
    node = changed
    for step in path[:-1]:
        node = node.get(step, {})
    node.pop(path[-1], None)
    return changed
