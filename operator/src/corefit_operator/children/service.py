"""The Service, and which port it sends to while some of the pods are of an earlier version. Pure."""

from collections.abc import Sequence

from corefit_core import naming
from corefit_core.manifest import Manifest
from corefit_core.pods import ports
from corefit_core.service import Service
from corefit_operator.children import metadata
from corefit_operator.children.defaults import Defaults
from corefit_operator.kube.pods import Pod


def manifest(service: Service, _: Defaults) -> Manifest:
    """The Service."""
    return _sending_to(service, _target(service))


def reachable(service: Service, wanted: Sequence[Manifest], pods: Sequence[Pod]) -> Sequence[Manifest]:
    """The children, with a Service that asks for a number as long as a pod has no name for its port.

    Version 0.1.0 gave none to the ports of applications, and a Service that asks for a name leaves such pods out.
    """
    application = service.application
    if application is None or all(pod.names_its_port for pod in pods if pod.live):
        return wanted
    numbered = metadata.hashed(_sending_to(service, application.port))
    return [numbered if child["kind"] == "Service" else child for child in wanted]


def _sending_to(service: Service, target: str | int) -> Manifest:
    port = {"name": "http", "port": naming.PORT_HTTP, "targetPort": target, "protocol": "TCP", "appProtocol": "http"}
    spec = {"type": "ClusterIP", "selector": metadata.own_pods(service), "ports": [port]}
    return metadata.manifest(service, "v1", "Service", {"spec": spec})


def _target(service: Service) -> str | int:
    """A name, so that pods of before and after an application came or went are each sent to where they listen."""
    application = service.application
    if application is None or ports.named(application.containers, application.port):
        return naming.PORT_NAME
    return application.port
