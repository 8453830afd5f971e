"""The runtime's container, its volumes and mounts, as manifests: in a pod of its own, and beside an application.

A function of the resource and the image alone: nothing that pods report or that the operator remembers may enter
it, or a restart of the operator would roll pods. May not do I/O.
"""

from typing import Any, Final

import msgspec

from corefit_core import naming
from corefit_core.environment import Variable
from corefit_core.manifest import Manifest
from corefit_core.naming import CREDENTIALS_MOUNT, SOURCE_MOUNT
from corefit_core.quantity import format_bytes, format_millicores
from corefit_core.spec.serving_spec import ServingSpec

DRAIN_S: Final = 5
"""Seconds that a pod goes on accepting after SIGTERM: the removal of its endpoint runs in parallel and takes up to
a few seconds to reach every kube-proxy."""
PROBE_S: Final = 1
"""The shortest period there is, and as long as the runtime holds the question of a readiness probe while it loads: one
follows the other then, and the kubelet hears at once that the pod is ready. A probe that needn't wait costs 0.3 ms."""
UNREADY_PROBES: Final = 6
"""Times 1 s: a process that is short of CPU for a moment goes on being sent to."""
STARTUP_PROBES: Final = 300
"""Times 1 s: for the imports and the admin port; 0.7 s of CPU take 7 s at 100m, a minute with CPU stolen."""
SIDECAR_STARTUP_PROBES: Final = 3600
"""Times 1 s: an hour for the model, since the application's containers start when this probe succeeds, and a model
that can't be fetched is tried again by the runtime itself; a restart would only hide what it reports."""
MODELS_MARGIN_BYTES: Final = 64 << 20
"""On top of two models of a pod's whole memory, one that is served and one that is fetched: profiles and traces."""
SMALL_VOLUME: Final = "64Mi"
"""The size limit of the other volumes: temporary files, and folders for a socket and for nothing."""
SIDECAR_USER: Final = 65532
"""The image's own user, said outright: a pod of others may set another one for all of its containers."""
TOKEN_MOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where the runtime's container is.

    Attributes:
        container: its name.
        prefix: of its volumes' names, so that they differ from an application's.
        port, admin_port: of the protocol, and of health and report.
        settings: the runtime's environment that follows from the placement.
    """

    container: str
    prefix: str
    port: int
    admin_port: int
    settings: dict[str, str]

    def volume(self, name: str) -> str:
        """The name of a volume here."""
        return f"{self.prefix}{name}"

    def declared_volume(self, name: str) -> str:
        """The name here of a volume that the resource declares.

        In a pod of others it gets a name that no volume of the pod has, so that a mount by the resource never reaches
        one of these: not the application's data, not its Secrets, not its token.
        """
        return naming.volume_name(name) if self.prefix else name


OWN_POD: Final = Placement(
    container=naming.CONTAINER,
    prefix="",
    port=naming.PORT_HTTP,
    admin_port=naming.PORT_ADMIN,
    settings={Variable.DRAIN_SECONDS.value: str(DRAIN_S), Variable.AGENT_PORT.value: str(naming.PORT_AGENT)},
)
AS_SIDECAR: Final = Placement(
    container=naming.SIDECAR,
    prefix="corefit-",
    port=naming.SIDECAR_PORT_HTTP,
    admin_port=naming.SIDECAR_PORT_ADMIN,
    settings={
        Variable.HOST.value: "127.0.0.1",
        # The operator and the kubelet reach it by the pod's address, of whichever family that is.
        Variable.ADMIN_HOST.value: "::",
        Variable.SOCKET.value: naming.SOCKET,
        # The kubelet ends a native sidecar after the application: nobody is left who could send anything.
        Variable.DRAIN_SECONDS.value: "0",
    },
)


def container(spec: ServingSpec, image: str, millicores: int, *, link_local: bool = False) -> Manifest:
    """The container of a pod that is the runtime's own.

    Args:
        spec: of the resource.
        image: of the runtime, where the resource names none.
        millicores: that it starts with.
        link_local: whether models may come from link-local and cloud metadata addresses.
    """
    return {
        **_common(spec, image, OWN_POD, millicores, link_local=link_local),
        "ports": [_port(naming.PORT_NAME, OWN_POD.port), _port("admin", OWN_POD.admin_port)],
        # The admin port is up within the first second, so that a model that can't be served is reported by a
        # process that stays alive; liveness therefore says nothing of the model, readiness everything.
        "startupProbe": _probe("/livez", OWN_POD, period=PROBE_S, failures=STARTUP_PROBES, timeout=5),
        "securityContext": confined(),
    }


def sidecar(spec: ServingSpec, image: str, *, link_local: bool = False) -> Manifest:
    """The native sidecar: an init container that stays, started and ready before the application."""
    return {
        **_common(spec, image, AS_SIDECAR, spec.millicores, link_local=link_local),
        "restartPolicy": "Always",
        "ports": [_port("corefit-admin", AS_SIDECAR.admin_port)],
        # What the kubelet waits for before it starts the application.
        "startupProbe": _probe("/readyz", AS_SIDECAR, period=PROBE_S, failures=SIDECAR_STARTUP_PROBES, timeout=5),
        # In full, whatever the pod says for its other containers.
        "securityContext": {
            **confined(),
            "runAsNonRoot": True,
            "runAsUser": SIDECAR_USER,
            "runAsGroup": SIDECAR_USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def confined() -> Manifest:
    """The security context of a container without privileges, and without a file system of its own to write."""
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def volumes(spec: ServingSpec, placement: Placement) -> list[Manifest]:
    """The volumes that the container needs, the resource's own among them."""
    sizes = {"models": format_bytes(2 * spec.memory_bytes + MODELS_MARGIN_BYTES)}
    empty: list[Manifest] = [
        {"name": placement.volume(v), "emptyDir": {"sizeLimit": sizes.get(v, SMALL_VOLUME)}} for v in _empty(placement)
    ]
    declared = [{**volume, "name": placement.declared_volume(volume["name"])} for volume in spec.template.volumes]
    return [*empty, *(volume for volume, _ in _sources(spec, placement)), *declared]


def _sources(spec: ServingSpec, placement: Placement) -> list[tuple[Manifest, str]]:
    """The volumes that come from elsewhere, each with its path in the container."""
    claim = {"claimName": spec.model.claim, "readOnly": True}
    # Optional, or a pod whose Secret is missing would wait for it without a word; so the runtime says what is missing.
    secret = {"secretName": spec.model.credentials_secret, "optional": True}
    sources: list[tuple[str, Manifest, str]] = [
        (spec.model.claim, {"name": placement.volume("model-source"), "persistentVolumeClaim": claim}, SOURCE_MOUNT),
        (
            spec.model.credentials_secret,
            {"name": placement.volume("model-credentials"), "secret": secret},
            CREDENTIALS_MOUNT,
        ),
    ]
    return [(volume, path) for used, volume, path in sources if used]


def _empty(placement: Placement) -> tuple[str, ...]:
    return ("models", "tmp") if placement is OWN_POD else ("models", "tmp", "socket", "no-token")


def _mounts(spec: ServingSpec, placement: Placement) -> list[Manifest]:
    of_sidecar: list[Manifest] = [
        {"name": placement.volume("socket"), "mountPath": naming.SOCKET_DIR},
        # Where something is mounted the API server puts no token: the runtime has no use for the application's.
        {"name": placement.volume("no-token"), "mountPath": TOKEN_MOUNT, "readOnly": True},
    ]
    return [
        {"name": placement.volume("models"), "mountPath": "/models"},
        {"name": placement.volume("tmp"), "mountPath": "/tmp"},  # noqa: S108 - a path in the pod, on a volume of its own
        *(of_sidecar if placement is AS_SIDECAR else []),
        *({"name": volume["name"], "mountPath": path, "readOnly": True} for volume, path in _sources(spec, placement)),
        *({**mount, "name": placement.declared_volume(mount["name"])} for mount in spec.template.volume_mounts),
    ]


def _common(spec: ServingSpec, image: str, placement: Placement, millicores: int, *, link_local: bool) -> Manifest:
    requests = {"cpu": format_millicores(millicores), "memory": format_bytes(spec.memory_bytes)}
    limits = {**requests, "cpu": format_millicores(spec.burst_millicores or millicores)}
    return {
        "name": placement.container,
        "image": spec.image or image,
        "imagePullPolicy": spec.image_pull_policy,
        "env": _environment(spec, placement, link_local=link_local),
        "resources": {"requests": requests, "limits": limits},
        # The default, stated: a resize must never restart the process.
        "resizePolicy": [{"resourceName": r, "restartPolicy": "NotRequired"} for r in ("cpu", "memory")],
        "livenessProbe": _probe("/livez", placement, period=10, failures=6, timeout=5),
        "readinessProbe": _probe("/readyz", placement, period=PROBE_S, failures=UNREADY_PROBES, timeout=2),
        "volumeMounts": _mounts(spec, placement),
    }


def _port(name: str, number: int) -> Manifest:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _probe(path: str, placement: Placement, *, period: int, failures: int, timeout: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": placement.admin_port, "scheme": "HTTP"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": timeout,
    }


def _environment(spec: ServingSpec, placement: Placement, *, link_local: bool) -> list[dict[str, Any]]:
    threads = str(spec.plan.threads_per_worker)
    settings = {
        Variable.MODEL.value: spec.model.uri,
        Variable.MODEL_SHA256.value: spec.model.sha256,
        Variable.STRICT_CHECKSUM.value: "true" if spec.model.sha256 else "",
        Variable.NAME.value: spec.model.name,
        Variable.PORT.value: str(placement.port),
        Variable.ADMIN_PORT.value: str(placement.admin_port),
        Variable.OBJECTIVE_MS.value: str(round(spec.objective.latency_s * 1000)),
        Variable.PERCENTILE.value: f"{spec.objective.percentile:g}",
        Variable.MODEL_DIR.value: "/models",
        Variable.CREDENTIALS_DIR.value: CREDENTIALS_MOUNT if spec.model.credentials_secret else "",
        Variable.ALLOW_LINK_LOCAL.value: "true" if link_local else "",
        Variable.CALIBRATE.value: "" if spec.model.calibrate else "false",
        Variable.WARM_UP.value: "" if spec.model.calibrate else "false",
        Variable.CALIBRATION_INPUTS.value: spec.model.calibration_inputs,
        # What a balancer gives the pod follows its CPU while that is more than it started with.
        Variable.AGENT_FULL_MILLICORES.value: str(spec.millicores) if placement is OWN_POD else "",
        **placement.settings,
        # A safety net for code in the pod that reads neither quota nor affinity; the engine sets its own.
        "ORT_INTRA_OP_NUM_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
    }
    own: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in settings.items() if value]
    limit = {"resource": "limits.memory", "divisor": "1"}
    own.append({"name": Variable.MEMORY.value, "valueFrom": {"resourceFieldRef": limit}})
    own.append({"name": Variable.POD_UID.value, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}})
    if spec.burst_millicores is not None:
        # From the pod, not from the resource: a LimitRange or an admission policy may have changed it.
        request = {"containerName": placement.container, "resource": "requests.cpu", "divisor": "1m"}
        own.append({"name": Variable.CPU_REQUEST_MILLICORES.value, "valueFrom": {"resourceFieldRef": request}})
    theirs = {variable.get("name"): variable for variable in spec.template.env}
    return [*(v for v in own if v["name"] not in theirs), *theirs.values()]
