"""The chart on a real API server: installed with Helm and without, in one namespace only, upgraded, tested, removed."""

import contextlib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
Make = Callable[..., dict[str, Any]]
PREVIOUS = "tests/e2e/charts/corefit-0.1.0.tgz"
"""The chart of the version before, packaged by `helm package`."""
EVERYTHING = ("networkPolicy.enabled=true", "dashboard.enabled=true", "allowLinkLocal=true", "priorityClassName=p")


@pytest.fixture
def alone(kube: Any) -> Iterator[Any]:
    """A namespace without the operator of the other tests, and one for an operator of the test's own."""
    kube.scale_operator(0)
    system = f"{kube.namespace}-sys"
    kube.kubectl("create", "namespace", system)
    try:
        yield kube, system
    finally:
        kube.kubectl("delete", "namespace", system, "--wait=false")
        kube.scale_operator(1)


def _options(kube: Any, system: str) -> tuple[str, ...]:
    # The CRD is there already; the roles are those of one namespace.
    return ("--namespace", system, "--set", f"crds.install=false,watchNamespaces={{{kube.namespace}}}")


def _images(kube: Any) -> tuple[str, ...]:
    """Only the images: an older chart refuses values that it doesn't know."""
    values = yaml.safe_load((ROOT / kube.chart[-1]).read_text())
    return ("--set", f"image.repository={values['image']['repository']},runtimeImage={values['runtimeImage']}")


def _uids(kube: Any) -> set[str]:
    return {p["metadata"]["uid"] for p in kube.get("pods", "-l", "serving.corefit.dev/inferenceservice")["items"]}


def _crashes(kube: Any) -> list[str]:
    """The last words of each operator that has ended, unless it has lost the lead: CPU may be short for that long."""
    pods = kube.get("pods")["items"]
    ended = [p["metadata"]["name"] for p in pods if any(c["restartCount"] for c in p["status"]["containerStatuses"])]
    words = [kube.kubectl("logs", "--previous", "--tail=1", name) for name in ended]
    return [last for last in words if "was lost" not in last]


def _answers(kube: Any) -> bool:
    url = kube.url("digits").removesuffix("/infer") + "/ready"
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - of our cluster
        return bool(answer.status == 200)
    return False


def test_rights_in_one_namespace_are_enough_and_every_way_in_and_out_leaves_the_pods_alone(
    alone: Any, service: Make
) -> None:
    kube, system = alone
    options = _options(kube, system)
    rendered = kube.run("helm", "template", "plain", *kube.chart, *options, "--skip-tests").stdout
    assert not {d["kind"] for d in yaml.safe_load_all(rendered) if d} & {"ClusterRole", "ClusterRoleBinding"}
    kube.run("kubectl", "apply", "-f", "-", stdin=rendered)
    kube.apply(service())
    kube.wait_condition("digits", "Ready", "True")
    before = _uids(kube)
    operators = type(kube)(kube.environment, system)
    operators.rolled_out("deployment/plain")
    assert _crashes(operators) == []
    kube.run("kubectl", "delete", "-f", "-", "--wait", stdin=rendered)

    kube.run("helm", "install", "release", PREVIOUS, *_images(kube), *options, "--wait", kube.patience)
    kube.run("helm", "upgrade", "release", *kube.chart, *options, "--wait", kube.patience)
    kube.kubectl("patch", "cfis", "digits", "--type=merge", "-p", '{"spec":{"scaling":{"replicas":2}}}')
    kube.until("two replicas", lambda: kube.condition("digits", "Progressing").get("observedGeneration") == 2)
    # Without --logs, which takes every hook for a pod. A test pod that fails is helm's failure.
    assert "Failed" not in kube.run("helm", "test", "release", "--namespace", system, kube.patience).stdout

    kube.run("helm", "uninstall", "release", "--namespace", system, "--wait", kube.patience)
    kube.get("crd", "inferenceservices.serving.corefit.dev")
    kube.until("there is another pod", lambda: len(_uids(kube)) == 2)
    assert before < _uids(kube), "no way in or out has replaced a pod"
    kube.until("it answers", lambda: _answers(kube))


def test_the_api_server_takes_every_manifest_as_it_is(crds: Any) -> None:
    settings = [option for setting in EVERYTHING for option in ("--set", setting)]
    for values in ([], settings):
        rendered = crds.run("helm", "template", "dry", *crds.chart, "--namespace", "default", *values).stdout
        # The API server of a dry run says the same of a field that it doesn't know as of one that is wrong.
        crds.run(
            "kubectl",
            *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-"),
            stdin=rendered,
        )


@pytest.mark.parametrize("given", ["image.repository=r.example/operator", "runtimeImage=r.example/runtime:1"])
def test_the_chart_asks_for_both_images(crds: Any, given: str) -> None:
    said = crds.run("helm", "template", "none", "charts/corefit", "--set", given, check=False)
    assert said.returncode != 0
    assert "is not set" in said.stderr
    assert "image.repository and runtimeImage" in said.stderr


@pytest.mark.parametrize(
    "typo", ["replica=2", "image.repo=x", "crds.keeps=false", "networkPolicy.enable=true", "alerts.label.a=b"]
)
def test_a_typo_in_the_values_is_refused(crds: Any, typo: str) -> None:
    said = crds.run("helm", "template", "typo", *crds.chart, "--set", typo, check=False)
    assert said.returncode != 0
    assert "additional properties" in said.stderr


def test_what_is_for_the_prometheus_operator_names_what_is_there(crds: Any) -> None:
    both = "serviceMonitor.enabled=true,alerts.enabled=true,alerts.runbooks=https://wiki.example/corefit/"
    text = crds.run("helm", "template", "watched", *crds.chart, "--set", both).stdout
    documents = {d["kind"]: d for d in yaml.safe_load_all(text) if d}
    selector = documents["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert selector.items() <= documents["Service"]["metadata"]["labels"].items()
    (port,), (endpoint,) = documents["Service"]["spec"]["ports"], documents["ServiceMonitor"]["spec"]["endpoints"]
    assert port["name"] == endpoint["port"]
    rules = documents["PrometheusRule"]["spec"]["groups"][0]["rules"]
    assert {r["alert"] for r in rules} == set(yaml.safe_load((ROOT / "charts/corefit/alerts.yaml").read_text()))
    assert rules[0]["annotations"]["runbook_url"] == f"https://wiki.example/corefit/{rules[0]['alert']}.md"


KSERVE = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "inferenceservices.serving.kserve.io"},
    "spec": {
        "group": "serving.kserve.io",
        "scope": "Namespaced",
        "names": {"kind": "InferenceService", "plural": "inferenceservices", "singular": "inferenceservice"},
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
"""What `kubectl get inferenceservice` finds of KServe."""


def test_the_chart_warns_where_kserve_is_and_says_what_uninstalling_means(crds: Any) -> None:
    """Whose resource `kubectl get inferenceservice` shows was for the reader to find out."""
    install = ("helm", "install", "noted", *crds.chart, "--namespace", "default", "--set", "crds.install=false")
    notes = crds.run(*install, "--dry-run=server").stdout.partition("NOTES:")[2]
    assert "KServe" not in notes
    assert "start\nwithout one" in notes
    crds.apply(KSERVE)
    try:
        crds.served("inferenceservices.serving.kserve.io")
        notes = crds.run(*install, "--dry-run=server").stdout.partition("NOTES:")[2]
        assert "WARNING: KServe is installed too" in notes
        assert "kubectl get cfis" in notes
        crds.kubectl("get", "cfis")
        crds.kubectl("get", "inferenceservices.serving.corefit.dev")
    finally:
        crds.kubectl("delete", "crd", KSERVE["metadata"]["name"])
