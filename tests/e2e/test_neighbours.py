"""Others who scale: an HPA on the resource rules in mode Manual, and who scales behind its back is spoken of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.driving import Load

from corefit.demo.predictions import known_rows, load_requests

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
Make = Callable[..., dict[str, Any]]
LOAD = 16.0
"""Requests a second of the load model: some 130m, of which an autoscaler at 30 % of 250m makes two pods."""
AUTOSCALER_S = 600.0
"""Seconds: it looks every 15, its metrics are of the 15 before, and a pod's first minutes don't count."""


def _autoscaler(least: int, most: int) -> dict[str, Any]:
    """One that needs no metrics to act: below its minimum and above its maximum it scales at once."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "digits"},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "serving.corefit.dev/v1alpha1",
                "kind": "InferenceService",
                "name": "digits",
            },
            "minReplicas": least,
            "maxReplicas": most,
        },
    }


def test_an_autoscaler_on_the_resource_rules_and_the_operator_follows(kube: Any, service: Make) -> None:
    kube.apply(service())
    kube.wait_condition("digits", "Ready", "True")
    for least, most, replicas in ((2, 3, 2), (1, 1, 1)):
        kube.apply(_autoscaler(least, most))
        kube.until(
            f"the autoscaler asks for {replicas}",
            lambda replicas=replicas: kube.get("cfis", "digits")["spec"]["scaling"]["replicas"] == replicas,
        )
        kube.until(
            f"the Deployment has {replicas}",
            lambda replicas=replicas: kube.get("deployment", "digits")["spec"]["replicas"] == replicas,
        )
    kube.kubectl("wait", "--for=condition=AbleToScale", "hpa/digits", kube.patience)
    assert kube.condition("digits", "ScalingActive")["reason"] == "Manual"


@pytest.mark.nightly
@pytest.mark.metrics_server
def test_an_autoscaler_with_metrics_scales_with_the_load_and_the_operator_keeps_its_hands_off(kube: Any) -> None:
    """By the CPU of the pods that the resource's scale subresource selects."""
    example = yaml.safe_load((ROOT / "examples/load-model/inferenceservice.yaml").read_text())
    spec = {**example["spec"], "scaling": {"mode": "Manual", "replicas": 1}}
    kube.apply({**example, "spec": spec})
    kube.wait_condition("load-model", "Ready", "True")
    asked = load_requests(known_rows(ROOT / "examples/load-model/rows.json"))
    kube.apply(_by_cpu("load-model", percent=30))
    with Load(kube.url("load-model"), asked, LOAD) as load:
        kube.until("it asks for more", lambda: _replicas(kube) > 1, AUTOSCALER_S)
        kube.until("and has them", lambda: _ready(kube) == _replicas(kube) > 1, AUTOSCALER_S)
        kube.until("which serve", load.served_one_more())
    kube.until("it asks for one when the load is gone", lambda: _replicas(kube) == 1, AUTOSCALER_S)
    kube.until("and has one", lambda: _ready(kube) == 1, AUTOSCALER_S)
    assert kube.condition("load-model", "ScalingActive")["reason"] == "Manual"
    fields = kube.get("cfis", "load-model", "--show-managed-fields")["metadata"]["managedFields"]
    writers = {f["manager"] for f in fields if "f:replicas" in f["fieldsV1"].get("f:spec", {}).get("f:scaling", {})}
    assert "corefit-operator" not in writers
    assert load.lost() == []


def _by_cpu(name: str, percent: int) -> dict[str, Any]:
    """One that goes down at once."""
    whole = _autoscaler(1, 3)
    spec = whole["spec"]
    target = {"type": "Utilization", "averageUtilization": percent}
    metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    scaled = {**spec["scaleTargetRef"], "name": name}
    return {**whole, "spec": {**spec, "scaleTargetRef": scaled, "metrics": metrics, "behavior": behavior}}


def _replicas(kube: Any) -> int:
    return int(kube.get("cfis", "load-model")["spec"]["scaling"]["replicas"])


def _ready(kube: Any) -> int:
    return int(kube.get("cfis", "load-model").get("status", {}).get("readyReplicas", 0))


def test_who_scales_the_deployment_behind_its_back_is_spoken_of_and_undone(kube: Any, service: Make) -> None:
    kube.apply(service())
    kube.wait_condition("digits", "Ready", "True")
    kube.kubectl("scale", "deployment/digits", "--replicas=2")
    found = kube.until("it is said", lambda: _contended(kube))
    assert "InferenceService" in found["message"]
    kube.until("and undone", lambda: kube.get("deployment", "digits")["spec"]["replicas"] == 1)


def _contended(kube: Any) -> dict[str, Any]:
    found: dict[str, Any] = kube.condition("digits", "ScalingActive")
    return found if "Something else changed" in found.get("message", "") else {}


def test_a_stateful_set_of_others_is_scaled_as_a_deployment_is(kube: Any) -> None:
    example = ROOT / "examples/sidecar"
    resource = yaml.safe_load((example / "inferenceservice.yaml").read_text())
    target = {"kind": "StatefulSet", "name": "draw"}
    scaling = {**resource["spec"]["scaling"], "targetRef": target, "minReplicas": 2, "maxReplicas": 2}
    kube.apply({**resource, "spec": {**resource["spec"], "scaling": scaling}})
    kube.until("it is rendered", lambda: kube.get("cfis", "digits").get("status", {}).get("sidecar"))
    kube.draw_files()
    deployment = next(yaml.safe_load_all((example / "deployment.yaml").read_text()))
    spec = {key: deployment["spec"][key] for key in ("selector", "template")}
    kube.apply({**deployment, "kind": "StatefulSet", "spec": {**spec, "serviceName": "draw", "replicas": 1}})
    kube.until("it has two", lambda: kube.get("statefulset", "draw")["spec"]["replicas"] == 2)
