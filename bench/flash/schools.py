"""The ways to meet a flash crowd that are compared, as manifests. Values only.

All have the same model, objective and room: pods begin with a quarter of a core, and what the node has left is enough
for six of them. (c) scales the same runtime's pods through the custom resource's scale subresource.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

NAME: Final = "flash"
LEAST: Final = "250m"
MOST: Final = "1500m"
REPLICAS: Final = 6
SETTLED: Final = 1
"""Replicas at the base for those that others scale: a third of a pod is used, which any of the targets allows."""
OBJECTIVE_MS: Final = 400
"""Four times what a run of 8 ms takes at most on a quarter of a core that has just used its quota up: 83 ms."""
IMAGE: Final = "corefit/runtime:0.1.0"
Manifest = dict[str, Any]


class School(msgspec.Struct, frozen=True, kw_only=True):
    """One contender.

    Attributes:
        manifests: to apply; the Service is called `NAME`.
        neighbour: whether a pod beside it uses all CPU that it is given.
    """

    key: str
    title: str
    manifests: tuple[Manifest, ...]
    neighbour: bool = False


def schools(example: Mapping[str, Any], unsized: Path, models: str, targets: tuple[int, ...]) -> list[School]:
    """All of them.

    Args:
        example: the load model's resource.
        unsized: the program of the pods that nobody sized.
        models: the ConfigMap that the model is in.
        targets: of the HPA, percent.
    """
    horizontal = _resource(example, {"cpu": LEAST})
    vertical = _resource(example, {"cpu": LEAST, "maxCPU": MOST})
    burst = _resource(example, {"cpu": LEAST, "maxCPU": MOST, "growth": "Burst"})
    manual = _resource(example, {"cpu": LEAST}, mode="Manual")
    custom = {"apiVersion": manual["apiVersion"], "kind": manual["kind"], "name": NAME}
    plain = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    return [
        School(key="a", title="Corefit, pods only", manifests=(horizontal,)),
        School(key="b", title="Corefit, CPU first", manifests=(vertical,)),
        *(
            School(key=f"c{target}", title=f"HPA {target} %, same pods", manifests=(manual, _hpa(custom, target)))
            for target in targets
        ),
        School(key="d", title="HPA 70 %, unsized pods", manifests=(*_unsized(unsized, models), _hpa(plain, 70))),
        School(key="e", title="limits above requests", manifests=(burst,)),
        School(key="b+", title="Corefit, CPU first, busy neighbour", manifests=(vertical,), neighbour=True),
        School(key="e+", title="limits above requests, busy neighbour", manifests=(burst,), neighbour=True),
    ]


def _resource(example: Mapping[str, Any], resources: Mapping[str, str], mode: str = "Auto") -> Manifest:
    spec = {
        **example["spec"],
        "resources": {"memory": "192Mi", **resources},
        "objective": {"percentile": 99, "latencyMilliseconds": OBJECTIVE_MS},
        "scaling": {
            "mode": mode,
            "minReplicas": 1,
            "maxReplicas": REPLICAS,
            "replicas": SETTLED,
            "downStabilizationSeconds": 300,
        },
    }
    return {**example, "metadata": {"name": NAME}, "spec": spec}


def _hpa(target: Mapping[str, str], percent: int) -> Manifest:
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}
    spec = {
        "scaleTargetRef": dict(target),
        "minReplicas": 1,
        "maxReplicas": REPLICAS,
        "metrics": [{"type": "Resource", "resource": metric}],
    }
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": NAME}, "spec": spec}


def _unsized(program: Path, models: str) -> tuple[Manifest, ...]:
    """A plain Deployment with the same request and limit, its program from a ConfigMap."""
    cpu = {"cpu": LEAST, "memory": "256Mi"}
    container = {
        "name": "server",
        "image": IMAGE,
        "command": ["python3", "/program/server.py", "--model", "/models/load-model.onnx"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 2, "timeoutSeconds": 2},
        "resources": {"requests": cpu, "limits": cpu},
        "volumeMounts": [{"name": "program", "mountPath": "/program"}, {"name": "models", "mountPath": "/models"}],
        "securityContext": _CONFINED,
    }
    volumes = [
        {"name": "program", "configMap": {"name": "unsized"}},
        {"name": "models", "configMap": {"name": models}},
    ]
    labels = {"app": NAME}
    pod = {"securityContext": _POD, "automountServiceAccountToken": False, "containers": [container]}
    spec = {
        "replicas": SETTLED,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {**pod, "volumes": volumes}},
    }
    ports = [{"name": "http", "port": 8080, "targetPort": "http"}]
    return (
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "unsized"},
            "data": {"server.py": program.read_text()},
        },
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME, "labels": labels}, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": labels, "ports": ports},
        },
    )


_POD: Final = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_CONFINED: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def neighbour() -> Manifest:
    """A pod that uses all CPU that it is given; two processes for the node's two CPUs."""
    container = {
        "name": "busy",
        "image": IMAGE,
        "command": ["sh", "-c", "while :; do :; done & while :; do :; done"],
        "resources": {"requests": {"cpu": "400m"}},
        "securityContext": _CONFINED,
    }
    spec = {"securityContext": _POD, "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "neighbour"}, "spec": spec}
