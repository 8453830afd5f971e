"""What the platform lets a resource name: each rule refuses, names the chart's value, and allows what that lists."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.api import crd
from corefit_core.platform_policy import PlatformPolicy, PolicyViolation, check
from corefit_core.spec.decode import decode
from corefit_core.spec.serving_spec import ServingSpec

ROOT = Path(__file__).parents[2]
RUNTIME = "r.example/runtime:1"
APPLICATION = PlatformPolicy(application=True, image_prefixes=("r.example/",), volume_kinds=("emptyDir", "projected"))
PROJECTED = {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
SECRET_ENV = {"name": "TZ", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}}


def specified(**spec: Any) -> dict[str, Any]:
    """The spec of a resource that serves a model."""
    return {"model": {"uri": "http://models/a.onnx"}, **spec}


def _service(**spec: Any) -> ServingSpec:
    return decode({"metadata": {"name": "a", "namespace": "n", "uid": "u"}, "spec": specified(**spec)})


def _application(**container: Any) -> dict[str, Any]:
    return {"application": {"containers": [{"name": "web", "image": "r.example/web:1", **container}]}}


def _volume(**volume: Any) -> dict[str, Any]:
    return {"template": {"volumes": [{"name": "v", **volume}]}}


FORBIDDEN: dict[str, tuple[dict[str, Any], PlatformPolicy, str, PlatformPolicy]] = {
    "application": (_application(), PlatformPolicy(), "policy.application", APPLICATION),
    "image": (
        {"image": "evil.example/x:1"},
        PlatformPolicy(),
        "policy.imagePrefixes",
        PlatformPolicy(image_prefixes=("evil.example/",)),
    ),
    "image-beside-prefix": (
        {"image": "r.example/team-evil/x"},
        PlatformPolicy(image_prefixes=("r.example/team",)),
        "policy.imagePrefixes",
        PlatformPolicy(image_prefixes=("r.example/team-evil",)),
    ),
    "registry-with-port": (
        {"image": "r.example:5000/x"},
        PlatformPolicy(image_prefixes=("r.example",)),
        "policy.imagePrefixes",
        PlatformPolicy(image_prefixes=("r.example:5000",)),
    ),
    "image-tagged": (
        {"image": "evil.example/x:2"},
        PlatformPolicy(image_prefixes=("evil.example/x:1",)),
        "policy.imagePrefixes",
        PlatformPolicy(image_prefixes=("evil.example/x",)),
    ),
    "csi-secret": (
        _volume(csi={"driver": "d", "nodePublishSecretRef": {"name": "keys"}}),
        PlatformPolicy(volume_kinds=("csi",)),
        "policy.secrets",
        PlatformPolicy(volume_kinds=("csi",), secrets=("keys",)),
    ),
    "azure-file-secret": (
        _volume(azureFile={"shareName": "s", "secretName": "keys"}),
        PlatformPolicy(volume_kinds=("azureFile",)),
        "policy.secrets",
        PlatformPolicy(volume_kinds=("azureFile",), secrets=("key*",)),
    ),
    "ceph-secret": (
        _volume(cephfs={"monitors": ["m"], "secretRef": {"name": "keys"}}),
        PlatformPolicy(volume_kinds=("cephfs",)),
        "policy.secrets",
        PlatformPolicy(volume_kinds=("cephfs",), secrets=("keys",)),
    ),
    "options-from-the-model": (
        {"template": {"env": [{"name": "ORT_LOAD_CONFIG_FROM_MODEL", "value": "1"}]}},
        PlatformPolicy(),
        "policy.envPrefixes",
        PlatformPolicy(env_prefixes=("ORT_LOAD_CONFIG_FROM_MODEL",)),
    ),
    "application-image": (
        _application(image="evil/x"),
        APPLICATION,
        "policy.imagePrefixes",
        PlatformPolicy(application=True, image_prefixes=("evil",)),
    ),
    "host-path": (
        _volume(hostPath={"path": "/"}),
        PlatformPolicy(),
        "policy.volumeKinds",
        PlatformPolicy(volume_kinds=("hostPath",)),
    ),
    "token": (
        {"template": {"volumes": [PROJECTED]}},
        PlatformPolicy(volume_kinds=("projected",)),
        "policy.volumeKinds",
        PlatformPolicy(volume_kinds=("projected", "serviceAccountToken")),
    ),
    "template-volumes": (
        _volume(emptyDir={}),
        PlatformPolicy(template_volumes=False),
        "policy.templateVolumes",
        PlatformPolicy(),
    ),
    "claim": (
        {"model": {"uri": "pvc://claim/a.onnx"}},
        PlatformPolicy(volume_kinds=()),
        "policy.volumeKinds",
        PlatformPolicy(),
    ),
    "secret-volume": (
        _volume(secret={"secretName": "keys"}),
        PlatformPolicy(volume_kinds=("secret",), secrets=("key",)),
        "policy.secrets",
        PlatformPolicy(volume_kinds=("secret",), secrets=("key*",)),
    ),
    "projected-secret": (
        _volume(projected={"sources": [{"secret": {"name": "keys"}}]}),
        PlatformPolicy(volume_kinds=("projected", "secret")),
        "policy.secrets",
        PlatformPolicy(volume_kinds=("projected", "secret"), secrets=("keys",)),
    ),
    "secret-variable": (
        {"template": {"env": [SECRET_ENV]}},
        PlatformPolicy(),
        "policy.secrets",
        PlatformPolicy(secrets=("keys",)),
    ),
    "application-variable": (
        _application(env=[SECRET_ENV]),
        APPLICATION,
        "policy.secrets",
        msgspec.structs.replace(APPLICATION, secrets=("*",)),
    ),
    "application-variables": (
        _application(envFrom=[{"secretRef": {"name": "keys"}}]),
        APPLICATION,
        "policy.secrets",
        msgspec.structs.replace(APPLICATION, secrets=("keys",)),
    ),
    "code-by-variable": (
        {"template": {"env": [{"name": "PYTHONPATH", "value": "/mnt"}]}},
        PlatformPolicy(),
        "policy.envPrefixes",
        PlatformPolicy(env_prefixes=("PYTHON",)),
    ),
    "credentials": (
        {"model": {"uri": "http://models/a.onnx", "credentialsSecret": {"name": "keys"}}},
        PlatformPolicy(credentials_secrets=("model-*",)),
        "policy.credentialsSecrets",
        PlatformPolicy(),
    ),
    "account": (
        {"template": {"serviceAccountName": "admin"}},
        PlatformPolicy(),
        "policy.serviceAccounts",
        PlatformPolicy(service_accounts=("admin",)),
    ),
    "priority": (
        {"template": {"priorityClassName": "high"}},
        PlatformPolicy(),
        "policy.priorityClasses",
        PlatformPolicy(priority_classes=("high",)),
    ),
}


@pytest.mark.parametrize("case", FORBIDDEN)
def test_what_is_forbidden_names_the_charts_value_and_that_value_allows_it(case: str) -> None:
    spec, forbids, value, allows = FORBIDDEN[case]
    with pytest.raises(PolicyViolation) as refused:
        check(_service(**spec), forbids, RUNTIME)
    assert value in str(refused.value)
    assert "spec." in str(refused.value)
    check(_service(**spec), allows, RUNTIME)


ALLOWED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "runtime": {"image": RUNTIME},
    "no-source": _volume(),
    "config-map": _volume(configMap={"name": "c"}),
    "claim-of-a-model": {"model": {"uri": "pvc://claim/a.onnx"}},
    "variable": {"template": {"env": [{"name": "ORT_LOG", "value": "1"}], "labels": {"team": "a"}}},
    "credentials-secret": {"model": {"uri": "http://models/a.onnx", "credentialsSecret": {"name": "keys"}}},
    "emptied": {"template": None},
}


@pytest.mark.parametrize("spec", ALLOWED.values(), ids=ALLOWED)
def test_by_default_the_platforms_runtime_with_a_model_is_allowed(spec: dict[str, Any]) -> None:
    check(_service(**spec), PlatformPolicy(), RUNTIME)


OPAQUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=6,
)
KINDS = st.sampled_from(["secret", "projected", "hostPath", "emptyDir", "configMap", "image"])


@given(volume=st.dictionaries(KINDS, OPAQUE, max_size=3), env=OPAQUE, sources=OPAQUE)
def test_nothing_opaque_is_ever_a_fault_and_no_forbidden_kind_passes(
    volume: dict[str, Any], env: Any, sources: Any
) -> None:
    spec = _application(env=env, envFrom=env)
    spec["template"] = {"volumes": [{"name": "v", **volume}, {"name": "w", "projected": {"sources": sources}}]}
    allowed = msgspec.structs.replace(APPLICATION, volume_kinds=("emptyDir", "projected"))
    try:
        check(_service(**spec), allowed, RUNTIME)
    except PolicyViolation:
        return
    assert {kind for kind, source in volume.items() if source is not None} <= {"emptyDir", "projected"}


def test_the_charts_defaults_are_the_operators() -> None:
    with open("charts/corefit/values.yaml") as file:  # noqa: PTH123 - a file of the checkout
        values = yaml.safe_load(file)["policy"]
    values.pop("install")
    assert msgspec.convert(values, PlatformPolicy) == PlatformPolicy()
    assert set(values) == {field.encode_name for field in msgspec.structs.fields(PlatformPolicy)}


NAMING = re.compile("image|volume|secret|account|uri|env|class|container", re.IGNORECASE)
UNBOUND = {
    "imagePullPolicy": "it names nothing",
    "imagePullSecrets": "the kubelet alone reads them, and sends each to the registry that it is for",
    "volumeMounts": "they mount what volumes name",
}


def _fields(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from _fields(field, f"{path}.{name}")


def test_each_field_that_names_something_is_bound_by_both_policies() -> None:
    """A new field with an image or a volume would go past what the platform allows, and nothing led to these files."""
    [version] = crd.manifest()["spec"]["versions"]
    fields = _fields(version["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec")
    named = [path for path in fields if NAMING.search(path.rsplit(".", 1)[1]) and path.rsplit(".", 1)[1] not in UNBOUND]
    assert "spec.image" in named
    for file in ("core/src/corefit_core/platform_policy.py", "charts/corefit/templates/policy.yaml"):
        text = (ROOT / file).read_text()
        assert [path for path in named if path not in text] == [], f"{file} does not bind these fields"
