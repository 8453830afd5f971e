"""Which port the Service asks its pods for while some of them are of an earlier version. Pure."""

from collections.abc import Sequence

from corefit_core.manifest import Manifest, fingerprint
from corefit_core.naming import ANNOTATION_APPLIED
from corefit_core.service import Service
from corefit_operator.children import manifests
from corefit_operator.kube.pods import Pod


def reachable(service: Service, wanted: Sequence[Manifest], pods: Sequence[Pod]) -> Sequence[Manifest]:
    """The children, with a Service that asks for a number as long as a pod has no name for its port.

    Version 0.1.0 gave none to the ports of applications, and a Service that asks for a name leaves such pods out.
    """
    beside = service.application
    if beside is None or all(pod.names_its_port for pod in pods if pod.live):
        return wanted
    return [_numbered(child, beside.port) if child["kind"] == "Service" else child for child in wanted]


def _numbered(child: Manifest, number: int) -> Manifest:
    metadata, spec = child["metadata"], {**child["spec"], "ports": [manifests.service_port(number)]}
    bare = {k: v for k, v in metadata["annotations"].items() if k != ANNOTATION_APPLIED}
    made = {**child, "metadata": {**metadata, "annotations": bare}, "spec": spec}
    made["metadata"]["annotations"][ANNOTATION_APPLIED] = fingerprint(made)
    return made
