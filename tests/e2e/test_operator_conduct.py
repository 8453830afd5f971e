"""How the operator conducts itself: it keeps the old model serving, holds still when paused, runs outside too."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.operators import RUNTIME

pytestmark = pytest.mark.cluster
Make = Callable[..., dict[str, Any]]


def _deployment_version(kube: Any) -> str:
    return str(kube.get("deployment", "digits")["metadata"]["generation"])


def _pods(kube: Any) -> set[str]:
    return {p["metadata"]["uid"] for p in kube.get("pods", "-l", "serving.corefit.dev/inferenceservice")["items"]}


def test_a_model_that_does_not_come_up_leaves_the_old_one_serving_and_a_valid_one_recovers(
    kube: Any, service: Make
) -> None:
    kube.apply(service())
    kube.wait_condition("digits", "Ready", "True")
    before = _pods(kube)
    kube.apply(service(model={"uri": "http://models/nothing.onnx"}))
    kube.until("it is told", lambda: kube.condition("digits", "Progressing").get("reason") == "ModelUnavailable")
    kube.wait_condition("digits", "Ready", "True")
    assert before < _pods(kube), "the old one serves on"
    kube.apply(service())
    kube.until("the rollout is complete", lambda: kube.condition("digits", "Progressing").get("reason") == "Complete")


def test_a_paused_resource_is_not_written_to_until_it_is_resumed(kube: Any, service: Make) -> None:
    kube.apply(service())
    kube.wait_condition("digits", "Ready", "True")
    kube.kubectl("annotate", "inferenceservice", "digits", "serving.corefit.dev/paused=true")
    # What another resource's reconcile shows afterwards is that the operator has passed this one's changes by.
    before = _deployment_version(kube)
    kube.kubectl("patch", "cfis", "digits", "--type=merge", "-p", '{"spec":{"scaling":{"replicas":2}}}')
    kube.apply(service("other"))
    kube.wait_condition("other", "Ready", "True")
    assert _deployment_version(kube) == before
    kube.kubectl("annotate", "inferenceservice", "digits", "serving.corefit.dev/paused-")
    kube.until("two replicas", lambda: kube.get("deployment", "digits")["spec"]["replicas"] == 2)


def test_someone_elses_object_of_the_same_name_is_left_alone(kube: Any, service: Make) -> None:
    kube.kubectl("create", "service", "clusterip", "digits", "--tcp=1:1")
    kube.apply(service())
    found = kube.until("the conflict is named", lambda: _reason(kube, "NameTaken"))
    assert "digits" in found["message"]
    assert kube.get("service", "digits")["spec"]["ports"][0]["port"] == 1
    kube.kubectl("delete", "service", "digits")
    kube.wait_condition("digits", "Ready", "True")


def _reason(kube: Any, reason: str) -> dict[str, Any]:
    found: dict[str, Any] = kube.condition("digits", "Ready")
    return found if found.get("reason") == reason else {}


def test_it_runs_outside_the_cluster_with_a_kubeconfig_and_ends_on_sigterm(
    kube: Any, service: Make, tmp_path: Path
) -> None:
    kubeconfig = kube.environment["KUBECONFIG"]
    command = [sys.executable, "-m", "corefit_operator", "run", *RUNTIME, "--kubeconfig", kubeconfig]
    options = ["--namespace", kube.namespace, "--metrics-host", "127.0.0.1", "--metrics-port", "0"]
    log = tmp_path / "operator.log"
    # None in the cluster meanwhile: two would write against each other.
    kube.scale_operator(0)
    try:
        # A file for its log: a pipe that nobody reads holds 64 KiB, and then the operator.
        with log.open("w") as sink, subprocess.Popen([*command, *options], stderr=sink) as process:
            try:
                kube.apply(service())
                kube.wait_condition("digits", "Ready", "True")
                assert kube.get("inferenceservice", "digits")["status"]["plan"]["why"]
            finally:
                process.terminate()
        assert process.returncode == 0, log.read_text()
    finally:
        kube.scale_operator(2)
