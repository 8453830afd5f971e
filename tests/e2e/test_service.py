"""From `kubectl apply` to predictions, and what happens when something is wrong, edited, deleted or killed."""

import json
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from e2e.driving import Load

from corefit.demo.predictions import known_rows, load_requests

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
Make = Callable[..., dict[str, Any]]
CHILDREN = ("deployment", "service", "serviceaccount", "poddisruptionbudget", "networkpolicy")


def _predict(url: str, rows: list[list[float]]) -> list[int]:
    flat = [x for row in rows for x in row]
    body = {"inputs": [{"name": "X", "datatype": "FP32", "shape": [len(rows), len(rows[0])], "data": flat}]}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - a cluster address of our own
        outputs = json.loads(answer.read())["outputs"]
    return list(next(o for o in outputs if o["name"] == "label")["data"])


def _pods(kube: Any) -> dict[str, tuple[int, str]]:
    """uid -> (restarts, name) of the runtime pods."""
    items = kube.get("pods", "-l", "serving.corefit.dev/inferenceservice")["items"]
    return {
        p["metadata"]["uid"]: (
            sum(c["restartCount"] for c in p["status"].get("containerStatuses", [])),
            p["metadata"]["name"],
        )
        for p in items
        if "deletionTimestamp" not in p["metadata"]
    }


def test_apply_gives_right_predictions_and_a_status_that_says_why(kube: Any, service: Make) -> None:
    kube.apply(service())
    ready = kube.wait_condition("digits", "Ready", "True")
    assert ready["observedGeneration"] == 1
    examples = json.loads((ROOT / "examples/digits/rows.json").read_text())
    rows, labels = examples["rows"][:50], examples["labels"][:50]
    right = sum(a == b for a, b in zip(_predict(kube.url("digits"), rows), labels, strict=True))
    assert right >= 0.9 * len(labels)
    status = kube.get("inferenceservice", "digits")["status"]
    assert status["plan"]["workers"] == 1
    assert "less than one core" in status["plan"]["why"]
    assert {c["type"] for c in status["conditions"]} >= {"Ready", "Progressing", "Sized", "ScalingActive"}
    assert all(c["reason"] and c["message"] for c in status["conditions"])
    owner = kube.get("deployment", "digits")["metadata"]["ownerReferences"][0]
    assert owner["kind"] == "InferenceService"


def test_models_that_cannot_be_served_are_named_and_others_serve_on(kube: Any, service: Make) -> None:
    uri = "http://models/digits.onnx"
    kube.apply(service("good"))
    kube.apply(service("absent", model={"uri": "http://models/nothing.onnx"}))
    kube.apply(service("other", model={"uri": uri, "sha256": "0" * 64}))
    kube.kubectl("create", "configmap", "text", "--from-literal=a.onnx=this is no model")
    volume = {"volumes": [{"name": "text", "configMap": {"name": "text"}}]}
    mount = {"volumeMounts": [{"name": "text", "mountPath": "/mnt/text", "readOnly": True}]}
    kube.apply(service("text", model={"uri": "file:///mnt/text/a.onnx"}, template={**volume, **mount}))
    for name, reason, words in (
        ("absent", "ModelUnavailable", "404"),
        ("other", "ChecksumMismatch", "000000"),
        ("text", "ModelInvalid", "onnx"),
    ):

        def told(name: str = name, reason: str = reason, words: str = words) -> dict[str, Any]:
            found = kube.condition(name, "Ready")
            return found if found.get("reason") == reason and words in found["message"].lower() else {}

        assert kube.until(f"{name} says {reason} and {words}", told)["status"] == "False"
    kube.wait_condition("good", "Ready", "True")


def test_a_child_that_is_edited_or_deleted_is_put_right_and_a_deleted_resource_leaves_none(
    kube: Any, service: Make
) -> None:
    kube.apply(service())
    kube.wait_condition("digits", "Ready", "True")
    image = kube.get("deployment", "digits")["spec"]["template"]["spec"]["containers"][0]["image"]
    kube.kubectl("set", "image", "deployment/digits", "runtime=corefit/runtime:wrong")
    kube.kubectl("delete", "service,poddisruptionbudget", "digits")

    def mended() -> bool:
        pod = kube.find("deployment", "digits")["spec"]["template"]["spec"]
        whole = all(kube.find(kind, "digits") for kind in ("service", "poddisruptionbudget"))
        return whole and pod["containers"][0]["image"] == image

    kube.until("the children are as they were", mended)
    kube.wait_condition("digits", "Ready", "True")
    kube.kubectl("delete", "inferenceservice", "digits")
    kube.until("no child is left", lambda: not any(kube.find(kind, "digits") for kind in CHILDREN))


def test_an_operator_that_is_killed_comes_back_and_changes_nothing(kube: Any, service: Make) -> None:
    kube.apply(service(scaling={"mode": "Auto", "minReplicas": 1, "maxReplicas": 3, "downStabilizationSeconds": 3600}))
    kube.wait_condition("digits", "Ready", "True")
    kube.kubectl("scale", "deployment/digits", "--replicas=2")
    kube.until("two pods are ready", lambda: kube.get("deployment", "digits")["status"].get("readyReplicas") == 2)
    before = _pods(kube)
    generation = kube.get("deployment", "digits")["metadata"]["generation"]
    kube.kill_operators()
    kube.system.rolled_out("deployment/corefit")
    # The proof that it works again is that a change of the resource arrives; then nothing else may have changed.
    kube.kubectl("annotate", "inferenceservice", "digits", "test=1")
    kube.kubectl("patch", "inferenceservice", "digits", "--type=merge", "-p", '{"spec":{"scaling":{"maxReplicas":4}}}')
    kube.until(
        "the operator has seen the change",
        lambda: kube.get("inferenceservice", "digits")["status"].get("observedGeneration") == 2,
    )
    assert _pods(kube) == before
    assert kube.get("deployment", "digits")["metadata"]["generation"] == generation


def test_manual_obeys_kubectl_scale_and_recommend_writes_only_status(kube: Any, service: Make) -> None:
    kube.apply(service())
    kube.wait_condition("digits", "Ready", "True")
    kube.kubectl("scale", "inferenceservice/digits", "--replicas=2")
    kube.until("two replicas", lambda: kube.get("deployment", "digits")["spec"]["replicas"] == 2)
    kube.kubectl(
        "patch",
        "inferenceservice",
        "digits",
        "--type=merge",
        "-p",
        '{"spec":{"scaling":{"mode":"Recommend","minReplicas":3}}}',
    )
    kube.until(
        "a recommendation stands in status",
        lambda: kube.get("inferenceservice", "digits")["status"].get("lastDecision", {}).get("replicas", 0) >= 3,
    )
    assert kube.get("deployment", "digits")["spec"]["replicas"] == 2


def test_replicas_follow_the_load_up_and_down_and_no_request_is_lost(kube: Any, service: Make) -> None:
    spec = service(
        "load-model",
        model={"uri": "http://models/load-model.onnx"},
        scaling={"mode": "Auto", "minReplicas": 1, "maxReplicas": 2, "downStabilizationSeconds": 15},
    )
    kube.apply(spec)
    kube.wait_condition("load-model", "Ready", "True")
    requests = load_requests(known_rows(ROOT / "examples/load-model/rows.json"))
    for what, rate, replicas in (("up", 25, 2), ("down", 1, 1)):
        with Load(kube.url("load-model"), requests, rate) as load:
            kube.until(f"{replicas} replicas are ready", partial(_ready, kube, replicas))
            kube.until("and serve", load.served_one_more())
        assert load.lost() == [], (what, load.recorder.summary())


def _ready(kube: Any, replicas: int) -> bool:
    """Whether as many are wanted and ready."""
    deployment = kube.get("deployment", "load-model")
    return bool(deployment["spec"]["replicas"] == deployment["status"].get("readyReplicas") == replicas)
