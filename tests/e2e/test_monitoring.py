"""What the chart gives to the Prometheus operator, on the CRDs that its release brings.

An API server takes a field that a CRD doesn't know unless it is told to be strict, and then a scrape or an alert is
missing without a word.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.cluster
EVERYTHING = (
    "serviceMonitor.enabled=true,serviceMonitor.interval=30s,serviceMonitor.labels.release=stack,"
    "alerts.enabled=true,alerts.labels.release=stack,dashboard.enabled=true,monitoringNamespaces={monitoring}"
)
APPLY = ("apply", "--server-side", "--validate=strict", "-f", "-")


@pytest.fixture(scope="module")
def monitored(crds: Any) -> Iterator[Any]:
    """A cluster with those CRDs."""
    folder = Path(crds.run("corefit-devcluster", "files", "prometheus-operator").stdout.strip())
    kinds = ("servicemonitors", "prometheusrules")
    named = [argument for kind in kinds for argument in ("-f", str(folder / f"monitoring.coreos.com_{kind}.yaml"))]
    crds.run("kubectl", "apply", "--server-side", *named)
    for kind in kinds:
        crds.served(kind)
    yield crds
    crds.run("kubectl", "delete", *named)


@pytest.fixture
def namespace(monitored: Any, api: Any) -> Any:
    return api


def _rendered(namespace: Any, *settings: str) -> list[dict[str, Any]]:
    settings = ("--set", ",".join((EVERYTHING, *settings)), "--show-only", "templates/monitoring.yaml")
    text = namespace.run(
        *("helm", "template", "watched", *namespace.chart, "--namespace", namespace.namespace, *settings)
    ).stdout
    return [document for document in yaml.safe_load_all(text) if document]


@pytest.mark.parametrize("runbooks", ["", "https://wiki.example/corefit/"])
def test_all_that_is_for_monitoring_is_taken_field_by_field(namespace: Any, runbooks: str) -> None:
    documents = _rendered(namespace, *([f"alerts.runbooks={runbooks}"] if runbooks else []))
    assert {document["kind"] for document in documents} == {"ServiceMonitor", "PrometheusRule", "ConfigMap"}
    namespace.kubectl(*APPLY, stdin=yaml.safe_dump_all(documents))
    for document in documents:
        stored = namespace.get(document["kind"], document["metadata"]["name"])
        assert stored.get("spec") == document.get("spec"), "nothing was pruned"


@pytest.mark.parametrize(
    ("kind", "path", "field"),
    [
        ("ServiceMonitor", ("endpoints", 0), "honourLabels"),
        ("PrometheusRule", ("groups", 0, "rules", 0), "severity"),
    ],
)
def test_a_misspelt_field_is_refused(namespace: Any, kind: str, path: tuple[Any, ...], field: str) -> None:
    """The other test would pass on a cluster that takes anything."""
    (document,) = (each for each in _rendered(namespace) if each["kind"] == kind)
    node = document["spec"]
    for step in path:
        node = node[step]
    node[field] = "x"
    said = namespace.kubectl(*APPLY, "--dry-run=server", stdin=json.dumps(document), check=False)
    assert f".{field}: field not declared in schema" in said
