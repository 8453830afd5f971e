"""The runtime beside an application: in pods of a service, and put into a workload of others at admission."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.driving import DIGITS, Load

from corefit.load.target import json_request
from corefit_core import naming
from corefit_core.report import Report

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "sidecar"
SERVICE = yaml.safe_load((EXAMPLE / "inferenceservice.yaml").read_text())
WORKLOAD = next(yaml.safe_load_all((EXAMPLE / "deployment.yaml").read_text()))
INJECT = f"{naming.GROUP}/inject"
CORES = {"cpu": "150m", "memory": "256Mi"}
RATE = 20.0
"""Drawings a second."""


def _resource(**changes: Any) -> dict[str, Any]:
    return {**SERVICE, "spec": {**SERVICE["spec"], "resources": CORES, **changes}}


def _workload(**labels: str) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(WORKLOAD))
    changed["spec"]["template"]["metadata"]["labels"].update(labels)
    return changed


def _read(url: str, row: list[int]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/read", json.dumps(row).encode(), headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - a cluster address of our own
        found: dict[str, Any] = json.loads(answer.read())
    return found


def _reads_as_the_model_does(url: str) -> None:
    said = [_read(url, row)["digit"] for row in DIGITS["rows"][:10]]
    assert said == DIGITS["predictions"][:10]


def _pods(kube: Any) -> list[dict[str, Any]]:
    """The live pods with a runtime beside an application."""
    items = kube.get("pods", "-l", naming.LABEL_SERVICE)["items"]
    return [p for p in items if "deletionTimestamp" not in p["metadata"] and p["status"]["phase"] == "Running"]


def _status(kube: Any, name: str = "digits") -> dict[str, Any]:
    found: dict[str, Any] = kube.get("inferenceservice", name).get("status", {})
    return found


def _reason(kube: Any, condition: str) -> str:
    return str(kube.condition("digits", condition).get("reason", ""))


def _sized_and_counted_as_any_pod(kube: Any) -> None:
    """The report of a pod, whoever's it is: the same document, and the plan for the sidecar's own limit."""
    found = _report(kube, _pods(kube)[0])
    assert (found.state, found.model.name) == ("Ready", "digits")
    assert (found.plan.grant_millicores, found.plan.workers, found.plan.threads_per_worker) == (150, 1, 1)
    assert found.plan.queue_depth >= 1
    assert sum(_report(kube, pod).counters.completed for pod in _pods(kube)) >= 10


def _report(kube: Any, pod: dict[str, Any]) -> Report:
    name = pod["metadata"]["name"]
    found: Report = kube.until(f"{name} reports", lambda: kube.report(name, naming.SIDECAR_PORT_ADMIN))
    return found


def _rolled_out(kube: Any, name: str = "draw") -> None:
    kube.rolled_out(f"deployment/{name}")


def _install(kube: Any, **changes: Any) -> None:
    """The resource, then the application that names it."""
    kube.apply(_resource(**changes))
    kube.until("it is rendered", lambda: _status(kube).get("sidecar"))
    kube.draw_files()
    kube.kubectl("apply", "-f", f"{EXAMPLE}/deployment.yaml")


def _expect(digit: int) -> Callable[[bytes], str | None]:
    return lambda body: None if json.loads(body)["digit"] == digit else "another digit"


def _load(url: str) -> Load:
    pairs = zip(DIGITS["rows"], DIGITS["predictions"], strict=True)
    requests = [json_request(row, wrong=_expect(digit)) for row, digit in pairs]
    return Load(f"{url}/read", requests, RATE, per_connection=1)


def _restarted_under_load(kube: Any, url: str, name: str) -> None:
    with _load(url) as load:
        kube.kubectl("rollout", "restart", f"deployment/{name}")
        _rolled_out(kube, name)
        kube.until("and serves", load.served_one_more())
    summary = load.recorder.summary()
    assert summary.lost == 0, summary
    assert summary.ok > RATE  # a second of it at least: how long a rollout takes is the machine's affair
    # Without CPU it refuses honestly; a runtime that has yet to load its model is asked by nobody.
    assert not any("loading" in _report(kube, pod).counters.rejected for pod in _pods(kube))


def test_a_label_puts_the_runtime_into_a_workload_of_others(kube: Any) -> None:
    _install(kube, resources={**CORES, "maxCPU": "300m"})
    _rolled_out(kube)
    url = kube.address("draw")
    _reads_as_the_model_does(url)
    kube.wait_condition("digits", "Ready", "True")
    assert _reason(kube, "Injectable") == "AtAdmission"
    assert not kube.find("deployment", "digits")
    _only_what_is_stated_was_added(kube)
    _sized_and_counted_as_any_pod(kube)
    _resized_in_place(kube, "digits")
    # Corefit's minimum, then an autoscaler of theirs on the same workload.
    kube.apply(_resource(scaling={**SERVICE["spec"]["scaling"], "minReplicas": 2}))
    kube.until("two replicas", lambda: kube.get("deployment", "draw")["spec"]["replicas"] == 2)
    kube.until("status knows two", lambda: _status(kube).get("readyReplicas") == 2)
    status = _status(kube)
    assert status["plan"]["workers"] == 1
    assert float(status["costPerHour"].split()[0]) > 0
    assert status["recommendedReplicas"] == 2
    assert status["staleReplicas"] == 0
    # What is put into pods changes: those that are there are stale until they are restarted, which loses nothing.
    kube.apply(_resource(objective={"percentile": 99, "latencyMilliseconds": 400}))
    kube.until("both pods are stale", lambda: _status(kube).get("staleReplicas") == 2)
    assert _reason(kube, "Progressing") == "StalePods"
    _restarted_under_load(kube, url, "draw")
    kube.until("none is stale", lambda: _status(kube)["staleReplicas"] == 0)
    kube.kubectl("autoscale", "deployment/draw", "--min=1", "--max=3", "--cpu=80%")
    kube.until(
        "the other autoscaler is named",
        lambda: kube.condition("digits", "ScalingActive")["reason"] == "OtherAutoscaler",
    )


def _only_what_is_stated_was_added(kube: Any) -> None:
    template = kube.get("deployment", "draw")["spec"]["template"]
    (pod,) = _pods(kube)
    before, after = template["spec"]["containers"], pod["spec"]["containers"]
    assert [v["name"] for v in after[0].pop("env")] == ["COREFIT_URL", "COREFIT_SOCKET"]
    mounts = after[0]["volumeMounts"]
    assert mounts.pop()["mountPath"] == naming.SOCKET_DIR
    assert after == before
    assert pod["spec"]["securityContext"] == template["spec"]["securityContext"]
    runtime = pod["spec"]["initContainers"][0]
    assert not any(
        "serviceaccount" in m["mountPath"] and m["name"] != "corefit-no-token" for m in runtime["volumeMounts"]
    )
    added = set(pod["metadata"]["annotations"]) - set(template["metadata"].get("annotations", {}))
    assert added == {naming.ANNOTATION_INJECTED, naming.ANNOTATION_ADMIN_PORT, naming.ANNOTATION_MODEL}


def _sidecar(pod: dict[str, Any]) -> tuple[str, int]:
    """CPU that the sidecar asks for, and how often it was restarted."""
    asked = next(c for c in pod["spec"]["initContainers"] if c["name"] == naming.SIDECAR)
    state = next(c for c in pod["status"]["initContainerStatuses"] if c["name"] == naming.SIDECAR)
    return asked["resources"]["limits"]["cpu"], state["restartCount"]


def _resized_in_place(kube: Any, name: str) -> None:
    """A sidecar's CPU that somebody set is put right in the pod as it runs, and the process has seen both sizes."""
    pod = _pods(kube)[0]["metadata"]["name"]

    def planned() -> int:
        report = kube.report(pod, naming.SIDECAR_PORT_ADMIN)
        return report.plan.grant_millicores if report else 0

    cpu = {"cpu": "290m"}
    containers = [{"name": naming.SIDECAR, "resources": {"requests": cpu, "limits": cpu}}]
    patch = json.dumps({"spec": {"initContainers": containers}})

    def set_by_somebody() -> bool:
        """Once more where the operator puts it right before it hears that the resource is paused."""
        if _sidecar(kube.get("pod", pod))[0] != "290m":
            kube.kubectl("patch", "pod", pod, "--subresource=resize", "--type=strategic", "-p", patch)
        return planned() == 290

    kube.kubectl("annotate", "cfis", name, f"{naming.ANNOTATION_PAUSED}=true")
    kube.until("the process has the size that was set", set_by_somebody)
    kube.kubectl("annotate", "cfis", name, f"{naming.ANNOTATION_PAUSED}-")
    kube.until("the size is put right", lambda: _sidecar(kube.get("pod", pod)) == ("150m", 0))
    kube.until("the process has it", lambda: planned() == 150)


def test_an_application_of_a_service_has_the_runtime_beside_it(kube: Any) -> None:
    kube.draw_files()
    whole = yaml.safe_load((EXAMPLE / "application.yaml").read_text())
    # One replica: a change to Manual below is refused where it would end pods.
    one = {"resources": {**CORES, "maxCPU": "300m"}, "scaling": {"maxReplicas": 1}}
    kube.apply({**whole, "spec": {**whole["spec"], **one}})
    kube.wait_condition("draw-whole", "Ready", "True")
    url = kube.address("draw-whole")
    _reads_as_the_model_does(url)
    _sized_and_counted_as_any_pod(kube)
    _restarted_under_load(kube, url, "draw-whole")
    kube.kubectl("patch", "cfis", "draw-whole", "--type=merge", "-p", '{"spec":{"scaling":{"mode":"Manual"}}}')
    _resized_in_place(kube, "draw-whole")
    assert "less than one core" in _status(kube, "draw-whole")["plan"]["why"]


def test_a_job_with_the_sidecar_completes(kube: Any) -> None:
    kube.apply(_resource(scaling={}))
    kube.until("it is rendered", lambda: _status(kube).get("sidecar"))
    script = "import os, urllib.request as u; print(u.urlopen(os.environ['COREFIT_URL'] + '/v2/models/digits').status)"
    web = WORKLOAD["spec"]["template"]["spec"]
    kept = ("image", "imagePullPolicy", "securityContext", "resources", "name")
    container = {k: v for k, v in web["containers"][0].items() if k in kept}
    kube.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "once"},
            "spec": {
                "backoffLimit": 0,
                "template": {
                    "metadata": {"labels": {INJECT: "digits"}},
                    "spec": {
                        "restartPolicy": "Never",
                        "securityContext": web["securityContext"],
                        "containers": [{**container, "command": ["python3", "-c", script]}],
                    },
                },
            },
        }
    )
    kube.kubectl("wait", "--for=condition=Complete", "job/once", kube.patience)
    assert kube.kubectl("logs", "job/once", "--container", "web").strip() == "200"


def test_a_quota_that_the_sidecar_breaks_is_named(kube: Any) -> None:
    kube.kubectl("create", "quota", "small", "--hard=requests.cpu=100m")
    _install(kube)
    kube.until("the quota is named", lambda: _reason(kube, "Ready") == "QuotaExceeded")
    assert "exceeded quota: small" in kube.condition("digits", "Ready")["message"]


def test_the_command_line_puts_in_what_admission_does(kube: Any) -> None:
    kube.apply(_resource(scaling={}))
    kube.until("it is rendered", lambda: _status(kube).get("sidecar"))
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, **WORKLOAD["spec"]["template"]}
    pod["metadata"] = {"name": "a", "labels": {INJECT: "digits"}}
    given = json.dumps(pod)
    command = ("corefit", "inject", "--namespace", kube.namespace, "-f", "-")
    by_command = kube.run(*command, stdin=given).stdout
    at_admission, ours = (
        json.loads(kube.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=text))
        for text in (given, by_command)
    )
    for made in (at_admission, ours):
        for field in ("uid", "creationTimestamp"):
            made["metadata"].pop(field, None)
    assert at_admission == ours
    assert at_admission["spec"]["initContainers"][0]["name"] == naming.SIDECAR


def test_a_crash_of_the_runtime_is_an_error_at_once_and_leaves_the_application_alone(kube: Any) -> None:
    _install(kube)
    _rolled_out(kube)
    (pod,) = _pods(kube)
    name, url = pod["metadata"]["name"], f"http://{pod['status']['podIP']}:8080"
    _reads_as_the_model_does(url)
    # By pod address: the Service leaves a pod out whose sidecar isn't ready. All the time, since it is soon back.
    crash = "import os, signal; os.kill(1, signal.SIGTERM); os.kill(1, signal.SIGTERM)"
    with _load(url) as load:
        kube.until("it serves", load.served_one_more())
        kube.kubectl("exec", name, "--container", naming.SIDECAR, "--", "python3", "-c", crash, check=False)
        kube.until("the runtime was started again", lambda: _sidecar(kube.get("pod", name))[1] >= 1)
        kube.until("and serves", load.served_one_more())
    said = load.recorder.summary().details
    assert any("can't be asked: Cannot connect" in each for each in said), said
    # One that hung would have ended by the application's own patience, which has no words for it.
    assert all(s.detail.startswith("status 502") and "can't be asked: \"" not in s.detail for s in load.lost()), said
    status = kube.get("pod", name)["status"]
    assert [c["restartCount"] for c in status["containerStatuses"]] == [0]


def test_a_name_that_is_not_there_is_warned_of_and_refused_and_a_deleted_one_leaves_its_pods(kube: Any) -> None:
    kube.apply(_resource(scaling={}))
    kube.until("it is rendered", lambda: _status(kube).get("sidecar"))
    kube.draw_files()
    said = kube.run(
        "kubectl", "-n", kube.namespace, "apply", "-f", "-", stdin=json.dumps(_workload(**{INJECT: "typo"}))
    )
    assert "Warning" in said.stderr
    assert "InferenceService of mode Sidecar named typo" in said.stderr
    refused = kube.until("its pods are refused", lambda: _replica_failure(kube))
    assert "InferenceService of mode Sidecar named typo" in refused
    kube.until("the warning knows the name", lambda: _warned(kube, WORKLOAD) == "")
    kube.apply(WORKLOAD)
    _rolled_out(kube)
    taken = _workload()
    taken["spec"]["template"]["spec"]["containers"][0]["name"] = naming.SIDECAR
    assert "as the sidecar would be" in _warned(kube, taken)
    kube.kubectl("delete", "inferenceservice", "digits")
    (pod,) = _pods(kube)
    _reads_as_the_model_does(f"http://{pod['status']['podIP']}:8080")
    kube.until("the name is warned of again", lambda: "named digits" in _warned(kube, WORKLOAD))
    kube.apply(_resource(scaling={}))
    kube.until("the pod of before is known again", lambda: _status(kube).get("readyReplicas") == 1)


def _replica_failure(kube: Any) -> str:
    conditions = kube.get("deployment", "draw").get("status", {}).get("conditions", [])
    return next((c["message"] for c in conditions if c["type"] == "ReplicaFailure"), "")


def _warned(kube: Any, workload: dict[str, Any]) -> str:
    command = ("kubectl", "-n", kube.namespace, "apply", "--dry-run=server", "-f", "-")
    return str(kube.run(*command, stdin=json.dumps(workload), check=False).stderr)
