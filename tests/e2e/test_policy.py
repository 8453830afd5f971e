"""What the platform forbids is refused as it is written; what a resource declares is all that its sidecar mounts."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from corefit_core import naming

pytestmark = pytest.mark.cluster
Make = Callable[..., dict[str, Any]]
HOST = {"name": "host", "hostPath": {"path": "/"}}
DECLARED = {"volumes": [{"name": "data", "emptyDir": {}}], "volumeMounts": [{"name": "data", "mountPath": "/mnt/data"}]}


@pytest.fixture
def bounded(kube: Any) -> Iterator[Any]:
    """The chart's admission policy with its defaults, in this namespace alone."""
    name = kube.namespace
    values = f"policy.install=Always,watchNamespaces={{{name}}},image.repository=o,runtimeImage=r"
    only = ("--show-only", "templates/policy.yaml")
    rendered = kube.run("helm", "template", name, "charts/corefit", "--set", values, *only).stdout
    kube.kubectl("apply", "-f", "-", stdin=rendered)
    yield kube
    kube.kubectl("delete", "--wait=false", "-f", "-", stdin=rendered)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ({"image": "evil.example/runtime:1"}, "policy.imagePrefixes"),
        ({"template": {"volumes": [HOST]}}, "policy.volumeKinds"),
        ({"template": {"env": [{"name": "PYTHONPATH", "value": "/data"}]}}, "policy.envPrefixes"),
        ({"template": {"serviceAccountName": "default"}}, "policy.serviceAccounts"),
    ],
)
def test_what_the_platform_forbids_is_refused_with_the_charts_value(
    bounded: Any, service: Make, spec: dict[str, Any], value: str
) -> None:
    def said() -> str:
        found: str = bounded.apply(service(**spec), check=False, dry_run=True)
        return found if "the platform does not allow" in found else ""

    assert value in bounded.until("the policy is in force", said)


def test_a_sidecar_mounts_a_volume_of_its_own_and_none_of_the_pods(kube: Any, service: Make) -> None:
    kube.apply(service("own", mode="Sidecar", scaling={}, template=DECLARED))
    kube.until("it is offered", lambda: kube.get("cfis", "own").get("status", {}).get("sidecar"))
    container = {
        "name": "web",
        "image": "corefit.local/operator:0.1.0",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "labels": {naming.LABEL_INJECT: "own"}},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "data", "configMap": {"name": "theirs"}}],
            "containers": [container],
        },
    }
    text = kube.kubectl("create", "--dry-run=server", "--output", "json", "-f", "-", stdin=json.dumps(pod))
    spec = json.loads(text)["spec"]
    (runtime,) = (c for c in spec["initContainers"] if c["name"] == naming.SIDECAR)
    mounted = {mount["mountPath"]: mount["name"] for mount in runtime["volumeMounts"]}
    assert mounted["/mnt/data"] == "corefit-volume-data"
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert "emptyDir" in volumes["corefit-volume-data"]
    assert all("projected" not in volumes[name] for name in mounted.values()), "no token of the pod's"
