"""The children that a resource asks for: pure functions from the decoded resource to manifests.

The pod template is a function of the resource and the default image alone: nothing that pods report or that the
operator remembers may enter it, or a restart of the operator would roll pods. No replicas either: the scale
subresource is their only writer.
"""

from typing import Any, Final

import msgspec

from corefit_core import naming
from corefit_core.manifest import Manifest, fingerprint
from corefit_core.platform_policy import PlatformPolicy
from corefit_core.pods import container, ports, sidecar
from corefit_core.service import Service

GRACE_MARGIN_S: Final = 30
"""Seconds on top of that for what is in flight; objectives are below 60 s and most below 1 s."""
PROGRESS_DEADLINE_S: Final = 600
"""The Deployment's own default, stated since a condition speaks of it."""
MIN_READY_S: Final = 2
"""Seconds that a pod is ready before it counts: by then every kube-proxy has its endpoint, so that a rollout takes
the old pod away, and we say Ready, only when requests do arrive; without it the first ones were refused."""


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator was configured with.

    Attributes:
        image: of the runtime, where the resource names none.
        operator_namespace: where the operator runs; empty when it runs outside the cluster.
        monitoring_namespaces: whose pods may reach the admin port too, for metrics.
        version: of the operator, for the stamp of what is put into pods of others.
        startup_millicores: CPU that pods start with where the resource doesn't say; 0 for what it grants anyway.
        allow_link_local: whether models may come from link-local and cloud metadata addresses.
        policy: what resources may name.
    """

    image: str
    version: str = ""
    operator_namespace: str = ""
    monitoring_namespaces: tuple[str, ...] = ()
    startup_millicores: int = 0
    allow_link_local: bool = False
    policy: PlatformPolicy = PlatformPolicy()


def desired(service: Service, defaults: Defaults) -> tuple[Manifest, ...]:
    """All children, in the order in which they are to be written, each with its hash; mode Sidecar has none."""
    children = () if service.injected else _serving(service, defaults)
    for child in children:
        child["metadata"]["annotations"][naming.ANNOTATION_APPLIED] = fingerprint(child)
    return children


def injection_template(service: Service, defaults: Defaults) -> Manifest:
    """What goes into pods of others, as a pod template."""
    return sidecar.stamped(
        sidecar.rendered(service, defaults.image, link_local=defaults.allow_link_local), defaults.version
    )


def _serving(service: Service, defaults: Defaults) -> tuple[Manifest, ...]:
    deployment = _manifest(service, "apps/v1", "Deployment", {"spec": _deployment(service, defaults)})
    # On the Deployment alone, whose pods roll when it changes: `upgrades` tells by it on whose account.
    deployment["metadata"]["annotations"][naming.ANNOTATION_SPEC_HASH] = service.spec_hash
    return (
        _manifest(service, "v1", "ServiceAccount", {"automountServiceAccountToken": False}),
        _manifest(service, "networking.k8s.io/v1", "NetworkPolicy", {"spec": _network_policy(service, defaults)}),
        _manifest(service, "v1", "Service", {"spec": _service(service)}),
        _manifest(service, "policy/v1", "PodDisruptionBudget", {"spec": _disruption_budget(service)}),
        deployment,
    )


def start_millicores(service: Service, defaults: Defaults) -> int:
    """CPU that the template gives to new pods: what the resource grants, or more while they start.

    Beside an application it grants what it says: how long that takes to start is the application's affair. A pod that
    may burst has its limit from the start.
    """
    if service.application is not None or service.injected or service.burst_millicores is not None:
        return service.millicores
    boost = service.startup_millicores
    return max(service.millicores, defaults.startup_millicores if boost is None else boost)


def selector_text(service: Service) -> str:
    """The label selector of the pods as text, for the scale subresource."""
    pods = naming.selector(service.name) if service.injected else _own_pods(service)
    return ",".join(f"{k}={v}" for k, v in pods.items())


def _own_pods(service: Service) -> dict[str, str]:
    """What selects the pods of the Deployment, and none of others'.

    Pods that got the runtime from a resource of mode Sidecar of the same name, which is gone, bear its label until they
    are restarted: requests must not be sent to them, nor their ports be closed. A Deployment's selector can't be
    changed, and its pods are told by their owner anyway.
    """
    return {**naming.selector(service.name), naming.LABEL_MANAGED_BY: naming.MANAGED_BY}


def _manifest(service: Service, api_version: str, kind: str, body: dict[str, Any]) -> Manifest:
    owner = {
        "apiVersion": f"{naming.GROUP}/{naming.VERSION}",
        "kind": naming.KIND,
        "name": service.name,
        "uid": service.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        "name": service.child_name,
        "namespace": service.namespace,
        "labels": _labels(service),
        "ownerReferences": [owner],
        "annotations": {naming.ANNOTATION_OWNER: service.uid},
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}


def _labels(service: Service) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "corefit-runtime",
        "app.kubernetes.io/instance": service.child_name,
        naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
        **naming.selector(service.name),
    }


def _service(service: Service) -> dict[str, Any]:
    return {"type": "ClusterIP", "selector": _own_pods(service), "ports": [service_port(_target(service))]}


def _target(service: Service) -> str | int:
    """A name, so that pods of before and after an application came or went are each sent to where they listen."""
    beside = service.application
    return naming.PORT_NAME if beside is None or ports.named(beside.containers, beside.port) else beside.port


def service_port(target: str | int) -> dict[str, Any]:
    """The port of the Service that sends to `target` in the pods."""
    return {"name": "http", "port": naming.PORT_HTTP, "targetPort": target, "protocol": "TCP", "appProtocol": "http"}


def _disruption_budget(service: Service) -> dict[str, Any]:
    return {
        "maxUnavailable": 1,
        "selector": {"matchLabels": _own_pods(service)},
        # A pod that can't become ready must not hold up the drain of its node.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }


def _network_policy(service: Service, defaults: Defaults) -> dict[str, Any]:
    beside = service.application is not None
    # Those of an application that went are there until they are replaced, and report until then.
    admin_ports = [naming.SIDECAR_PORT_ADMIN] if beside else ["admin", naming.SIDECAR_PORT_ADMIN]
    admin: dict[str, Any] = {"ports": [{"port": port, "protocol": "TCP"} for port in admin_ports]}
    if defaults.operator_namespace:
        admin["from"] = [
            {
                "namespaceSelector": _namespace(defaults.operator_namespace),
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "corefit-operator"}},
            },
            *({"namespaceSelector": _namespace(name)} for name in defaults.monitoring_namespaces),
        ]
    return {
        "podSelector": {"matchLabels": _own_pods(service)},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": _all_but_admin() if beside else [{"port": naming.PORT_NAME, "protocol": "TCP"}]}, admin],
    }


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


def _deployment(service: Service, defaults: Defaults) -> dict[str, Any]:
    return {
        "selector": {"matchLabels": naming.selector(service.name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "progressDeadlineSeconds": PROGRESS_DEADLINE_S,
        "minReadySeconds": MIN_READY_S,
        "revisionHistoryLimit": 3,
        "template": _pod_template(service, defaults),
    }


def _pod_template(service: Service, defaults: Defaults) -> Manifest:
    template, application = service.template, service.application
    metadata = {
        "labels": {**template.labels, **_labels(service)},
        "annotations": {
            **template.annotations,
            **naming.model_annotations(service.source_uri, service.model_revision),
        },
    }
    if application is None:
        grace = container.DRAIN_S + GRACE_MARGIN_S + round(service.objective.latency_s)
        held = {
            "containers": [
                container.container(
                    service,
                    defaults.image,
                    start_millicores(service, defaults),
                    link_local=defaults.allow_link_local,
                )
            ],
            "volumes": container.volumes(service, container.OWN_POD),
        }
        return {"metadata": metadata, "spec": {**_pod(service, grace), **held}}
    containers = ports.named(application.containers, application.port) or list(application.containers)
    held = {"containers": containers, "volumes": list(application.volumes)}
    pod = {**_pod(service, application.termination_grace_period_seconds), **held}
    return sidecar.injected(
        {"metadata": metadata, "spec": pod},
        sidecar.rendered(service, defaults.image, link_local=defaults.allow_link_local),
    )


def _pod(service: Service, grace: int) -> dict[str, Any]:
    """What pods of both kinds have around their containers."""
    template = service.template
    scheduling = {
        "nodeSelector": template.node_selector,
        "tolerations": list(template.tolerations),
        "affinity": template.affinity or None,
        "topologySpreadConstraints": list(template.topology_spread_constraints),
        "priorityClassName": template.priority_class_name or None,
        "imagePullSecrets": [{"name": secret.name} for secret in template.image_pull_secrets],
    }
    return {
        "serviceAccountName": template.service_account_name or service.child_name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        **{key: value for key, value in scheduling.items() if value},
    }
