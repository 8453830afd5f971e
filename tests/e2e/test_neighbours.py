"""Others who scale: an HPA on the resource rules in mode Manual, and who scales behind its back is spoken of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
Make = Callable[..., dict[str, Any]]


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
    able = kube.get("hpa", "digits")["status"]["conditions"]
    assert any(c["type"] == "AbleToScale" and c["status"] == "True" for c in able), able
    assert kube.condition("digits", "ScalingActive")["reason"] == "Manual"


def test_who_scales_the_deployment_behind_its_back_is_spoken_of_and_undone(kube: Any, service: Make) -> None:
    kube.apply(service())
    kube.wait_condition("digits", "Ready", "True")
    kube.kubectl("scale", "deployment/digits", "--replicas=2")
    found = kube.until("it is said", lambda: _contended(kube))
    assert "InferenceService" in found["message"]
    kube.until("and undone", lambda: kube.get("deployment", "digits")["spec"]["replicas"] == 1)


def _contended(kube: Any) -> dict[str, Any]:
    found: dict[str, Any] = kube.condition("digits", "ScalingActive")
    return found if found.get("reason") == "ReplicasContended" else {}


def test_a_stateful_set_of_others_is_scaled_as_a_deployment_is(kube: Any) -> None:
    example = ROOT / "examples/sidecar"
    resource = yaml.safe_load((example / "inferenceservice.yaml").read_text())
    target = {"kind": "StatefulSet", "name": "draw"}
    scaling = {**resource["spec"]["scaling"], "targetRef": target, "minReplicas": 2, "maxReplicas": 2}
    kube.apply({**resource, "spec": {**resource["spec"], "scaling": scaling}})
    kube.until("it is rendered", lambda: kube.get("cfis", "digits").get("status", {}).get("sidecar"))
    files = (f"--from-file={example}/{name}" for name in ("app.py", "index.html"))
    kube.kubectl("create", "configmap", "draw", *files)
    deployment = next(yaml.safe_load_all((example / "deployment.yaml").read_text()))
    spec = {key: deployment["spec"][key] for key in ("selector", "template")}
    kube.apply({**deployment, "kind": "StatefulSet", "spec": {**spec, "serviceName": "draw", "replicas": 1}})
    kube.until("it has two", lambda: kube.get("statefulset", "draw")["spec"]["replicas"] == 2)
