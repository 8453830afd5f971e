"""The PodDisruptionBudget: drains of nodes take one pod at a time. Pure."""

from corefit_core.manifest import Manifest
from corefit_core.service import Service
from corefit_operator.children import metadata
from corefit_operator.children.defaults import Defaults


def manifest(service: Service, _: Defaults) -> Manifest:
    """The PodDisruptionBudget."""
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": metadata.own_pods(service)},
        # A pod that can't become ready must not hold up the drain of its node.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return metadata.manifest(service, "policy/v1", "PodDisruptionBudget", {"spec": spec})
