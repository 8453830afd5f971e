"""The Service: whether it sends to the pods or to the balancer, and to which port of older pods. Pure."""

from collections.abc import Sequence

from corefit_core import naming
from corefit_core.manifest import Manifest
from corefit_core.pods import service_port_name
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.children import metadata
from corefit_operator.children.defaults import Defaults
from corefit_operator.kube.pods import Pod
from corefit_operator.kube.workloads import Child


def manifest(spec: ServingSpec, _: Defaults) -> Manifest:
    """The Service."""
    return _sending_to(spec, _target(spec))


def to_balancer(spec: ServingSpec, wanted: Sequence[Manifest]) -> tuple[Manifest, ...]:
    """The children, with a Service that sends to the balancer: its name, address and port are the same."""
    routed = _to_balancer(spec)
    return tuple(routed if child["kind"] == "Service" else child for child in wanted)


def sends_to_balancer(spec: ServingSpec, child: Child) -> bool:
    """Whether a Service, as it was applied last, sends to the balancer."""
    applied = _to_balancer(spec)["metadata"]["annotations"][naming.ANNOTATION_APPLIED]
    return bool(child.metadata.annotations.get(naming.ANNOTATION_APPLIED) == applied)


def reachable(spec: ServingSpec, wanted: Sequence[Manifest], pods: Sequence[Pod]) -> Sequence[Manifest]:
    """The children, with a Service that asks for a number as long as a pod has no name for its port.

    Version 0.1.0 gave none to the ports of applications, and a Service that asks for a name leaves such pods out.
    """
    application = spec.application
    if application is None or all(pod.names_its_port for pod in pods if pod.live):
        return wanted
    numbered = metadata.hashed(_sending_to(spec, application.port))
    return [numbered if child["kind"] == "Service" else child for child in wanted]


def _to_balancer(spec: ServingSpec) -> Manifest:
    made = _sending_to(spec, naming.PORT_NAME)
    return metadata.hashed({**made, "spec": {**made["spec"], "selector": metadata.balancer_pods(spec)}})


def _sending_to(spec: ServingSpec, target: str | int) -> Manifest:
    port = {"name": "http", "port": naming.PORT_HTTP, "targetPort": target, "protocol": "TCP", "appProtocol": "http"}
    body = {"type": "ClusterIP", "selector": metadata.own_pods(spec), "ports": [port]}
    return metadata.manifest(spec, "v1", "Service", {"spec": body})


def _target(spec: ServingSpec) -> str | int:
    """A name, so that pods of before and after an application came or went are each sent to where they listen."""
    application = spec.application
    if application is None or service_port_name.named(application.containers, application.port):
        return naming.PORT_NAME
    return application.port
