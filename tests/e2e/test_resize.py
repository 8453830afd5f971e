"""CPU in place on a real cluster: boosts, growing with the load, no room, an operator killed, no request lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e.driving import Load

from corefit.demo.predictions import known_rows, load_requests
from corefit_core.quantity import parse_millicores
from corefit_operator.resize.node_headroom import left

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
LABEL = "serving.corefit.dev/inferenceservice"
Make = Callable[..., dict[str, Any]]


def _pod(kube: Any, name: str) -> dict[str, Any]:
    """The one pod of a service that is not on its way out; empty while there is none, or more."""
    items = kube.get("pods", "-l", f"{LABEL}={name}")["items"]
    live = [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]
    return live[0] if len(live) == 1 else {}


def _asked(pod: dict[str, Any]) -> int:
    return parse_millicores(pod["spec"]["containers"][0]["resources"]["limits"]["cpu"]) if pod else 0


def _granted(pod: dict[str, Any]) -> int:
    statuses = pod.get("status", {}).get("containerStatuses", [{}])
    cpu = statuses[0].get("resources", {}).get("limits", {}).get("cpu") if statuses else None
    return parse_millicores(cpu) if cpu else 0


def _restarts(pod: dict[str, Any]) -> int:
    return sum(status["restartCount"] for status in pod["status"]["containerStatuses"])


def _planned(kube: Any, pod: dict[str, Any]) -> int:
    """The grant that the process itself goes by, from its report."""
    report = kube.report(pod["metadata"]["name"])
    return report.plan.grant_millicores if report else 0


def _calls(kube: Any) -> float:
    """How often pods of the load model had a long queue before their round, by the operator that leads."""
    names = kube.system.kubectl("get", "pods", "--output", "name").split()
    path = f"/api/v1/namespaces/{kube.system.namespace}/pods/{{}}:9090/proxy/metrics"
    texts = [kube.kubectl("get", "--raw", path.format(name.removeprefix("pod/"))) for name in names]
    series = f'corefit_attention_calls_total{{name="load-model",namespace="{kube.namespace}"}}'
    return sum(float(line.split()[-1]) for text in texts for line in text.splitlines() if line.startswith(series))


def _reason(kube: Any, kind: str) -> str:
    return str(kube.condition("load-model", kind).get("reason", ""))


def _load(kube: Any, rate: float) -> Load:
    """On the load model, of which a request takes 8 ms."""
    requests = load_requests(known_rows(ROOT / "examples/load-model/rows.json"))
    return Load(kube.url("load-model"), requests, rate, per_connection=20)


def _resize(kube: Any, pod: dict[str, Any], millicores: int) -> None:
    cpu = {"cpu": f"{millicores}m"}
    containers = [{"name": "runtime", "resources": {"requests": cpu, "limits": cpu}}]
    patch = json.dumps({"spec": {"containers": containers}})
    kube.kubectl("patch", "pod", pod["metadata"]["name"], "--subresource=resize", "--type=strategic", "-p", patch)


def _filler(kube: Any, beside: dict[str, Any], *, leave: int) -> dict[str, Any]:
    """A pod that asks for all but so much of what a pod's node has left once those on their way out are gone."""
    name = beside["spec"]["nodeName"]
    selector = f"spec.nodeName={name},status.phase!=Succeeded,status.phase!=Failed"

    def staying() -> list[dict[str, Any]]:
        namespaces = kube.get("namespaces")["items"]
        going = {each["metadata"]["name"] for each in namespaces if "deletionTimestamp" in each["metadata"]}
        pods: list[dict[str, Any]] = kube.get("pods", "-A", "--field-selector", selector)["items"]
        leave = any("deletionTimestamp" in p["metadata"] or p["metadata"]["namespace"] in going for p in pods)
        return [] if leave else pods

    # What a pod of an earlier test gives back after the filler was measured would be room to grow.
    listed = kube.until(f"nobody is leaving {name}", staying)
    cpu = left(kube.get("node", name), listed).millicores - leave
    container = {
        "name": "filler",
        "image": beside["spec"]["containers"][0]["image"],
        "command": ["python3", "-c", "input()"],
        "stdin": True,
        "resources": {"requests": {"cpu": f"{cpu}m"}},
        "securityContext": beside["spec"]["containers"][0]["securityContext"],
    }
    spec = {
        "nodeName": name,
        "containers": [container],
        "securityContext": beside["spec"]["securityContext"],
        "terminationGracePeriodSeconds": 0,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "filler"}, "spec": spec}


def _settled(kube: Any, name: str, millicores: int) -> dict[str, Any]:
    """The pod, once it is asked for, granted, and going by so much CPU."""

    def there() -> dict[str, Any]:
        pod = _pod(kube, name)
        right = pod and _asked(pod) == _granted(pod) == millicores
        return pod if right and _planned(kube, pod) == millicores else {}

    found: dict[str, Any] = kube.until(f"{name} runs with {millicores}m", there)
    return found


def test_a_pod_starts_with_more_and_whatever_happens_to_it_ends_at_its_size(kube: Any, service: Make) -> None:
    kube.apply(service(startup={"cpu": "600m"}))
    started = kube.until("a pod is there", lambda: _pod(kube, "digits"))
    template = kube.get("deployment", "digits")["spec"]["template"]
    assert template["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "600m"
    kube.wait_condition("digits", "Ready", "True")
    pod = _settled(kube, "digits", 200)
    assert (pod["metadata"]["uid"], _restarts(pod)) == (started["metadata"]["uid"], 0)
    kube.wait_condition("digits", "Resized", "True")
    assert kube.get("inferenceservice", "digits")["status"]["cpu"] == {"wanted": "200m", "granted": "200m"}
    assert "200m" in kube.kubectl("get", "cfis", "digits")

    # An operator that was killed after its write, or before it, or while someone else wrote: all look like this.
    kube.kill_operators()
    _resize(kube, pod, 450)
    kube.system.rolled_out("deployment/corefit")
    after = _settled(kube, "digits", 200)
    assert (after["metadata"]["uid"], _restarts(after)) == (started["metadata"]["uid"], 0)


def test_a_load_that_rises_grows_the_pod_in_place_and_it_shrinks_again(kube: Any, service: Make) -> None:
    spec = service(
        "load-model",
        model={"uri": "http://models/load-model.onnx"},
        resources={"cpu": "250m", "maxCPU": "750m", "memory": "256Mi"},
        scaling={"mode": "Auto", "minReplicas": 1, "maxReplicas": 1},
    )
    kube.apply(spec)
    kube.wait_condition("load-model", "Ready", "True")
    before = _settled(kube, "load-model", 250)
    with _load(kube, 40) as load:
        kube.until("it grows", lambda: "250m ->" in kube.kubectl("get", "events", "--field-selector", "reason=Resized"))
    # More than it can be grown to: its queue is long at every look.
    with _load(kube, 150):
        kube.until("it called for attention", lambda: _calls(kube))
    after = _settled(kube, "load-model", 250)
    assert (after["metadata"]["uid"], _restarts(after)) == (before["metadata"]["uid"], 0)
    assert load.lost() == []


def test_where_the_node_has_no_room_replicas_come_instead(kube: Any, service: Make) -> None:
    spec = service(
        "load-model",
        model={"uri": "http://models/load-model.onnx"},
        resources={"cpu": "100m", "maxCPU": "1", "memory": "256Mi"},
        scaling={"mode": "Auto", "minReplicas": 1, "maxReplicas": 2},
    )
    kube.apply(spec)
    kube.wait_condition("load-model", "Ready", "True")
    pod = _settled(kube, "load-model", 100)
    # 5m are less than it takes to the next larger size, 110m. Where the other pod finds room is the scheduler's matter.
    kube.apply(_filler(kube, pod, leave=5))
    kube.kubectl("wait", "--for=condition=Ready", "pod/filler", kube.patience)
    with _load(kube, 15) as load:
        kube.until("replicas come", lambda: kube.get("deployment", "load-model")["spec"]["replicas"] == 2)
    again = kube.get("pod", pod["metadata"]["name"])
    assert (again["metadata"]["uid"], _granted(again)) == (pod["metadata"]["uid"], 100)
    # The operator's last look at the node may be ten seconds old: what it asked for by it is deferred and taken back.
    kube.until("nothing is asked that the node hasn't", lambda: _asked(kube.get("pod", pod["metadata"]["name"])) == 100)
    assert load.lost() == []


def test_a_pod_that_may_burst_uses_what_its_node_has_idle_and_says_so(kube: Any, service: Make) -> None:
    spec = service(
        "load-model",
        model={"uri": "http://models/load-model.onnx"},
        resources={"cpu": "100m", "maxCPU": "1", "growth": "Burst", "memory": "256Mi"},
        scaling={"mode": "Manual", "replicas": 1},
    )
    kube.apply(spec)
    kube.wait_condition("load-model", "Ready", "True")
    pod = kube.until("a pod is there", lambda: _pod(kube, "load-model"))
    cpu = pod["spec"]["containers"][0]["resources"]
    assert (pod["status"]["qosClass"], cpu["requests"]["cpu"], cpu["limits"]["cpu"]) == ("Burstable", "100m", "1")
    kube.until("the process goes by its limit", lambda: _planned(kube, pod) == 1000)

    def wanted() -> Any:
        report = kube.report(pod["metadata"]["name"])
        return report and report.burst and report.burst.lent_seconds + report.burst.short_seconds > 0 and report.burst

    with _load(kube, 30) as load:
        # A busy machine may have little to lend; that it was wanted is seen on any.
        assert kube.until("it wants more than its request", wanted).request_millicores == 100
        kube.until("the condition Burst says so", lambda: _reason(kube, "Burst") in ("CPUAvailable", "CPUScarce"))
    assert kube.get("inferenceservice", "load-model")["status"]["costPerHour"].startswith("0.005"), "by the request"
    assert load.lost() == []
