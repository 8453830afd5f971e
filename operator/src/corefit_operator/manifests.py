"""The children that a resource asks for: pure functions from the decoded resource to manifests.

The pod template is a function of the resource and the default image alone: nothing that pods report or that the
operator remembers may enter it, or a restart of the operator would roll pods. No replicas either: the scale
subresource is their only writer.
"""

import hashlib
import json
from typing import Any, Final

import msgspec

from corefit_core import naming
from corefit_core.quantity import format_bytes, format_millicores
from corefit_core.service import SOURCE_MOUNT, Service

Manifest = dict[str, Any]

DRAIN_S: Final = 5
"""Seconds that a pod goes on accepting after SIGTERM: the removal of its endpoint runs in parallel and takes up to
a few seconds to reach every kube-proxy."""
GRACE_MARGIN_S: Final = 30
"""Seconds on top of that for what is in flight; objectives are below 60 s and most below 1 s."""
PROGRESS_DEADLINE_S: Final = 600
"""The Deployment's own default, stated since a condition speaks of it."""
MIN_READY_S: Final = 2
"""Seconds that a pod is ready before it counts: by then every kube-proxy has its endpoint, so that a rollout takes
the old pod away, and we say Ready, only when requests do arrive; without it the first ones were refused."""
STARTUP_PROBES: Final = 150
"""Times 2 s: 300 s for the imports and the admin port; 0.7 s of CPU take 7 s at 100m, a minute with CPU stolen."""
KINDS: Final = ("ServiceAccount", "NetworkPolicy", "Service", "PodDisruptionBudget", "Deployment")
"""In the order in which they are written: the pods' surroundings before the pods."""


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator was configured with.

    Attributes:
        image: of the runtime, where the resource names none.
        operator_namespace: where the operator runs; empty when it runs outside the cluster.
        monitoring_namespaces: whose pods may reach the admin port too, for metrics.
        startup_millicores: CPU that pods start with where the resource doesn't say; 0 for what it grants anyway.
    """

    image: str
    operator_namespace: str = ""
    monitoring_namespaces: tuple[str, ...] = ()
    startup_millicores: int = 0


def desired(service: Service, defaults: Defaults) -> tuple[Manifest, ...]:
    """All children, in the order in which they are to be written, each with the hash of itself."""
    children = (
        _manifest(service, "v1", "ServiceAccount", {"automountServiceAccountToken": False}),
        _manifest(service, "networking.k8s.io/v1", "NetworkPolicy", {"spec": _network_policy(service, defaults)}),
        _manifest(service, "v1", "Service", {"spec": _service(service)}),
        _manifest(service, "policy/v1", "PodDisruptionBudget", {"spec": _disruption_budget(service)}),
        _manifest(service, "apps/v1", "Deployment", {"spec": _deployment(service, defaults)}),
    )
    for child in children:
        child["metadata"]["annotations"] = {naming.ANNOTATION_APPLIED: fingerprint(child)}
    return children


def fingerprint(manifest: Manifest) -> str:
    """A hash of the manifest, the same for the same content in any order of keys."""
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def start_millicores(service: Service, defaults: Defaults) -> int:
    """CPU that the template gives to new pods: what the resource grants, or more while they start."""
    boost = service.startup_millicores
    return max(service.millicores, defaults.startup_millicores if boost is None else boost)


def selector_text(service: Service) -> str:
    """The label selector of the pods as text, for the scale subresource."""
    return ",".join(f"{k}={v}" for k, v in naming.selector(service.name).items())


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
    port = {"name": "http", "port": naming.PORT_HTTP, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}
    return {"type": "ClusterIP", "selector": naming.selector(service.name), "ports": [port]}


def _disruption_budget(service: Service) -> dict[str, Any]:
    return {
        "maxUnavailable": 1,
        "selector": {"matchLabels": naming.selector(service.name)},
        # A pod that can't become ready must not hold up the drain of its node.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }


def _network_policy(service: Service, defaults: Defaults) -> dict[str, Any]:
    admin: dict[str, Any] = {"ports": [{"port": "admin", "protocol": "TCP"}]}
    if defaults.operator_namespace:
        admin["from"] = [
            {
                "namespaceSelector": _namespace(defaults.operator_namespace),
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "corefit-operator"}},
            },
            *({"namespaceSelector": _namespace(name)} for name in defaults.monitoring_namespaces),
        ]
    return {
        "podSelector": {"matchLabels": naming.selector(service.name)},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": [{"port": "http", "protocol": "TCP"}]}, admin],
    }


def _namespace(name: str) -> dict[str, Any]:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}


def _deployment(service: Service, defaults: Defaults) -> dict[str, Any]:
    template = service.template
    return {
        "selector": {"matchLabels": naming.selector(service.name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "progressDeadlineSeconds": PROGRESS_DEADLINE_S,
        "minReadySeconds": MIN_READY_S,
        "revisionHistoryLimit": 3,
        "template": {
            "metadata": {
                "labels": {**template.labels, **_labels(service)},
                "annotations": dict(template.annotations),
            },
            "spec": _pod(service, defaults),
        },
    }


def _pod(service: Service, defaults: Defaults) -> dict[str, Any]:
    template = service.template
    grace = DRAIN_S + GRACE_MARGIN_S + round(service.objective.latency_s)
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
        "containers": [_container(service, defaults)],
        "volumes": _volumes(service),
        **{key: value for key, value in scheduling.items() if value},
    }


def _container(service: Service, defaults: Defaults) -> dict[str, Any]:
    cpu = format_millicores(start_millicores(service, defaults))
    resources = {"cpu": cpu, "memory": format_bytes(service.memory_bytes)}
    return {
        "name": naming.CONTAINER,
        "image": service.image or defaults.image,
        "imagePullPolicy": service.image_pull_policy,
        "env": _environment(service),
        "ports": [
            {"name": "http", "containerPort": naming.PORT_HTTP, "protocol": "TCP"},
            {"name": "admin", "containerPort": naming.PORT_ADMIN, "protocol": "TCP"},
        ],
        "resources": {"requests": resources, "limits": dict(resources)},
        # The default, stated: a resize must never restart the process.
        "resizePolicy": [
            {"resourceName": "cpu", "restartPolicy": "NotRequired"},
            {"resourceName": "memory", "restartPolicy": "NotRequired"},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # The admin port is up within the first second, so that a model that can't be served is reported by a
        # process that stays alive; liveness therefore says nothing of the model, readiness everything.
        "startupProbe": _probe("/livez", period=2, failures=STARTUP_PROBES, timeout=5),
        "livenessProbe": _probe("/livez", period=10, failures=6, timeout=5),
        "readinessProbe": _probe("/readyz", period=2, failures=3, timeout=2),
        "volumeMounts": _mounts(service),
    }


def _probe(path: str, *, period: int, failures: int, timeout: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "admin", "scheme": "HTTP"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": timeout,
    }


def _environment(service: Service) -> list[dict[str, Any]]:
    threads = str(service.plan.threads_per_worker)
    settings = {
        "COREFIT_MODEL": service.model_uri,
        "COREFIT_MODEL_SHA256": service.model_sha256,
        "COREFIT_NAME": service.model_name,
        "COREFIT_PORT": str(naming.PORT_HTTP),
        "COREFIT_ADMIN_PORT": str(naming.PORT_ADMIN),
        "COREFIT_OBJECTIVE_MS": str(round(service.objective.latency_s * 1000)),
        "COREFIT_PERCENTILE": f"{service.objective.percentile:g}",
        "COREFIT_MODEL_DIR": "/models",
        "COREFIT_DRAIN_SECONDS": str(DRAIN_S),
        # A safety net for code in the pod that reads neither quota nor affinity; the engine sets its own.
        "ORT_INTRA_OP_NUM_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
    }
    own: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in settings.items() if value]
    own.append({"name": "COREFIT_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}})
    theirs = {variable.get("name"): variable for variable in service.template.env}
    return [*(v for v in own if v["name"] not in theirs), *theirs.values()]


def _volumes(service: Service) -> list[dict[str, Any]]:
    claim = {"claimName": service.model_claim, "readOnly": True}
    source = [{"name": "model-source", "persistentVolumeClaim": claim}] if service.model_claim else []
    return [
        {"name": "models", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
        *source,
        *service.template.volumes,
    ]


def _mounts(service: Service) -> list[dict[str, Any]]:
    source = [{"name": "model-source", "mountPath": SOURCE_MOUNT, "readOnly": True}] if service.model_claim else []
    return [
        {"name": "models", "mountPath": "/models"},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a path in the pod, on a volume of its own
        *source,
        *service.template.volume_mounts,
    ]
