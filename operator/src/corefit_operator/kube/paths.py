"""Where each kind of object is in the API. Pure.

Every path is made here, and a name enters one as a single segment or not at all.
"""

from collections.abc import Mapping
from typing import Final

from corefit_core.errors import InvalidInput
from corefit_core.naming import GROUP, PLURAL, VERSION, is_object_name

CUSTOM: Final = f"apis/{GROUP}/{VERSION}"
PATHS: Final[Mapping[str, tuple[str, str]]] = {
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "Service": ("api/v1", "services"),
    "Pod": ("api/v1", "pods"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "HTTPRoute": ("apis/gateway.networking.k8s.io/v1", "httproutes"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "StatefulSet": ("apis/apps/v1", "statefulsets"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "Node": ("api/v1", "nodes"),
    "Event": ("apis/events.k8s.io/v1", "events"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "InferenceService": (CUSTOM, PLURAL),
}
CHILD_KINDS: Final = ("ServiceAccount", "NetworkPolicy", "Service", "PodDisruptionBudget", "Deployment")
"""The kinds of children that are watched, in the order in which they are written: the pods' surroundings before the
pods. A cluster may lack HTTPRoutes, and a watch of what there isn't would end the operator."""


def path(kind: str, namespace: str | None, name: str | None = None) -> str:
    """The path of a kind, or of one object of it; None for all namespaces and for all objects.

    Raises:
        InvalidInput: the namespace or the name is none, and could lead to another object.
    """
    base, plural = PATHS[kind]
    within = "" if namespace is None else f"/namespaces/{_segment(namespace)}"
    return f"{base}{within}/{plural}" + ("" if name is None else f"/{_segment(name)}")


def _segment(name: str) -> str:
    # No name holds a character that a URL would have to escape, so there is nothing to escape either.
    if not is_object_name(name):
        raise InvalidInput(f"{name[:80]!r} is not the name of a Kubernetes object")
    return name


def namespace(path: str) -> str:
    """The namespace that a path leads into; empty for none."""
    _, _, rest = path.partition("/namespaces/")
    return rest.partition("/")[0]


def resource(path: str) -> str:
    """The plural that a path speaks of, with its subresource: a label of few values for the metrics."""
    parts = path.split("/")
    if "namespaces" in parts[:-1]:  # a namespace may be called as a kind is
        at = parts.index("namespaces")
        parts = parts[:at] + parts[at + 2 :]
    plurals = {plural for _, plural in PATHS.values()}
    found = next((i for i, part in enumerate(parts) if part in plurals), None)
    if found is None:
        return "discovery"
    return parts[found] + (f"/{parts[found + 2]}" if len(parts) > found + 2 else "")
