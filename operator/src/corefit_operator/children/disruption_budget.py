"""The PodDisruptionBudget of the runtime's pods. Pure."""

from corefit_core.manifest import Manifest
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.children import metadata, pod
from corefit_operator.children.defaults import Defaults


def manifest(spec: ServingSpec, _: Defaults) -> Manifest:
    """The PodDisruptionBudget."""
    body = pod.one_away_at_once(metadata.own_pods(spec))
    return metadata.manifest(spec, "policy/v1", "PodDisruptionBudget", {"spec": body})
