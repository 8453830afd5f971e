"""The ServiceAccount of the pods, which gives them no token: the runtime asks the API server for nothing. Pure."""

from corefit_core.manifest import Manifest
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.children import metadata
from corefit_operator.children.defaults import Defaults


def manifest(spec: ServingSpec, _: Defaults) -> Manifest:
    """The ServiceAccount."""
    return metadata.manifest(spec, "v1", "ServiceAccount", {"automountServiceAccountToken": False})
