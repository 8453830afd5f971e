"""Requests during rollouts, scale-downs, a node's drain and a kill -9: open-loop load, and what became of each.

`ROLLOUTS=100` makes as many changes in one run (`make bench-rollouts`); without it there are ten.
"""

import itertools
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from e2e.driving import Load, digits_requests
from e2e.killing import kill, process, restarts

from corefit.load import Kind

pytestmark = pytest.mark.cluster
PODS = "serving.corefit.dev/inferenceservice"
Make = Callable[..., dict[str, Any]]
CHANGES = int(os.environ.get("ROLLOUTS", "10"))
RATE = 25.0
"""Requests a second: a digits request takes under a millisecond of CPU, so pods of a fifth of a core stay calm, and
every second of every change sees two dozen requests."""
OBJECTIVE_MS = 500


def _load(kube: Any, *, per_connection: int = 5) -> Load:
    return Load(kube.url("digits"), digits_requests(20), RATE, per_connection=per_connection)


def _figures(load: Load) -> str:
    found = load.recorder.summary()
    quantiles = [f"{q * 1000:.0f}" if q is not None else "-" for q in (found.p50_s, found.p99_s, found.max_s)]
    late = (found.late_p99_s or 0.0) * 1000
    return (
        f"{found.sent} requests, {found.ok} answered, {found.shed} refused with 503, {found.lost} lost; "
        f"p50/p99/max {'/'.join(quantiles)} ms; generator late p99 {late:.0f} ms; {found.details}"
    )


def _complete(kube: Any, replicas: int, generation: int) -> Callable[[], bool]:
    """A condition: the change has been seen, every pod is of the newest template, and none of the old is left."""

    def holds() -> bool:
        status = kube.get("inferenceservice", "digits").get("status", {})
        progressing = next((c for c in status.get("conditions", ()) if c["type"] == "Progressing"), {})
        current = progressing.get("observedGeneration") == generation and progressing.get("reason") == "Complete"
        pods = kube.get("pods", "-l", PODS)["items"] if current else []
        ready = [p for p in pods if any(c["type"] == "Ready" and c["status"] == "True" for c in _conditions(p))]
        return current and len(pods) == len(ready) == replicas

    return holds


def _conditions(pod: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pod["status"].get("conditions", [])
    return found


def _changes(number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Changes of the spec, each a patch: half of them rollouts for different causes, half of them scalings."""
    cycle = itertools.cycle(["model", "down", "resources", "up", "objective", "down", "template", "up", "down", "up"])
    for index, what in enumerate(itertools.islice(cycle, number)):
        replicas = {"down": 1, "up": 3}.get(what)
        yield (
            what,
            {
                "model": {"model": {"uri": f"http://models/digits.onnx?v={index}"}},
                "resources": {"resources": {"cpu": f"{200 + index % 7 + 1}m"}},
                "objective": {"objective": {"latencyMilliseconds": OBJECTIVE_MS + index + 1}},
                "template": {"template": {"annotations": {"change": str(index)}}},
            }.get(what, {"scaling": {"replicas": replicas}}),
        )


def _patch(kube: Any, spec: dict[str, Any]) -> int:
    """Changes the resource; its generation afterwards."""
    kube.kubectl("patch", "cfis", "digits", "--type=merge", "-p", json.dumps({"spec": spec}))
    return int(kube.get("inferenceservice", "digits")["metadata"]["generation"])


def _serving(kube: Any, service: Make, replicas: int) -> None:
    kube.apply(service(scaling={"mode": "Manual", "replicas": replicas}))
    kube.until(f"{replicas} pods serve", _complete(kube, replicas, 1))


@pytest.mark.timeout(3600 + 120 * CHANGES)
def test_no_request_fails_in_rollouts_and_scalings(kube: Any, service: Make, record_property: Any) -> None:
    replicas, done = 3, Counter[str]()
    _serving(kube, service, replicas)
    with _load(kube) as load:
        for what, spec in _changes(CHANGES):
            replicas = spec.get("scaling", {}).get("replicas", replicas)
            before = len(load.lost())
            kube.until(f"{what} is complete", _complete(kube, replicas, _patch(kube, spec)))
            kube.until("and serves", load.served_one_more())
            done[what] += 1
            assert len(load.lost()) == before, (what, [s.detail for s in load.lost()], _figures(load))
    print(f"\n{CHANGES} changes under {RATE:g} requests/s ({dict(done)}): {_figures(load)}")
    assert load.lost() == [], _figures(load)


FORWARDER = """
import http.server, os, urllib.error, urllib.request


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {"Content-Type": self.headers["Content-Type"]}
        request = urllib.request.Request(os.environ["COREFIT_URL"] + self.path, body, headers)
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            said = answer.read()
        self.send_response(answer.status)
        for name in ("Content-Length", "Retry-After"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("", 9000), Handler).serve_forever()
"""


def _forwarder(port: int) -> dict[str, Any]:
    """An application that hands each request on to the runtime beside it."""
    return {
        "port": port,
        "containers": [
            {
                "name": "web",
                "image": "corefit.local/operator:0.1.0",
                "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "-c", FORWARDER.replace("9000", str(port))],
                "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
                "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                "resources": {
                    "requests": {"cpu": "100m", "memory": "64Mi"},
                    "limits": {"memory": "128Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
        "terminationGracePeriodSeconds": 10,
    }


def test_no_request_fails_when_an_application_comes_moves_to_another_port_and_goes(kube: Any, service: Make) -> None:
    """Pods that listen elsewhere serve side by side while each is rolled out."""
    _serving(kube, service, 1)
    # A connection a request, which the application says as well, or the client would take it for one to use again.
    with _load(kube, per_connection=1) as load:
        for application in (_forwarder(9000), _forwarder(9001), None):
            ports = application and application["port"]
            kube.until(f"rolled out with {ports}", _complete(kube, 1, _patch(kube, {"application": application})))
            kube.until("and serves", load.served_one_more())
            assert load.lost() == [], (ports, _figures(load))
    print(f"\nan application comes, moves and goes under {RATE:g} requests/s: {_figures(load)}")
    assert load.lost() == [], _figures(load)


def test_no_request_fails_when_the_node_is_drained(kube: Any, service: Make) -> None:
    """There is one node: the drain waits at the disruption budget until there is room again, as on a full cluster."""
    _serving(kube, service, 2)
    node = kube.get("nodes")["items"][0]["metadata"]["name"]
    before = _pod_uids(kube)
    options = ("--pod-selector=serving.corefit.dev/inferenceservice=digits", "--delete-emptydir-data", "--force")
    with _load(kube) as load:
        drain = threading.Thread(target=kube.kubectl, args=("drain", node, *options, kube.patience))
        drain.start()
        try:
            kube.until("a pod waits for a node", lambda: _reason(kube) == "Unschedulable")
            assert len(_pod_uids(kube) & before) == 1, "the budget keeps one pod serving"
        finally:
            kube.kubectl("uncordon", node)
        drain.join()
        kube.until("all are new", lambda: not _pod_uids(kube) & before and _complete(kube, 2, 1)())
        kube.until("and serve", load.served_one_more())
    print(f"\nkubectl drain under {RATE:g} requests/s: {_figures(load)}")
    assert load.lost() == [], _figures(load)


def _reason(kube: Any) -> str:
    return str(kube.condition("digits", "Progressing").get("reason"))


def _pod_uids(kube: Any) -> set[str]:
    items = kube.get("pods", "-l", PODS)["items"]
    return {p["metadata"]["uid"] for p in items if "deletionTimestamp" not in p["metadata"]}


def test_a_killed_process_loses_only_what_it_held(kube: Any, service: Make) -> None:
    """Beside what was in flight, connections are refused until the kubelet has seen the end: nothing was sent on them,
    so a client may try again without a doubt."""
    _serving(kube, service, 2)
    uid = min(_pod_uids(kube))
    with _load(kube, per_connection=1) as load:
        kube.until("it serves", load.served_one_more())
        pid = process(uid, "corefit_runtime")
        killed_s = load.now_s
        kill(pid)
        gone_s = load.now_s
        kube.until("the container was restarted", lambda: restarts(kube, PODS) >= 1)
        kube.until("both serve", _complete(kube, 2, 1))
        kube.until("and answer", load.served_one_more())
    broken = [s for s in load.lost() if "Cannot connect" not in s.detail]
    refused = len(load.lost()) - len(broken)
    print(f"\nkill -9 under {RATE:g} requests/s: {len(broken)} broken, {refused} refused; {_figures(load)}")
    assert [s for s in broken if s.sent_s > gone_s or s.done_s < killed_s] == []
    assert not any(s.kind is Kind.WRONG for s in load.lost())
