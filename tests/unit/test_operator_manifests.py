"""The children: what they hold, and that nothing but the resource decides it."""

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core import naming, platform_policy
from corefit_core.errors import InvalidInput
from corefit_core.manifest import fingerprint
from corefit_core.platform_policy import PlatformPolicy, PolicyViolation
from corefit_core.spec.decode import decode
from corefit_operator.children.defaults import Defaults
from corefit_operator.children.registry import desired
from corefit_operator.kube.paths import CHILD_KINDS
from corefit_operator.workload import kinds
from corefit_operator.workload.target import TargetWorkload
from corefit_runtime.admin.endpoints import HOLD_S

DEFAULTS = Defaults(image="corefit/runtime:test", operator_namespace="corefit-system")


def _children(name: str = "digits", **spec: Any) -> dict[str, dict[str, Any]]:
    resource = {
        "metadata": {"name": name, "namespace": "n", "uid": "u-1", "generation": 1},
        "spec": {"model": {"uri": "http://models/a.onnx"}, **spec},
    }
    return {child["kind"]: child for child in kinds.of(decode(resource), DEFAULTS).children}


def _pod(**spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = _children(**spec)["Deployment"]["spec"]["template"]["spec"]
    return found


def test_all_children_in_order_owned_labelled_and_hashed() -> None:
    children = _children()
    assert tuple(children) == CHILD_KINDS
    for child in children.values():
        meta = child["metadata"]
        assert (meta["name"], meta["namespace"]) == ("digits", "n")
        assert meta["ownerReferences"][0]["uid"] == "u-1"
        assert meta["labels"][naming.LABEL_SERVICE] == "digits"
        assert meta["annotations"][naming.ANNOTATION_APPLIED]


def test_the_hash_follows_the_content_and_not_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    one, other = (_children(resources={"cpu": cpu})["Deployment"]["metadata"]["annotations"] for cpu in ("1", "2"))
    assert one != other


def test_the_deployment_leaves_replicas_to_the_scale_subresource_whatever_the_scaling() -> None:
    small, large = _children(), _children(scaling={"minReplicas": 5, "mode": "Manual", "replicas": 7})
    assert "replicas" not in small["Deployment"]["spec"]
    assert small["Deployment"] == large["Deployment"]


def test_pods_satisfy_the_restricted_standard() -> None:
    pod = _pod()
    container = pod["containers"][0]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_probe_waits_longer_than_a_loading_runtime_holds_the_answer_and_the_next_one_is_due_then() -> None:
    ready = _pod()["containers"][0]["readinessProbe"]
    assert ready["periodSeconds"] <= HOLD_S < ready["timeoutSeconds"]


def test_requests_equal_limits() -> None:
    resources = _pod(resources={"cpu": "1500m", "memory": "1Gi"})["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"] == {"cpu": "1500m", "memory": "1Gi"}


def test_the_template_carries_what_pods_start_with_and_not_what_they_may_grow_to() -> None:
    plain, grows = _pod(resources={"cpu": "250m"}), _pod(resources={"cpu": "250m", "maxCPU": "2"})
    assert plain == grows
    assert {p["restartPolicy"] for p in plain["containers"][0]["resizePolicy"]} == {"NotRequired"}


def test_a_pod_that_may_burst_requests_the_least_is_limited_to_the_most_and_is_told_what_it_requests() -> None:
    pod = _pod(resources={"cpu": "250m", "maxCPU": "2", "growth": "Burst"})
    container = pod["containers"][0]
    assert (container["resources"]["requests"]["cpu"], container["resources"]["limits"]["cpu"]) == ("250m", "2")
    told = {v["name"]: v for v in container["env"]}["COREFIT_CPU_REQUEST_MILLICORES"]
    assert told["valueFrom"]["resourceFieldRef"] == {
        "containerName": "runtime",
        "resource": "requests.cpu",
        "divisor": "1m",
    }
    assert "COREFIT_CPU_REQUEST_MILLICORES" not in {v["name"] for v in _pod()["containers"][0]["env"]}


@pytest.mark.parametrize(
    ("startup", "default", "cpu"),
    [(None, 0, "500m"), ("1500m", 0, "1500m"), (None, 2000, "2"), (None, 250, "500m"), ("500m", 2000, "500m")],
)
def test_a_boost_is_the_resources_word_or_the_operators_default(startup: str | None, default: int, cpu: str) -> None:
    spec: dict[str, Any] = {"model": {"uri": "http://models/a.onnx"}, "resources": {"cpu": "500m"}}
    spec |= {"startup": {"cpu": startup}} if startup else {}
    service = decode({"metadata": {"name": "a", "namespace": "n", "uid": "u"}, "spec": spec})
    deployment = desired(service, Defaults(image="i", startup_millicores=default))[-1]
    resources = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources["limits"]["cpu"] == resources["requests"]["cpu"] == cpu


@pytest.mark.parametrize("application", [None, {"containers": [{"name": "web", "image": "w"}]}])
def test_what_selects_pods_finds_those_of_the_deployment_and_none_of_others(application: Any) -> None:
    """Pods of a deleted namesake of mode Sidecar had requests sent to them, and their ports closed."""
    children = _children(**({"application": application} if application else {}))
    selectors = {
        "Service": children["Service"]["spec"]["selector"],
        "PodDisruptionBudget": children["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": children["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    }
    own = children["Deployment"]["spec"]["template"]["metadata"]["labels"]
    others = {"app.kubernetes.io/managed-by": "Helm", **naming.selector("digits")}
    for kind, selector in selectors.items():
        assert selector.items() <= own.items(), kind
        assert not selector.items() <= others.items(), kind


def test_a_rollout_never_takes_a_pod_away_first() -> None:
    rolling = _children()["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": 1}


def test_the_environment_carries_the_resource_and_what_is_empty_is_left_out() -> None:
    environment = {v["name"]: v.get("value") for v in _pod()["containers"][0]["env"]}
    assert environment["COREFIT_MODEL"] == "http://models/a.onnx"
    assert environment["COREFIT_OBJECTIVE_MS"] == "100"
    assert not {"COREFIT_MODEL_SHA256", "COREFIT_STRICT_CHECKSUM"} & environment.keys()
    assert "COREFIT_POD_UID" in environment
    assert not {"COREFIT_CALIBRATE", "COREFIT_CALIBRATION_INPUTS"} & environment.keys()
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1.5]}
    spec = {"calibration": {"mode": "Off", "inputs": [tensor]}}
    environment = {v["name"]: v.get("value") for v in _pod(**spec)["containers"][0]["env"]}
    assert environment["COREFIT_CALIBRATE"] == "false"
    assert json.loads(environment["COREFIT_CALIBRATION_INPUTS"]) == [tensor]


def test_a_checksum_must_cover_all_files_of_the_model() -> None:
    pod = _pod(model={"uri": "pvc://claim/a.onnx", "sha256": "0" * 64})
    environment = {v["name"]: v.get("value") for v in pod["containers"][0]["env"]}
    assert environment["COREFIT_MODEL_SHA256"] == "0" * 64
    assert environment["COREFIT_STRICT_CHECKSUM"] == "true"


def test_a_variable_of_the_template_replaces_the_safety_net_of_the_same_name() -> None:
    variables = _pod(template={"env": [{"name": "OMP_NUM_THREADS", "value": "3"}]})["containers"][0]["env"]
    assert [v["value"] for v in variables if v["name"] == "OMP_NUM_THREADS"] == ["3"]


def test_the_template_adds_and_never_takes_the_selectors_labels_away() -> None:
    template = {"labels": {naming.LABEL_MANAGED_BY: "another", "team": "a"}, "nodeSelector": {"disk": "ssd"}}
    deployment = _children(template=template)["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert labels["team"] == "a"
    assert labels[naming.LABEL_MANAGED_BY] == naming.MANAGED_BY
    assert naming.selector("digits").items() <= labels.items()
    assert deployment["template"]["spec"]["nodeSelector"] == {"disk": "ssd"}


def test_a_claim_is_mounted_read_only() -> None:
    pod = _pod(model={"uri": "pvc://claim/a.onnx"})
    assert {"claimName": "claim", "readOnly": True} in [v.get("persistentVolumeClaim") for v in pod["volumes"]]
    assert any(m["readOnly"] for m in pod["containers"][0]["volumeMounts"] if m["name"] == "model-source")


def test_credentials_are_a_secret_that_the_kubelet_mounts_and_no_variable() -> None:
    pod = _pod(model={"uri": "https://models/a.onnx", "credentialsSecret": {"name": "models"}})
    assert {"secretName": "models", "optional": True} in [v.get("secret") for v in pod["volumes"]]
    mount = next(m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "model-credentials")
    assert mount["readOnly"] is True
    environment = {v["name"]: v for v in pod["containers"][0]["env"]}
    assert environment["COREFIT_CREDENTIALS_DIR"]["value"] == mount["mountPath"]
    assert not any("secretKeyRef" in str(variable) for variable in environment.values())


def test_link_local_addresses_are_the_administrators_to_allow() -> None:
    resource = {"metadata": {"name": "a", "namespace": "n"}, "spec": {"model": {"uri": "http://models/a.onnx"}}}
    for allowed in (False, True):
        defaults = Defaults(image="i", allow_link_local=allowed)
        pod = desired(decode(resource), defaults)[-1]["spec"]["template"]["spec"]
        assert ("COREFIT_ALLOW_LINK_LOCAL" in str(pod)) is allowed


def test_only_the_operator_reaches_the_admin_port() -> None:
    http, admin, agent = _children()["NetworkPolicy"]["spec"]["ingress"]
    assert "from" not in http
    assert [port["port"] for port in http["ports"]] == ["http"]
    assert [port["port"] for port in admin["ports"]] == ["admin", naming.SIDECAR_PORT_ADMIN]
    assert admin["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "corefit-system"}
    assert [port["port"] for port in agent["ports"]] == [naming.PORT_AGENT]
    assert agent["from"] == [
        {"podSelector": {"matchLabels": {naming.LABEL_BALANCER: "digits", naming.LABEL_MANAGED_BY: naming.MANAGED_BY}}}
    ]


@pytest.mark.parametrize("name", ["digits", "a.name.with.dots", "x" * 200])
def test_names_of_children_are_valid_for_every_name_of_a_resource(name: str) -> None:
    for child in _children(name).values():
        assert naming.is_rfc1035_label(child["metadata"]["name"])


def test_equal_resources_give_equal_manifests() -> None:
    first = _children(template={"env": [{"name": "A", "value": "1"}]})
    assert copy.deepcopy(first) == _children(template={"env": [{"name": "A", "value": "1"}]})


APPLICATION = {"containers": [{"name": "web", "image": "web:1"}], "port": 9000}


def test_an_application_has_the_runtime_as_its_native_sidecar() -> None:
    children = _children(application=APPLICATION)
    template = children["Deployment"]["spec"]["template"]
    assert [c["name"] for c in template["spec"]["containers"]] == ["web"]
    assert [c["restartPolicy"] for c in template["spec"]["initContainers"]] == ["Always"]
    assert template["metadata"]["annotations"][naming.ANNOTATION_ADMIN_PORT] == "18081"
    assert naming.selector("digits").items() <= template["metadata"]["labels"].items()
    assert children["Service"]["spec"]["ports"][0]["targetPort"] == "http"
    assert template["spec"]["containers"][0]["ports"] == [{"name": "http", "containerPort": 9000, "protocol": "TCP"}]


def test_only_the_admin_port_of_an_applications_pods_is_closed_to_others() -> None:
    theirs, admin = _children(application=APPLICATION)["NetworkPolicy"]["spec"]["ingress"]
    tcp = [p for p in theirs["ports"] if p["protocol"] == "TCP"]
    assert not any(p["port"] <= 18081 <= p["endPort"] for p in tcp)
    assert admin["ports"][0]["port"] == 18081
    assert admin["from"]


def test_the_template_of_an_application_does_not_know_the_operators_version() -> None:
    annotations = _children(application=APPLICATION)["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert naming.ANNOTATION_INJECTED not in annotations


def test_a_resource_of_mode_sidecar_has_no_children() -> None:
    assert _children(mode="Sidecar") == {}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text(max_size=4)
    | st.sampled_from(["/mnt/a", "a", "corefit-a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "mountPath", "env", "ports", "image", "valueFrom", "secret"]), inner)
    ),
    max_leaves=8,
)
OPAQUE = st.dictionaries(
    st.sampled_from(["image", "env", "envFrom", "ports", "volumeMounts", "volumeDevices", "projected", "csi", "value"]),
    JSON,
)


@given(st.data(), st.sampled_from(["Service", "Sidecar"]))
def test_whatever_the_schema_leaves_to_the_api_server_is_passed_on_or_refused(data: st.DataObject, mode: str) -> None:
    """A list in the place of a name was a fault in the operator, with a traceback for each try."""

    def items(key: str) -> list[dict[str, Any]]:
        names = data.draw(st.lists(st.sampled_from(["a", "b", "/mnt/a", "/mnt/b"]), max_size=2, unique=True))
        others = [data.draw(OPAQUE | st.just({})) | data.draw(st.dictionaries(st.just("name"), JSON)) for _ in names]
        return [{**other, key: name} for other, name in zip(others, names, strict=True)]

    template = {"env": items("name"), "volumes": items("name"), "volumeMounts": items("mountPath")}
    spec: dict[str, Any] = {"mode": mode, "model": {"uri": "http://m/a.onnx"}, "template": template}
    if mode == "Service":
        spec["application"] = {"containers": items("name"), "volumes": items("name")}
    with contextlib.suppress(InvalidInput, PolicyViolation):
        service = decode({"metadata": {"name": "a", "namespace": "n", "uid": "u"}, "spec": spec})
        assert kinds.of(service, DEFAULTS).children is not None
        assert TargetWorkload(service, DEFAULTS).template
        platform_policy.check(service, PlatformPolicy(), "i")
