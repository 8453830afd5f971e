"""The NetworkPolicy: clients reach the serving port, operator and monitoring the admin port. Pure."""

from typing import Any

from corefit_core import naming
from corefit_core.manifest import Manifest
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.children import metadata
from corefit_operator.children.defaults import Defaults


def manifest(spec: ServingSpec, defaults: Defaults) -> Manifest:
    """The NetworkPolicy."""
    serving = [{"port": naming.PORT_NAME, "protocol": "TCP"}] if spec.application is None else _all_but_admin()
    body = {
        "podSelector": {"matchLabels": metadata.own_pods(spec)},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": serving}, _to_admin(spec, defaults), *_to_agent(spec)],
    }
    return metadata.manifest(spec, "networking.k8s.io/v1", "NetworkPolicy", {"spec": body})


def _to_admin(spec: ServingSpec, defaults: Defaults) -> dict[str, Any]:
    # Those of an application that went are there until they are replaced, and report until then.
    names = ["admin"] if spec.application is None else []
    ports = [{"port": port, "protocol": "TCP"} for port in (*names, naming.SIDECAR_PORT_ADMIN)]
    return {"ports": ports, **({"from": _readers(defaults)} if defaults.operator_namespace else {})}


def _to_agent(spec: ServingSpec) -> list[dict[str, Any]]:
    """The pods of the balancer reach what says how much a pod can take; applications have none."""
    balancers = {"podSelector": {"matchLabels": metadata.balancer_pods(spec)}}
    agent = {"ports": [{"port": naming.PORT_AGENT, "protocol": "TCP"}], "from": [balancers]}
    return [agent] if spec.application is None else []


def _readers(defaults: Defaults) -> list[dict[str, Any]]:
    operator = {
        "namespaceSelector": _namespace(defaults.operator_namespace),
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "corefit-operator"}},
    }
    return [operator, *({"namespaceSelector": _namespace(name)} for name in defaults.monitoring_namespaces)]


def _all_but_admin() -> list[dict[str, Any]]:
    """The ports of an application are its own affair: only the runtime's admin port is closed to others."""
    admin = naming.SIDECAR_PORT_ADMIN
    return [
        {"port": 1, "endPort": admin - 1, "protocol": "TCP"},
        {"port": admin + 1, "endPort": 65535, "protocol": "TCP"},
        {"port": 1, "endPort": 65535, "protocol": "UDP"},
    ]


def _namespace(name: str) -> dict[str, Any]:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}
