"""The environment from one end to the other: the runtime's settings are what the rendered Pod says."""

import json
from typing import Any

import pytest

from corefit_core import naming
from corefit_core.environment import PREFIX, Variable
from corefit_core.quantity import parse_bytes, parse_millicores
from corefit_core.spec.decode import decode
from corefit_operator.children.defaults import Defaults
from corefit_operator.children.registry import desired
from corefit_operator.workload.target import TargetWorkload
from corefit_runtime.settings import options, settings

TENSOR = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}
SPEC: dict[str, Any] = {
    "model": {
        "uri": "https://models/a.onnx",
        "sha256": "0" * 64,
        "name": "house-prices",
        "credentialsSecret": {"name": "models"},
    },
    "objective": {"latencyMilliseconds": 70, "percentile": 97},
    "resources": {"cpu": "500m", "memory": "512Mi", "maxCPU": "2", "growth": "Burst"},
    "calibration": {"inputs": [TENSOR]},
}
APPLICATION = {"containers": [{"name": "web", "image": "x"}], "port": 9000}


def _resource(**spec: Any) -> dict[str, Any]:
    meta = {"name": "digits", "namespace": "n", "uid": "u", "generation": 1}
    return {"metadata": meta, "spec": {**SPEC, **spec}}


def _runtime(**spec: Any) -> dict[str, Any]:
    """The runtime's container in a pod of the resource."""
    defaults, service = Defaults(image="i", allow_link_local=True), decode(_resource(**spec))
    template = (
        TargetWorkload(service, defaults).template
        if service.injected
        else desired(service, defaults)[-1]["spec"]["template"]
    )
    held = [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]
    [found] = [c for c in held if c["name"] in (naming.CONTAINER, naming.SIDECAR)]
    return dict(found)


def _environment(container: dict[str, Any]) -> dict[str, str]:
    """What the kubelet gives to the process."""
    requests, limits = (container["resources"][kind] for kind in ("requests", "limits"))
    known = {
        "limits.memory": str(parse_bytes(limits["memory"])),
        "requests.cpu": str(parse_millicores(requests["cpu"])),
        "metadata.uid": "pod-uid",
    }
    values = {}
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        path = source.get("resourceFieldRef", {}).get("resource") or source.get("fieldRef", {}).get("fieldPath")
        values[variable["name"]] = known[path] if path else variable["value"]
    return values


@pytest.mark.parametrize("spec", [{}, {"application": APPLICATION}, {"mode": "Sidecar"}])
def test_what_a_pod_says_are_the_settings_of_its_runtime(spec: dict[str, Any]) -> None:
    container = _runtime(**spec)
    given = settings.load([], _environment(container))
    beside = bool(spec)
    assert (given.model, given.model_sha256, given.strict_checksum) == ("https://models/a.onnx", "0" * 64, True)
    assert (given.name, given.credentials_dir, given.allow_link_local) == (
        "house-prices",
        "/mnt/model-credentials",
        True,
    )
    assert (given.objective_ms, given.percentile) == (70, 97)
    assert json.loads(given.calibration_inputs) == [TENSOR]
    assert (given.calibrate, given.warm_up) == (True, True)
    assert (given.memory, given.cpu_request_millicores, given.pod_uid) == (512 << 20, 500, "pod-uid")
    assert given.admin_port == container["readinessProbe"]["httpGet"]["port"]
    assert given.port == (naming.SIDECAR_PORT_HTTP if beside else naming.PORT_HTTP)
    assert given.socket == (naming.SOCKET if beside else "")
    assert given.model_dir == next(m["mountPath"] for m in container["volumeMounts"] if m["name"].endswith("models"))


def test_the_runtime_reads_every_variable_that_manifests_set() -> None:
    read = {option.env for option in options.OPTIONS}
    assert {variable.value for variable in Variable} - {Variable.URL} <= read
    for spec in ({}, {"application": APPLICATION}, {"mode": "Sidecar"}):
        assert {name for name in _environment(_runtime(**spec)) if name.startswith(PREFIX)} <= read


def test_switched_off_calibration_reaches_the_runtime() -> None:
    given = settings.load([], _environment(_runtime(calibration={"mode": "Off"})))
    assert (given.calibrate, given.warm_up) == (False, False)
