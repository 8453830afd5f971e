"""Every default and rule of the CRD on the real API server: what it accepts, and what it refuses with which words."""

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.cluster
URI = "http://models/digits.onnx"
NAME = "must be the name of a Kubernetes object"
PARENT: dict[str, Any] = {"parentRefs": [{"name": "public"}]}
REFUSED_MOUNTS = (
    "/opt/corefit/sitecustomize.py",
    "/models/",
    "/mnt",
    "/mnt/a/b",
    "/mnt/../models",
    "/mnt/model-credentials/token",
)

ACCEPTED = {
    "uri-http": {"model": {"uri": URI}},
    "uri-https": {"model": {"uri": "https://example.com/a/b.onnx"}},
    "uri-file": {"model": {"uri": "file:///mnt/models/a.onnx"}},
    "uri-pvc": {"model": {"uri": "pvc://claim/a/b.onnx"}},
    "sha256": {"model": {"uri": URI, "sha256": "0123456789abcdef" * 4}},
    "model-name": {"model": {"uri": URI, "name": "Digits_v1.2"}},
    "uri-at-in-path": {"model": {"uri": "https://example.com/a@b/c.onnx"}},
    "credentials": {"model": {"uri": URI, "credentialsSecret": {"name": "models"}}},
    "cpu-number": {"resources": {"cpu": 2}},
    "cpu-least": {"resources": {"cpu": "100m"}},
    "memory-least": {"resources": {"memory": "128Mi"}},
    "max-cpu": {"resources": {"cpu": "250m", "maxCPU": 2}},
    "max-cpu-equals-cpu": {"resources": {"cpu": "1", "maxCPU": "1000m"}},
    "burst": {"resources": {"cpu": "250m", "maxCPU": 2, "growth": "Burst"}},
    "resize": {"resources": {"cpu": "250m", "maxCPU": 2, "growth": "Resize"}, "startup": {"cpu": 2}},
    "startup-cpu": {"resources": {"cpu": "250m"}, "startup": {"cpu": "1500m"}},
    "startup-equals-cpu": {"startup": {"cpu": 1}},
    "percentile-edges": {"objective": {"percentile": 50, "latencyMilliseconds": 1}},
    "percentile-fraction": {"objective": {"percentile": 97.5}},
    "revision": {"model": {"uri": URI, "revision": "2026-11-28 / third try"}},
    "replicas-from-the-start": {"scaling": {"mode": "Auto", "replicas": 3}},
    "min-equals-max": {"scaling": {"minReplicas": 3, "maxReplicas": 3}},
    "manual-zero": {"scaling": {"mode": "Manual", "replicas": 0}},
    "calibration-off": {"calibration": {"mode": "Off"}},
    "calibration-inputs": {
        "calibration": {
            "inputs": [
                {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [0.5, 1, -2e3]},
                {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["a"]},
                {"name": "mask", "datatype": "BOOL", "shape": [1, 2], "data": [True, False]},
            ]
        }
    },
    "recommend": {"scaling": {"mode": "Recommend"}},
    "price": {"price": {"coreHour": "0.05", "gibHour": "1", "currency": "EUR"}},
    "image": {"image": "registry.example/corefit/runtime:1"},
    "env": {"template": {"env": [{"name": "TZ", "value": "UTC"}]}},
    "volume": {
        "template": {
            "volumes": [{"name": "data", "emptyDir": {}}],
            "volumeMounts": [{"name": "data", "mountPath": "/mnt/data.v1.0_a-b"}],
        }
    },
    "sidecar": {"mode": "Sidecar", "scaling": {"targetRef": {"kind": "StatefulSet", "name": "web"}}},
    "labels": {"template": {"labels": {"team": "a"}, "annotations": {"corefit.dev/x": "y"}}},
    "names": {
        "template": {"serviceAccountName": "a.b-c", "priorityClassName": "high", "imagePullSecrets": [{"name": "a.b"}]}
    },
    "target-name": {"mode": "Sidecar", "scaling": {"targetRef": {"kind": "Deployment", "name": "1-a.b-2"}}},
    "direct": {"routing": {"balancing": "Direct"}, "mode": "Sidecar"},
    "queue": {"routing": {"balancing": "Queue"}},
    "gateway": {
        "routing": {
            "gateway": {
                "parentRefs": [{"name": "a.b"}, {"name": "b", "namespace": "infra", "sectionName": "http", "port": 80}],
                "hostnames": ["models.example.com", "*.example.com", "models"],
                "timeouts": {"request": "1m30s", "backendRequest": "500ms"},
            }
        }
    },
    "gateway-alone": {"routing": {"balancing": "Queue", "gateway": {"parentRefs": [{"name": "public"}]}}},
    "gateway-no-timeout": {
        "routing": {"gateway": {**PARENT, "timeouts": {"request": "0s", "backendRequest": "10s"}}},
    },
    "auto": {"routing": {"balancing": "Auto"}},
    "auto-sidecar": {"routing": {"balancing": "Auto"}, "mode": "Sidecar"},
    "auto-application": {
        "routing": {"balancing": "Auto"},
        "application": {"containers": [{"name": "web", "image": "web"}], "port": 9000},
    },
    "application": {"application": {"containers": [{"name": "web", "image": "web"}], "port": 9000}},
}

REFUSED = {
    "uri-missing": ({"model": {}}, "spec.model.uri"),
    "uri-scheme": ({"model": {"uri": "ftp://host/a.onnx"}}, "uri must be http(s)://host/path"),
    "uri-no-path": ({"model": {"uri": "http://host"}}, "uri must be http(s)://host/path"),
    "uri-password": ({"model": {"uri": "http://me:secret@host/a.onnx"}}, "uri must not hold a user or password"),
    "credentials-file": (
        {"model": {"uri": "file:///a.onnx", "credentialsSecret": {"name": "models"}}},
        "credentialsSecret is for a uri that begins with http",
    ),
    "credentials-name": ({"model": {"uri": URI, "credentialsSecret": {}}}, "spec.model.credentialsSecret.name"),
    "sha256": ({"model": {"uri": URI, "sha256": "abc"}}, "sha256 must be 64 lower-case hexadecimal digits"),
    "model-name": ({"model": {"uri": URI, "name": "-x"}}, "name must be letters, digits"),
    "cpu-low": ({"resources": {"cpu": "50m"}}, "cpu must be at least 100m"),
    "cpu-not-quantity": ({"resources": {"cpu": "two"}}, "cpu must be a quantity"),
    "memory-low": ({"resources": {"memory": "64Mi"}}, "memory must be at least 128Mi"),
    "max-cpu-low": ({"resources": {"cpu": "500m", "maxCPU": "250m"}}, "maxCPU must not be below cpu"),
    "max-cpu-below-default": ({"resources": {"maxCPU": "250m"}}, "maxCPU must not be below cpu"),
    "max-cpu-not-quantity": ({"resources": {"maxCPU": "most"}}, "maxCPU must be a quantity"),
    "burst-without-max": ({"resources": {"cpu": "250m", "growth": "Burst"}}, "growth Burst needs maxCPU"),
    "burst-with-boost": (
        {"resources": {"maxCPU": 2, "growth": "Burst"}, "startup": {"cpu": 2}},
        "startup.cpu needs resources.growth Resize",
    ),
    "growth": ({"resources": {"growth": "Never"}}, "spec.resources.growth"),
    "cpu-union": ({"resources": {"cpu": {"min": "250m", "max": "2"}}}, "spec.resources.cpu"),
    "startup-low": ({"startup": {"cpu": "250m"}}, "startup.cpu must not be below resources.cpu"),
    "startup-not-quantity": ({"startup": {"cpu": "fast"}}, "startup.cpu must be a quantity"),
    "memory-not-quantity": ({"resources": {"memory": "much"}}, "memory must be a quantity"),
    "percentile-low": ({"objective": {"percentile": 49}}, "spec.objective.percentile"),
    "percentile-high": (
        {"objective": {"percentile": 99.9}},
        "spec.objective.percentile in body should be less than or equal to 99",
    ),
    "latency-zero": ({"objective": {"latencyMilliseconds": 0}}, "spec.objective.latencyMilliseconds"),
    "revision-empty": ({"model": {"uri": URI, "revision": ""}}, "spec.model.revision"),
    "revision-long": ({"model": {"uri": URI, "revision": "x" * 257}}, "spec.model.revision"),
    "revision-number": ({"model": {"uri": URI, "revision": 2}}, "spec.model.revision"),
    "min-above-max": ({"scaling": {"minReplicas": 5, "maxReplicas": 2}}, "minReplicas must not be above maxReplicas"),
    "min-zero": ({"scaling": {"minReplicas": 0}}, "spec.scaling.minReplicas"),
    "balancing": ({"routing": {"balancing": "Random"}}, "spec.routing.balancing"),
    "balancing-lower": ({"routing": {"balancing": "auto"}}, "spec.routing.balancing"),
    "gateway-sidecar": (
        {"mode": "Sidecar", "routing": {"gateway": PARENT}},
        "routing.gateway is for mode Service only",
    ),
    "gateway-without-parents": ({"routing": {"gateway": {}}}, "spec.routing.gateway.parentRefs"),
    "gateway-no-parents": ({"routing": {"gateway": {"parentRefs": []}}}, "spec.routing.gateway.parentRefs"),
    "gateway-parent-name": ({"routing": {"gateway": {"parentRefs": [{"name": "A_b"}]}}}, NAME),
    "gateway-listener": ({"routing": {"gateway": {"parentRefs": [{"name": "a", "sectionName": "-"}]}}}, NAME),
    "gateway-namespace": (
        {"routing": {"gateway": {"parentRefs": [{"name": "a", "namespace": "a.b"}]}}},
        "must be the name of a namespace",
    ),
    "gateway-port": (
        {"routing": {"gateway": {"parentRefs": [{"name": "a", "port": 0}]}}},
        "spec.routing.gateway.parentRefs[0].port",
    ),
    **{
        f"gateway-host-{number}": (
            {"routing": {"gateway": {**PARENT, "hostnames": [host]}}},
            "must be a DNS name such as models.example.com",
        )
        for number, host in enumerate(("10.0.0.1", "A.example.com", "a.*.com", "a_b.example.com", "a..b"))
    },
    "gateway-timeout": (
        {"routing": {"gateway": {**PARENT, "timeouts": {"request": "1.5s"}}}},
        "must be a duration of h, m, s and ms",
    ),
    "gateway-timeouts": (
        {"routing": {"gateway": {**PARENT, "timeouts": {"request": "1s", "backendRequest": "1500ms"}}}},
        "backendRequest must not be longer than request",
    ),
    "queue-sidecar": ({"mode": "Sidecar", "routing": {"balancing": "Queue"}}, "balancing Queue is for pods of the"),
    "queue-application": (
        {"application": {"containers": [{"name": "web", "image": "web"}]}, "routing": {"balancing": "Queue"}},
        "balancing Queue is for pods of the",
    ),
    "mode": ({"scaling": {"mode": "Magic"}}, "spec.scaling.mode"),
    "replicas-negative": ({"scaling": {"replicas": -1}}, "spec.scaling.replicas"),
    "window-negative": ({"scaling": {"downStabilizationSeconds": -1}}, "spec.scaling.downStabilizationSeconds"),
    "calibration-mode": ({"calibration": {"mode": "Sometimes"}}, "spec.calibration.mode"),
    "calibration-datatype": (
        {"calibration": {"inputs": [{"name": "x", "datatype": "float", "shape": [1], "data": [1]}]}},
        "spec.calibration.inputs[0].datatype",
    ),
    "calibration-shape": (
        {"calibration": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1], "data": [1]}]}},
        "spec.calibration.inputs[0].shape[0]",
    ),
    "calibration-size": (
        {"calibration": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4097], "data": [0] * 4097}]}},
        "spec.calibration.inputs[0].data",
    ),
    "calibration-data": (
        {"calibration": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]}},
        "spec.calibration.inputs[0].data",
    ),
    "price": ({"price": {"coreHour": "cheap"}}, "a price must be a decimal number"),
    "currency": ({"price": {"currency": "usd"}}, "currency must be three capital letters"),
    "image": ({"image": "a b"}, "image must not be empty or contain spaces"),
    "env-reserved": ({"template": {"env": [{"name": "COREFIT_PORT", "value": "1"}]}}, "are set by Corefit"),
    "volume-reserved": ({"template": {"volumes": [{"name": "tmp", "emptyDir": {}}]}}, "are Corefit's own"),
    **{
        f"mount-{path}": (
            {"template": {"volumeMounts": [{"name": "data", "mountPath": path}]}},
            "mountPath must be /mnt/NAME",
        )
        for path in REFUSED_MOUNTS
    },
    "application-empty": ({"application": {"containers": []}}, "containers must hold at least one container"),
    "application-name": (
        {"application": {"containers": [{"name": "corefit-runtime", "image": "web"}]}},
        "corefit-runtime is Corefit's own",
    ),
    "application-volume": (
        {"application": {"containers": [{"name": "web"}], "volumes": [{"name": "corefit-tmp", "emptyDir": {}}]}},
        "are Corefit's own",
    ),
    "application-port": (
        {"application": {"containers": [{"name": "web"}], "port": 18081}},
        "are the runtime's own",
    ),
    "application-port-control": (
        {"application": {"containers": [{"name": "web"}], "port": 18082}},
        "are the runtime's own",
    ),
    "application-port-high": (
        {"application": {"containers": [{"name": "web"}], "port": 65536}},
        "spec.application.port",
    ),
    "application-grace": (
        {"application": {"containers": [{"name": "web"}], "terminationGracePeriodSeconds": 0}},
        "spec.application.terminationGracePeriodSeconds",
    ),
    "mode-service": ({"mode": "Both"}, "spec.mode"),
    "sidecar-application": (
        {"mode": "Sidecar", "application": {"containers": [{"name": "web"}]}},
        "application is for mode Service only",
    ),
    "target-of-service": (
        {"scaling": {"targetRef": {"kind": "Deployment", "name": "web"}}},
        "scaling.targetRef is for mode Sidecar only",
    ),
    "target-kind": (
        {"mode": "Sidecar", "scaling": {"targetRef": {"kind": "Job", "name": "web"}}},
        "spec.scaling.targetRef.kind",
    ),
    "target-name-path": (
        {"mode": "Sidecar", "scaling": {"targetRef": {"kind": "Deployment", "name": "../../team-b/deployments/x"}}},
        NAME,
    ),
    "target-name-query": (
        {"mode": "Sidecar", "scaling": {"targetRef": {"kind": "Deployment", "name": "a?watch=true"}}},
        NAME,
    ),
    "target-name-long": (
        {"mode": "Sidecar", "scaling": {"targetRef": {"kind": "Deployment", "name": "a" * 254}}},
        "spec.scaling.targetRef.name",
    ),
    "credentials-name-path": ({"model": {"uri": URI, "credentialsSecret": {"name": "a/b"}}}, NAME),
    "account-name": ({"template": {"serviceAccountName": "A"}}, NAME),
    "account-name-empty": ({"template": {"serviceAccountName": ""}}, "spec.template.serviceAccountName"),
    "priority-name": ({"template": {"priorityClassName": "a..b"}}, NAME),
    "pull-secret-name": ({"template": {"imagePullSecrets": [{"name": "a%2fb"}]}}, NAME),
    "labels-reserved": (
        {"template": {"labels": {"serving.corefit.dev/inject": "b"}}},
        "labels that begin with serving.corefit.dev/ are Corefit's own",
    ),
    "annotations-reserved": (
        {"template": {"annotations": {"serving.corefit.dev/admin-port": "1"}}},
        "annotations that begin with serving.corefit.dev/ are Corefit's own",
    ),
    "unknown-field": ({"replicas": 3}, 'unknown field "spec.replicas"'),
}


def _resource(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "serving.corefit.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "a"},
        "spec": {"model": {"uri": URI}, **spec},
    }


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepts(api: Any, case: str) -> None:
    api.apply(_resource(ACCEPTED[case]), dry_run=True)


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_and_names_the_field(api: Any, case: str) -> None:
    spec, words = REFUSED[case]
    said = api.apply(_resource(spec), dry_run=True, check=False)
    assert words in said
    assert "created" not in said


def test_the_mode_of_a_resource_stays(api: Any) -> None:
    api.apply(_resource({}))
    assert "mode can't be changed" in api.apply(_resource({"mode": "Sidecar"}), check=False)


@pytest.mark.parametrize(
    ("full", "empty"),
    [
        ({"template": {"labels": {"a": "b"}}}, {"template": {"labels": {}}}),
        ({"template": {"annotations": {"a": "b"}}}, {"template": {"annotations": {}}}),
        ({"template": {"nodeSelector": {"a": "b"}}}, {"template": {"nodeSelector": {}}}),
        ({"template": {"affinity": {"nodeAffinity": {}}}}, {"template": {"affinity": {}}}),
        ({"template": {"tolerations": [{"key": "a"}]}}, {"template": {"tolerations": []}}),
        ({"template": {"env": [{"name": "A"}]}}, {"template": {"env": []}}),
        ({"template": {"env": [{"name": "A"}]}}, {"template": {}}),
        ({"startup": {"cpu": "2"}}, {"startup": {}}),
        ({"price": {"currency": "EUR"}}, {"price": {}}),
        ({"calibration": {"mode": "Off"}}, {"calibration": {}}),
        ({"routing": {"gateway": PARENT}}, {"routing": {}}),
        (
            {"routing": {"gateway": {**PARENT, "timeouts": {"request": "1s"}}}},
            {"routing": {"gateway": {**PARENT, "timeouts": {}}}},
        ),
    ],
    ids=str,
)
def test_what_was_there_can_be_emptied_by_server_side_apply(
    api: Any, full: dict[str, Any], empty: dict[str, Any]
) -> None:
    """Which then leaves a null, of maps and of optional parts, that the API server refuses where it may not be one."""
    for spec in (full, empty, full):
        api.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(_resource(spec)))


def test_defaults_are_filled_in(api: Any, service: Callable[..., dict[str, Any]]) -> None:
    api.apply({**service(), "spec": {"model": {"uri": URI}}})
    spec = api.get("inferenceservice", "digits")["spec"]
    assert spec["resources"] == {"cpu": "1", "growth": "Resize", "memory": "512Mi"}
    assert spec["objective"] == {"percentile": 99, "latencyMilliseconds": 100}
    assert spec["scaling"]["mode"] == "Auto"
    assert (spec["scaling"]["minReplicas"], spec["scaling"]["maxReplicas"]) == (1, 10)


def test_names_and_columns_that_people_use(api: Any, service: Callable[..., dict[str, Any]]) -> None:
    api.apply(service())
    assert "digits" in api.kubectl("get", "cfis")
    assert "digits" in api.kubectl("get", "corefit")
    header = api.kubectl("get", "cfis").splitlines()[0].upper()
    for column in ("READY", "STATUS", "CPU", "LATENCY", "COST/H", "SCALING", "AGE"):
        assert column in header
    wide = api.kubectl("get", "cfis", "--output", "wide").splitlines()[0].upper()
    for column in ("MODE", "WORKERS", "MODEL", "REVISION", "WHY"):
        assert column in wide


def test_kubectl_scale_goes_through_the_scale_subresource(api: Any, service: Callable[..., dict[str, Any]]) -> None:
    api.apply(service())
    api.kubectl("scale", "inferenceservice/digits", "--replicas=3")
    assert api.get("inferenceservice", "digits")["spec"]["scaling"]["replicas"] == 3


@pytest.mark.parametrize("mode", ["Auto", "Recommend"])
def test_replicas_that_the_mode_would_ignore_are_refused_and_never_kept_for_later(
    api: Any, service: Callable[..., dict[str, Any]], mode: str
) -> None:
    """`kubectl scale` was stored, ignored, and took effect when the mode changed, weeks later."""
    api.apply(service(scaling={"mode": mode, "minReplicas": 2}))
    said = api.kubectl("scale", "cfis/digits", "--replicas=5", check=False)
    assert "replicas and kubectl scale are for mode Manual" in said
    assert api.get("cfis", "digits")["spec"]["scaling"]["replicas"] == 1
    patch = ("patch", "cfis", "digits", "--type=merge", "-p")
    api.kubectl(*patch, '{"spec":{"scaling":{"mode":"Manual","replicas":3}}}')
    # Whoever goes back need not know of it, whether the number is left, taken out or put at its default.
    api.kubectl(*patch, f'{{"spec":{{"scaling":{{"mode":"{mode}"}}}}}}')
    api.kubectl(*patch, '{"spec":{"scaling":{"replicas":null}}}')
    assert api.get("cfis", "digits")["spec"]["scaling"]["replicas"] == 1


@pytest.mark.parametrize("mode", ["Auto", "Recommend"])
def test_a_change_to_manual_that_leaves_the_number_ends_no_pods(
    api: Any, service: Callable[..., dict[str, Any]], mode: str
) -> None:
    """Its default of 1 took effect with the mode, and ended all pods in service but one."""
    api.apply(service(scaling={"mode": mode}))
    patch = ("patch", "cfis", "digits", "--type=merge", "-p")
    manual = '{"spec":{"scaling":{"mode":"Manual"}}}'
    api.kubectl(*patch, '{"status":{"desiredReplicas":3}}', "--subresource=status")
    said = api.kubectl(*patch, manual, check=False)
    assert "spec.scaling.replicas" in said
    assert "mode Manual with the number of replicas left as it is would end pods" in said
    api.kubectl(*patch, '{"spec":{"scaling":{"mode":"Manual","replicas":2}}}')
    api.kubectl("scale", "cfis/digits", "--replicas=1")
    api.kubectl(*patch, '{"status":{"desiredReplicas":1}}', "--subresource=status")
    api.kubectl(*patch, f'{{"spec":{{"scaling":{{"mode":"{mode}"}}}}}}')
    api.kubectl(*patch, manual)
