"""The state of a namespace in a form that two runs can be compared in: the oracle of the fault tests.

Left out is what differs between two runs that did the same: uids, times, versions, addresses, and the random ends of
pods' names. Events are left out too: they tell of what happened, and nothing depends on one. With `history=False` what
remembers the way to a state is left out as well, so that it can be compared with a state that was reached otherwise.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import zip_longest
from typing import Any, get_args

from corefit_core.naming import ANNOTATION_APPLIED, ANNOTATION_OWNER, FIELD_MANAGER, GROUP, PLURAL, VERSION
from corefit_core.recommender.types import Reason

KINDS = {
    "InferenceService": f"apis/{GROUP}/{VERSION}/namespaces/{{}}/{PLURAL}",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "ReplicaSet": "apis/apps/v1/namespaces/{}/replicasets",
    "Pod": "api/v1/namespaces/{}/pods",
    "Service": "api/v1/namespaces/{}/services",
    "ServiceAccount": "api/v1/namespaces/{}/serviceaccounts",
    "PodDisruptionBudget": "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "HTTPRoute": "apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes",
}
INCIDENTAL = frozenset(
    {
        *("uid", "resourceVersion", "selfLink", "nodeName", "containerID", "imageID"),
        *("clusterIP", "clusterIPs", "podIP", "podIPs", "hostIP", "hostIPs"),
        *("creationTimestamp", "lastTransitionTime", "lastUpdateTime", "lastProbeTime", "lastHeartbeatTime"),
        *("startTime", "startedAt", "finishedAt", "time"),
        *(ANNOTATION_APPLIED, ANNOTATION_OWNER),  # the former has the owner's uid in it
    }
)
"""Differs between two runs that did the same."""
HISTORICAL = frozenset(
    {
        *("generation", "observedGeneration", "lastDecision", "collisionCount"),
        *("deployment.kubernetes.io/revision", "deployment.kubernetes.io/revision-history"),
    }
)
"""Says how a state was reached."""

MEASURED = frozenset({"ObjectiveMet", "ObjectiveReachable"})
"""Conditions that follow the requests of the last minute, of which an operator that has just started knows nothing."""

BY_CHANCE = ("Pod", "ReplicaSet")
"""Kinds whose history is not the operator's alone: the steps in which a load is followed, or the controller scales."""

ABSENT = "(absent)"
"""Stands in a difference for what one side lacks."""

UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Where it isn't a field of its own: in accounts of fields, in messages."""

LABEL_HASH = "pod-template-hash"

Get = Callable[[str], Mapping[str, Any]]
"""The decoded answer to a GET of a path of the API server, without its leading slash."""
State = dict[str, Any]


def state(get: Get, namespace: str, *, history: bool = True) -> State:
    """All that a service is made of: what each object asks for and says, by kind and name."""
    found: dict[str, Any] = {}
    listed = {kind: get(path.format(namespace)).get("items", ()) for kind, path in KINDS.items()}
    left = frozenset() if history else _left(listed["Deployment"])
    hashes = () if history else _hashes(listed["ReplicaSet"])
    for kind, items in listed.items():
        dropped = INCIDENTAL if history and kind not in BY_CHANCE else INCIDENTAL | HISTORICAL
        for item in items:
            if item["metadata"]["name"] in left:
                continue  # the operator may not delete, so the objects of a balancer that went stay, without pods
            if kind == "HTTPRoute" and not history and "parentRefs" not in item["spec"]:
                continue  # likewise, without Gateways
            if kind == "ReplicaSet" and not history and not item["spec"].get("replicas"):
                continue  # kept to go back to, which is nobody's intention here
            name = normal(kind, item["metadata"]["name"])
            text = json.dumps(_kept(_own(item), dropped), sort_keys=True)
            text = UID.sub("UID", text.replace(namespace, "NAMESPACE").replace(item["metadata"]["name"], name))
            key = f"{kind}/{name}"
            for hash_ in hashes:
                key, text = key.replace(hash_, "HASH"), text.replace(hash_, "HASH")
            found.setdefault(key, []).append(text)
    return {key: [json.loads(text) for text in sorted(texts)] for key, texts in sorted(found.items())}


def _left(deployments: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The names of the objects of balancers without pods."""
    idle = [d["metadata"]["name"] for d in deployments if not d["spec"].get("replicas")]
    balancers = [name for name in idle if name.endswith("-balancer")]
    return frozenset(balancers) | {f"{name.removesuffix('-balancer')}-pods" for name in balancers}


def _hashes(replica_sets: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The hashes in the names of ReplicaSets and pods.

    The same template has another hash if a ReplicaSet of the first one's name is still there: one of a Deployment that
    was deleted and made again at once. The Deployment's controller counts such a collision for good.
    """
    labels = (replica_set["metadata"].get("labels", {}) for replica_set in replica_sets)
    return tuple(found[LABEL_HASH] for found in labels if LABEL_HASH in found)


def normal(kind: str, name: str) -> str:
    """An object's name without what is random in it."""
    return f"{name.rpartition('-')[0]}-*" if kind in ("Pod", "pods") else name


def difference(expected: State, found: State) -> list[str]:
    """Where two states differ, a line each: the path, what it should be, what it is."""
    return [f"{path}: {a} -> {b}" for path, a, b in _walk("", expected, found)]


def _own(item: Mapping[str, Any]) -> dict[str, Any]:
    """The object with our own account of its fields instead of everybody's, and without what was measured.

    Of decisions the outcome is kept: why one was taken is told of the first with that outcome, which an operator that
    is killed right after it can't do any more. What it takes to go down, and the latency, it has to measure again.
    """
    meta, status = dict(item["metadata"]), dict(item.get("status", {}))
    managed = meta.pop("managedFields", ())
    ours = [entry for entry in managed if entry.get("manager") == FIELD_MANAGER and "subresource" not in entry]
    for measured in ("latency", "routing"):
        status.pop(measured, None)
    if "lastDecision" in status:
        status["lastDecision"] = {k: v for k, v in status["lastDecision"].items() if k in ("replicas", "cpu")}
    if "conditions" in status:
        status["conditions"] = [_decided(condition) for condition in status["conditions"]]
    return {**item, "metadata": {**meta, "ours": ours}, "status": status}


def _decided(condition: dict[str, Any]) -> dict[str, Any]:
    if condition["type"] in MEASURED:
        return {"type": condition["type"], "status": "(measured)"}
    told = condition["type"] == "ScalingActive" and condition.get("reason") in get_args(Reason)
    return {**condition, "reason": "(a decision's)", "message": "(a decision's)"} if told else condition


def _kept(value: Any, dropped: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {k: _kept(v, dropped) for k, v in value.items() if k not in dropped}
    if isinstance(value, list):
        kept = [_kept(v, dropped) for v in value]
        return sorted(kept, key=lambda c: c["type"]) if all(map(_is_condition, kept)) else kept
    return value


def _is_condition(value: Any) -> bool:
    """Conditions are in the order in which they came about."""
    return isinstance(value, dict) and value.keys() >= {"type", "status"}


def _walk(path: str, a: Any, b: Any) -> list[tuple[str, Any, Any]]:
    if a == b:
        return []
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted(a.keys() | b.keys())
        return [line for k in keys for line in _walk(f"{path}.{k}", a.get(k, ABSENT), b.get(k, ABSENT))]
    if isinstance(a, list) and isinstance(b, list):
        pairs = enumerate(zip_longest(a, b, fillvalue=ABSENT))
        return [line for i, (x, y) in pairs for line in _walk(f"{path}[{i}]", x, y)]
    return [(path.removeprefix("."), a, b)]
