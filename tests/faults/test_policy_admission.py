"""The chart's admission policy on a real API server refuses what the operator's own check refuses, and nothing else."""

import json
import subprocess
import uuid
from typing import Any

import msgspec
import pytest
import yaml
from faults.api import Refused
from faults.arena import Arena, program, until
from faults.others import POLICIES, ROOT
from unit.test_api import ALLOWED_MOUNTS, REFUSED_MOUNTS
from unit.test_platform_policy import ALLOWED, FORBIDDEN, RUNTIME, specified

from corefit_core import platform_policy
from corefit_core.naming import GROUP, KIND, PLURAL, VERSION
from corefit_core.platform_policy import PlatformPolicy
from corefit_core.spec.decode import decode
from corefit_core.spec.serving_spec import ServingSpec

STRICT = PlatformPolicy()
WIDER = PlatformPolicy(
    application=True,
    image_prefixes=("r.example/", "evil.example/x:1", "r.example"),
    volume_kinds=("emptyDir", "projected", "secret", "configMap", "csi", "azureFile", "cephfs"),
    secrets=("key*",),
    credentials_secrets=("model-*",),
    env_prefixes=("TZ", "PYTHON", "ORT_"),
    service_accounts=("admin",),
    priority_classes=("high",),
)
OPEN = PlatformPolicy(
    application=True,
    image_prefixes=("*",),
    volume_kinds=("*",),
    secrets=("*",),
    env_prefixes=("*",),
    service_accounts=("*",),
    priority_classes=("*",),
)
NO_SECRETS = msgspec.structs.replace(WIDER, secrets=(), image_prefixes=("r.example:5000", "evil.example/x"))
CLOSED = PlatformPolicy(template_volumes=False, volume_kinds=(), env_prefixes=(), credentials_secrets=())
SPECS = {**{name: case[0] for name, case in FORBIDDEN.items()}, **ALLOWED}


def _path(namespace: str) -> str:
    return f"apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}"


def _install(arena: Arena, policy: PlatformPolicy) -> str:
    """The chart's policy with these values, for a namespace of its own; returns the namespace."""
    namespace = f"policy-{uuid.uuid4().hex[:6]}"
    arena.api("POST", "api/v1/namespaces", {"metadata": {"name": namespace}})
    values = {
        "image": {"repository": "r/o"},
        "runtimeImage": RUNTIME,
        "watchNamespaces": [namespace],
        "policy": {"install": "Always", **msgspec.to_builtins(policy)},
    }
    command = [program("helm"), "template", namespace, ROOT / "charts/corefit", "--values", "-"]
    only = ("--show-only", "templates/policy.yaml")
    rendered = subprocess.run(
        [*command, *only], check=True, input=json.dumps(values), stdout=subprocess.PIPE, text=True
    )
    for document in yaml.safe_load_all(rendered.stdout):
        arena.api("POST", f"apis/admissionregistration.k8s.io/v1/{POLICIES[document['kind']]}", document)
    return namespace


def _refusal(arena: Arena, namespace: str, spec: dict[str, Any]) -> str:
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {"name": "a"}, "spec": spec}
    try:
        arena.api("POST", f"{_path(namespace)}?dryRun=All", body)
    except Refused as refused:
        return str(refused)
    return ""


def _forbidden(service: ServingSpec, policy: PlatformPolicy) -> set[str]:
    """The chart's values that the operator's check names: the API server names one of them."""
    found = platform_policy._violations(service, policy, RUNTIME)
    return {word.rstrip(".,") for said in found for word in said.split() if word.startswith("policy.")}


@pytest.fixture(scope="module")
def namespaces(arena: Arena) -> dict[PlatformPolicy, str]:
    made = {policy: _install(arena, policy) for policy in (STRICT, WIDER, OPEN, NO_SECRETS, CLOSED)}
    probe = specified(model={"uri": "http://m/a.onnx", "credentialsSecret": {"name": "x"}}, image="nobody.example/x")
    for policy, namespace in made.items():
        if policy is not OPEN:
            until("the policy is in force", lambda n=namespace: "policy.imagePrefixes" in _refusal(arena, n, probe))
    return made


@pytest.mark.parametrize("case", SPECS)
def test_admission_and_operator_agree(arena: Arena, namespaces: dict[PlatformPolicy, str], case: str) -> None:
    spec = specified(**SPECS[case])
    for policy, namespace in namespaces.items():
        refusal = _refusal(arena, namespace, spec)
        service = decode({"metadata": {"name": "a", "namespace": namespace, "uid": "u"}, "spec": spec})
        named = _forbidden(service, policy)
        assert any(f"{value}." in refusal for value in named) if named else refusal == "", policy


def test_the_api_server_admits_the_mounts_that_decoding_admits(
    arena: Arena, namespaces: dict[PlatformPolicy, str]
) -> None:
    for path in (*REFUSED_MOUNTS, *ALLOWED_MOUNTS):
        volume = {"volumes": [{"name": "v", "emptyDir": {}}], "volumeMounts": [{"name": "v", "mountPath": path}]}
        refusal = _refusal(arena, namespaces[OPEN], specified(template=volume))
        assert ("mountPath must be /mnt/NAME" in refusal) == (path in REFUSED_MOUNTS), (path, refusal)


@pytest.mark.parametrize("field", ["volumeMounts", "volumeDevices"])
def test_the_api_server_keeps_the_runtimes_volumes_from_applications(
    arena: Arena, namespaces: dict[PlatformPolicy, str], field: str
) -> None:
    mount = {"name": "corefit-models", "mountPath": "/x", "devicePath": "/x"}
    spec = specified(application={"containers": [{"name": "web", "image": "r.example/web:1", field: [mount]}]})
    assert "the runtime's own" in _refusal(arena, namespaces[OPEN], spec)


def test_the_api_server_refuses_variables_from_files(arena: Arena, namespaces: dict[PlatformPolicy, str]) -> None:
    variable = {"name": "TZ", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}}
    refusal = _refusal(arena, namespaces[OPEN], specified(template={"env": [variable]}))
    assert "fileKeyRef is not supported" in refusal


def test_a_resource_of_before_can_still_be_labelled_and_not_changed(
    arena: Arena, namespaces: dict[PlatformPolicy, str]
) -> None:
    namespace = f"late-{uuid.uuid4().hex[:6]}"
    arena.api("POST", "api/v1/namespaces", {"metadata": {"name": namespace}})
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {"name": "kept"}}
    arena.api("POST", _path(namespace), {**body, "spec": specified(image="evil/x:1")})
    name = f"late-{uuid.uuid4().hex[:6]}"
    values = ("--set", f"policy.install=Always,watchNamespaces={{{namespace}}},image.repository=o,runtimeImage=r")
    only = ("--show-only", "templates/policy.yaml")
    command = [program("helm"), "template", name, ROOT / "charts/corefit", *values, *only]
    for document in yaml.safe_load_all(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout):
        arena.api("POST", f"apis/admissionregistration.k8s.io/v1/{POLICIES[document['kind']]}", document)
    until("the policy is in force", lambda: _refusal(arena, namespace, specified(image="evil/x:2")))
    merge = "application/merge-patch+json"
    arena.api("PATCH", f"{_path(namespace)}/kept", {"metadata": {"labels": {"team": "a"}}}, merge)
    with pytest.raises(Refused, match=r"spec\.image: the platform does not allow the image evil/x:2\. "):
        arena.api("PATCH", f"{_path(namespace)}/kept", {"spec": {"image": "evil/x:2"}}, merge)
    arena.api("DELETE", f"{_path(namespace)}/kept")
