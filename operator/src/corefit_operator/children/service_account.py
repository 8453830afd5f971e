"""The ServiceAccount of the pods, which gives them no token: the runtime asks the API server for nothing. Pure."""

from corefit_core.manifest import Manifest
from corefit_core.service import Service
from corefit_operator.children import metadata
from corefit_operator.children.defaults import Defaults


def manifest(service: Service, _: Defaults) -> Manifest:
    """The ServiceAccount."""
    return metadata.manifest(service, "v1", "ServiceAccount", {"automountServiceAccountToken": False})
