"""One queue in front of the pods: who gets what of connections that never end, and what changes and deaths lose."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from e2e.driving import Load, digits_requests
from e2e.killing import kill, process, restarts

pytestmark = pytest.mark.cluster
Make = Callable[..., dict[str, Any]]
RATE = 25.0
FOR_EVER = 10**9
"""Requests of a connection."""
QUEUE = {"balancing": "Queue"}
PODS = "serving.corefit.dev/inferenceservice=digits"
BALANCERS = "serving.corefit.dev/balancer=digits"


def _load(kube: Any, per_connection: int) -> Load:
    return Load(kube.url("digits"), digits_requests(1), RATE, per_connection=per_connection)


def _serving(kube: Any, service: Make, replicas: int, balancing: str) -> None:
    kube.apply(service(scaling={"mode": "Manual", "replicas": replicas}, routing={"balancing": balancing}))
    kube.until(f"{replicas} pods serve", lambda: len(_ready(kube, PODS)) == replicas)
    kube.until(f"{balancing} balances", lambda: _balances(kube) == balancing)


def _ready(kube: Any, selector: str) -> list[dict[str, Any]]:
    items = kube.get("pods", "-l", selector)["items"]
    return [p for p in items if any(c["type"] == "Ready" and c["status"] == "True" for c in _conditions(p))]


def _conditions(pod: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pod["status"].get("conditions", [])
    return found


def _balances(kube: Any) -> str:
    return str(kube.get("inferenceservice", "digits").get("status", {}).get("balancing"))


def _patch(kube: Any, spec: dict[str, Any]) -> None:
    kube.kubectl("patch", "cfis", "digits", "--type=merge", "-p", json.dumps({"spec": spec}))


def _completed(kube: Any) -> dict[str, int]:
    names = [str(pod["metadata"]["name"]) for pod in _ready(kube, PODS)]
    reports = {name: kube.report(name) for name in names}
    return {name: report.counters.completed for name, report in reports.items() if report is not None}


def _shared(kube: Any, replicas: int) -> Callable[[], bool]:
    """A condition: of 60 requests from some moment on each pod completes at least half of an equal share."""
    before: dict[str, int] = {}

    def holds() -> bool:
        now = _completed(kube)
        if len(now) < replicas or not before:
            before.update(now)
            return False
        done = {name: count - before.get(name, 0) for name, count in now.items()}
        if sum(done.values()) < 60:
            return False
        before.update(now)
        return min(done.values()) >= sum(done.values()) / replicas / 2

    return holds


def test_each_pod_has_its_share_of_connections_that_never_end(kube: Any, service: Make) -> None:
    """With Direct the pods that come after a connection get nothing of it."""
    _serving(kube, service, 1, "Direct")
    _patch(kube, {"routing": QUEUE})
    kube.until("the balancer serves", lambda: _balances(kube) == "Queue")
    with _load(kube, FOR_EVER) as load:
        kube.until("it serves", load.served_one_more())
        _patch(kube, {"scaling": {"replicas": 3}})
        kube.until("three pods serve", lambda: len(_ready(kube, PODS)) == 3)
        kube.until("each has its share", _shared(kube, 3))
        _patch(kube, {"scaling": {"replicas": 1}})
        kube.until("one is left", lambda: len(kube.get("pods", "-l", PODS)["items"]) == 1)
        kube.until("and serves", load.served_one_more())
    assert load.lost() == [], load.recorder.summary()


def test_no_request_fails_from_direct_to_queue_and_back(kube: Any, service: Make) -> None:
    _serving(kube, service, 2, "Direct")
    address = kube.get("service", "digits")["spec"]["clusterIP"]
    with _load(kube, 5) as load:
        for balancing in ("Queue", "Direct"):
            kube.until("it serves", load.served_one_more())
            _patch(kube, {"routing": {"balancing": balancing}})
            kube.until(f"{balancing} balances", lambda is_=balancing: _balances(kube) == is_)
            kube.until("and serves", load.served_one_more())
        kube.until("no balancer is left", lambda: not kube.get("pods", "-l", BALANCERS)["items"])
        kube.until("and serves", load.served_one_more())
    assert load.lost() == [], load.recorder.summary()
    assert kube.get("service", "digits")["spec"]["clusterIP"] == address


def test_no_request_fails_when_the_balancers_are_replaced(kube: Any, service: Make) -> None:
    """As in an upgrade of HAProxy or of its configuration."""
    _serving(kube, service, 2, "Queue")
    before = {p["metadata"]["uid"] for p in _ready(kube, BALANCERS)}
    with _load(kube, 5) as load:
        kube.until("it serves", load.served_one_more())
        kube.kubectl("rollout", "restart", "deployment/digits-balancer")
        kube.rolled_out("deployment/digits-balancer")

        def replaced() -> bool:
            found = {p["metadata"]["uid"] for p in kube.get("pods", "-l", BALANCERS)["items"]}
            return len(found) == 2 and not found & before

        kube.until("both are new", replaced)
        kube.until("and serve", load.served_one_more())
    assert load.lost() == [], load.recorder.summary()


def test_a_killed_balancer_loses_only_what_it_held(kube: Any, service: Make) -> None:
    _serving(kube, service, 2, "Queue")
    kube.until("both balancers serve", lambda: len(_ready(kube, BALANCERS)) == 2)
    uid = str(_ready(kube, BALANCERS)[0]["metadata"]["uid"])
    with _load(kube, 1) as load:
        kube.until("it serves", load.served_one_more())
        kill(process(uid, "haproxy"))
        kube.until("the container was restarted", lambda: restarts(kube, BALANCERS) >= 1)
        kube.until("both balancers serve", lambda: len(_ready(kube, BALANCERS)) == 2)
        kube.until("and answer", load.served_one_more())
    print(f"\nkill -9 of a balancer under {RATE:g} requests/s: {load.recorder.summary()}")
    # Refused connections were sent nothing: until the kubelet has seen the end, half of the new ones come here.
    broken = [s for s in load.lost() if "Cannot connect" not in s.detail]
    assert len(broken) <= 1, broken


def test_no_request_is_lost_with_a_pod_that_is_killed(kube: Any, service: Make) -> None:
    """With Direct what was in flight there breaks, and connections are refused until the kubelet has seen the end."""
    _serving(kube, service, 3, "Queue")
    kube.until("both balancers serve", lambda: len(_ready(kube, BALANCERS)) == 2)
    uid = str(_ready(kube, PODS)[0]["metadata"]["uid"])
    with _load(kube, FOR_EVER) as kept, _load(kube, 1) as renewed:
        for load in (kept, renewed):
            kube.until("it serves", load.served_one_more())
        kill(process(uid, "corefit_runtime"))
        kube.until("the container was restarted", lambda: restarts(kube, PODS) >= 1)
        kube.until("all serve", lambda: len(_ready(kube, PODS)) == 3)
        for load in (kept, renewed):
            kube.until("and answer", load.served_one_more())
    for load, kind in ((kept, "kept connections"), (renewed, "a connection a request")):
        print(f"\nkill -9 of a pod under {RATE:g} requests/s, {kind}: {load.recorder.summary()}")
    assert kept.lost() + renewed.lost() == []


def test_where_a_quota_forbids_balancers_the_service_serves_without_and_says_why(kube: Any, service: Make) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}}
    _serving(kube, service, 2, "Direct")
    kube.apply({**quota, "spec": {"hard": {"pods": str(len(kube.get("pods")["items"]))}}})
    _patch(kube, {"routing": QUEUE})
    kube.until("the reason is said", lambda: kube.condition("digits", "BalancerReady").get("reason") == "QuotaExceeded")
    assert _balances(kube) == "Direct"
    assert "exceeded quota" in kube.condition("digits", "BalancerReady")["message"]
    with _load(kube, 5) as load:
        kube.until("requests are answered", load.served_one_more())
