"""The balancer's objects: a Deployment of HAProxy, the Service by which it finds the pods, and what guards both. Pure.

The configuration is an annotation of the pod template, which the pods read as a file: a change of it replaces the pods
one by one, and the operator needs no right to ConfigMaps.
"""

from typing import Any, Final

from corefit_core import naming
from corefit_core.manifest import Manifest
from corefit_core.pods import container
from corefit_core.quantity import format_millicores
from corefit_core.recommender.routing import Balancer
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.balancer import config
from corefit_operator.children import metadata, pod
from corefit_operator.children.defaults import Defaults

REPLICAS: Final = 2
"""One goes on while the other is replaced, or dead."""
MILLICORES: Final = 25
"""Of each: a request takes about 0.1 ms of CPU. This is for 250 a second, and for more where the node has idle CPU."""
MEMORY: Final = "128Mi"
MOST_MILLICORES: Final = 1000
"""All that its one thread can use: the kernel never stops it in the midst of a request."""
TAKEN: Final = Balancer(millicores=REPLICAS * MILLICORES, most=MOST_MILLICORES, request_s=0.0001)
"""By all of them; a request of 600 KB takes 0.15 ms, one of 1 KB 0.04 (`bench/queue/added.py`)."""
_MARGIN_S: Final = 5
_USER: Final = 65532
_VOLUME: Final = "config"
_FOLDER: Final = "/etc/corefit"
_FILE: Final = "haproxy.cfg"


def desired(spec: ServingSpec, defaults: Defaults) -> tuple[Manifest, ...]:
    """All of them, in the order in which they are written, each with its hash."""
    around = (_pods_service(spec), _network_policy(spec), _disruption_budget(spec))
    return tuple(metadata.hashed(each) for each in (*around, _deployment(spec, defaults)))


def idle(spec: ServingSpec, defaults: Defaults) -> Manifest:
    """The Deployment without pods, for a service that goes without a balancer again."""
    made = _deployment(spec, defaults)
    return metadata.hashed({**made, "spec": {**made["spec"], "replicas": 0}})


def labels(spec: ServingSpec) -> dict[str, str]:
    """What the balancer's pods bear, and no pod of the service does."""
    return {
        "app.kubernetes.io/name": "corefit-balancer",
        "app.kubernetes.io/instance": spec.child_name,
        **metadata.balancer_pods(spec),
    }


def _pods_service(spec: ServingSpec) -> Manifest:
    port = {"name": "http", "port": naming.PORT_HTTP, "targetPort": naming.PORT_NAME, "protocol": "TCP"}
    body = {"type": "ClusterIP", "clusterIP": "None", "selector": metadata.own_pods(spec), "ports": [port]}
    return metadata.manifest(spec, "v1", "Service", {"spec": body}, name=naming.pods_service_name(spec.name))


def _network_policy(spec: ServingSpec) -> Manifest:
    """Clients reach the serving port; the kubelet's probes come from the node, which policies let through."""
    body = {
        "podSelector": {"matchLabels": metadata.balancer_pods(spec)},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": [{"port": naming.PORT_NAME, "protocol": "TCP"}, {"port": "health", "protocol": "TCP"}]}],
    }
    return _named(spec, "networking.k8s.io/v1", "NetworkPolicy", body)


def _disruption_budget(spec: ServingSpec) -> Manifest:
    return _named(spec, "policy/v1", "PodDisruptionBudget", pod.one_away_at_once(metadata.balancer_pods(spec)))


def _deployment(spec: ServingSpec, defaults: Defaults) -> Manifest:
    host = f"{naming.pods_service_name(spec.name)}.{spec.namespace}.svc.{defaults.cluster_domain}"
    template = {
        "metadata": {
            "labels": labels(spec),
            "annotations": {naming.ANNOTATION_BALANCER_CONFIG: config.text(spec, host)},
        },
        "spec": _pod(spec, defaults),
    }
    body = {
        "replicas": REPLICAS,
        "selector": {"matchLabels": metadata.balancer_pods(spec)},
        **pod.rollout(),
        "revisionHistoryLimit": 1,
        "template": template,
    }
    return _named(spec, "apps/v1", "Deployment", body)


def _pod(spec: ServingSpec, defaults: Defaults) -> dict[str, Any]:
    file = {"path": _FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{naming.ANNOTATION_BALANCER_CONFIG}']"}}
    around = pod.surroundings(spec, spec.child_name, config.hard_stop_s(spec) + _MARGIN_S)
    return {
        **around,
        "securityContext": {**around["securityContext"], "runAsUser": _USER, "runAsGroup": _USER},
        "topologySpreadConstraints": pod.spread_over_nodes(metadata.balancer_pods(spec)),
        "containers": [_container(defaults)],
        "volumes": [{"name": _VOLUME, "downwardAPI": {"items": [file]}}],
    }


def _container(defaults: Defaults) -> dict[str, Any]:
    requests = {"cpu": f"{MILLICORES}m", "memory": MEMORY}
    return {
        "name": "haproxy",
        "image": defaults.balancer_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["haproxy", "-db", "-f", f"{_FOLDER}/{_FILE}"],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [
            {"name": naming.PORT_NAME, "containerPort": naming.PORT_HTTP, "protocol": "TCP"},
            {"name": "health", "containerPort": config.HEALTH_PORT, "protocol": "TCP"},
        ],
        "resources": {"requests": requests, "limits": {**requests, "cpu": format_millicores(MOST_MILLICORES)}},
        "livenessProbe": _probe("/livez", period=10),
        "readinessProbe": _probe("/readyz", period=1),
        "volumeMounts": [{"name": _VOLUME, "mountPath": _FOLDER, "readOnly": True}],
        "securityContext": container.confined(),
    }


def _probe(path: str, *, period: int) -> dict[str, Any]:
    http = {"path": path, "port": config.HEALTH_PORT, "scheme": "HTTP"}
    return {"httpGet": http, "periodSeconds": period, "failureThreshold": 6, "timeoutSeconds": 2}


def _named(spec: ServingSpec, api_version: str, kind: str, body: dict[str, Any]) -> Manifest:
    return metadata.manifest(spec, api_version, kind, {"spec": body}, name=naming.balancer_name(spec.name))
