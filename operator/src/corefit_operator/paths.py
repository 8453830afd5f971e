"""Where each kind of object is in the API. Pure."""

from collections.abc import Mapping
from typing import Final

from corefit_core.naming import GROUP, PLURAL, VERSION

CUSTOM: Final = f"apis/{GROUP}/{VERSION}"
PATHS: Final[Mapping[str, tuple[str, str]]] = {
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "Service": ("api/v1", "services"),
    "Pod": ("api/v1", "pods"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "StatefulSet": ("apis/apps/v1", "statefulsets"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "Node": ("api/v1", "nodes"),
    "Event": ("apis/events.k8s.io/v1", "events"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "InferenceService": (CUSTOM, PLURAL),
}


def path(kind: str, namespace: str | None, name: str | None = None) -> str:
    """The path of a kind, or of one object of it."""
    base, plural = PATHS[kind]
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"{base}{within}/{plural}" + (f"/{name}" if name else "")


def resource(path: str) -> str:
    """The plural that a path speaks of, with its subresource: a label of few values for the metrics."""
    parts = path.split("/")
    plurals = {plural for _, plural in PATHS.values()}
    found = next((i for i, part in enumerate(parts) if part in plurals), None)
    if found is None:
        return "discovery"
    return parts[found] + (f"/{parts[found + 2]}" if len(parts) > found + 2 else "")
