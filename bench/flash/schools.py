"""The ways to meet a flash crowd that are compared, as manifests. Values only.

All have the same model, objective and room: the same CPU to begin with, and on the node enough for six such pods. (c)
scales the same runtime's pods through the custom resource's scale subresource.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from crowds import Crowd

NAME: Final = "flash"
MOST: Final = "1500m"
REPLICAS: Final = 6
OBJECTIVE_MS: Final = 400
"""Four times what a run of 8 ms takes at most on a fraction of a core that has just used its quota up: 93 ms."""
IMAGE: Final = "corefit.local/runtime:0.1.0"
FAR: Final = "far"
NEIGHBOURS: Final = "1"
"""What the busy neighbour requests: half of the node, which is his whoever wants more."""
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


def schools(crowd: Crowd, example: Mapping[str, Any], unsized: Path, targets: tuple[int, ...]) -> list[School]:
    """All of them.

    Args:
        crowd: what pods begin with.
        example: the load model's resource.
        unsized: the program of the pods that nobody sized.
        targets: of the HPA, percent.
    """
    uri = f"http://{FAR}/load-model.onnx" if crowd.download_s else str(example["spec"]["model"]["uri"])
    example = {**example, "spec": {**example["spec"], "model": {"uri": uri}}}
    horizontal = _resource(crowd, example, {})
    vertical = _resource(crowd, example, {"maxCPU": MOST})
    burst = _resource(crowd, example, {"maxCPU": MOST, "growth": "Burst"})
    manual = _resource(crowd, example, {}, mode="Manual")
    custom = {"apiVersion": manual["apiVersion"], "kind": manual["kind"], "name": NAME}
    plain = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    return [
        School(key="a", title="Corefit, pods only", manifests=(horizontal,)),
        School(key="b", title="Corefit, CPU first", manifests=(vertical,)),
        *(
            School(
                key=f"c{target}", title=f"HPA {target} %, same pods", manifests=(manual, _hpa(crowd, custom, target))
            )
            for target in targets
        ),
        School(
            key="d", title="HPA 70 %, unsized pods", manifests=(*_unsized(crowd, unsized, uri), _hpa(crowd, plain, 70))
        ),
        School(key="e", title="limits above requests", manifests=(burst,)),
        School(key="b+", title="Corefit, CPU first, busy neighbour", manifests=(vertical,), neighbour=True),
        School(key="e+", title="limits above requests, busy neighbour", manifests=(burst,), neighbour=True),
    ]


def _resource(crowd: Crowd, example: Mapping[str, Any], growth: Mapping[str, str], mode: str = "Auto") -> Manifest:
    spec = {
        **example["spec"],
        "resources": {"memory": "192Mi", "cpu": crowd.cpu, **growth},
        "objective": {"percentile": 99, "latencyMilliseconds": OBJECTIVE_MS},
        "scaling": {
            "mode": mode,
            "minReplicas": crowd.pods,
            "maxReplicas": REPLICAS,
            "replicas": crowd.pods,
            "downStabilizationSeconds": 300,
        },
    }
    return {**example, "metadata": {"name": NAME}, "spec": spec}


def _hpa(crowd: Crowd, target: Mapping[str, str], percent: int) -> Manifest:
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}
    spec = {
        "scaleTargetRef": dict(target),
        "minReplicas": crowd.pods,
        "maxReplicas": REPLICAS,
        "metrics": [{"type": "Resource", "resource": metric}],
    }
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": NAME}, "spec": spec}


def _unsized(crowd: Crowd, program: Path, uri: str) -> tuple[Manifest, ...]:
    """A plain Deployment with the same request and limit, its program from a ConfigMap."""
    cpu = {"cpu": crowd.cpu, "memory": "256Mi"}
    container = {
        "name": "server",
        "image": IMAGE,
        "command": ["python3", "/program/server.py", "--model", uri],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 2, "timeoutSeconds": 2},
        "resources": {"requests": cpu, "limits": cpu},
        "volumeMounts": [{"name": "program", "mountPath": "/program"}],
        "securityContext": _CONFINED,
    }
    volumes = [{"name": "program", "configMap": {"name": "unsized"}}]
    labels = {"app": NAME}
    pod = {"securityContext": _POD, "automountServiceAccountToken": False, "containers": [container]}
    spec = {
        "replicas": crowd.pods,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {**pod, "volumes": volumes}},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "labels": labels},
        "spec": spec,
    }
    return _program("unsized", program), deployment, _service(NAME, labels, 8080)


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
        "resources": {"requests": {"cpu": NEIGHBOURS}},
        "securityContext": _CONFINED,
    }
    spec = {"securityContext": _POD, "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "neighbour"}, "spec": spec}


def far(program: Path, models: str, seconds: float) -> tuple[Manifest, ...]:
    """A model server that takes so many seconds for each download; `models` is the ConfigMap of the models."""
    container = {
        "name": "server",
        "image": IMAGE,
        "command": ["python3", "/program/server.py", "--directory", "/models", "--seconds", f"{seconds:g}"],
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "20m"}},
        "volumeMounts": [{"name": "program", "mountPath": "/program"}, {"name": "models", "mountPath": "/models"}],
        "securityContext": _CONFINED,
    }
    volumes = [{"name": "program", "configMap": {"name": FAR}}, {"name": "models", "configMap": {"name": models}}]
    labels = {"app": FAR}
    spec = {"securityContext": _POD, "containers": [container], "volumes": volumes}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": FAR, "labels": labels}, "spec": spec}
    return _program(FAR, program), pod, _service(FAR, labels, 80)


def _program(name: str, program: Path) -> Manifest:
    """What a container runs as /program/server.py."""
    data = {"server.py": program.read_text()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def _service(name: str, labels: Mapping[str, str], port: int) -> Manifest:
    ports = [{"name": "http", "port": port, "targetPort": "http"}]
    spec = {"selector": dict(labels), "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
