"""The PodDisruptionBudget: drains of nodes take one pod at a time. Pure."""

from corefit_core.manifest import Manifest
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.children import metadata
from corefit_operator.children.defaults import Defaults


def manifest(spec: ServingSpec, _: Defaults) -> Manifest:
    """The PodDisruptionBudget."""
    body = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": metadata.own_pods(spec)},
        # A pod that can't become ready must not hold up the drain of its node.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return metadata.manifest(spec, "policy/v1", "PodDisruptionBudget", {"spec": body})
