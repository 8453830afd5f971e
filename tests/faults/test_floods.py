"""What one namespace may cost: its resources, however many, large or wrong, hold up none of another's."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from faults.api import JSON
from faults.arena import Arena, Lane, until

from corefit_core.naming import GROUP, KIND, PLURAL, VERSION

pytestmark = pytest.mark.cluster
LIMIT_MB = 512
"""The memory limit of the operator by the chart."""
MANY = 300
LARGE_BYTES = 1_350_000
"""Of JSON: etcd takes 1.5 MiB."""


@contextmanager
def _stranger(arena: Arena, label: str) -> Iterator[str]:
    """A namespace of somebody else's that the same operator watches."""
    namespace = f"{label}-{time.time_ns() % 10**9}"
    arena.api("POST", "api/v1/namespaces", {"metadata": {"name": namespace}})
    yield namespace
    arena.api("DELETE", f"api/v1/namespaces/{namespace}", {}, JSON)


def _create(arena: Arena, namespace: str, name: str, spec: dict[str, Any]) -> None:
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {"name": name}}
    base = {"model": {"uri": "http://models/digits.onnx"}}
    arena.api("POST", f"apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}", {**body, "spec": {**base, **spec}})


def _reason(arena: Arena, namespace: str, name: str, kind: str) -> str:
    found = arena.api.get(f"apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{name}")
    known = {c["type"]: c["reason"] for c in found.get("status", {}).get("conditions", ())}
    return str(known.get(kind, ""))


def _megabytes(lane: Lane, field: str) -> float:
    lines = Path(f"/proc/{lane.operator.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) / 1024


def _change_s(lane: Lane, millicores: int) -> float:
    """Seconds from a change of a resource to that of its Deployment."""
    path = f"apis/apps/v1/namespaces/{lane.namespace}/deployments/digits"

    def changed() -> bool:
        spec = lane.arena.api.find(path).get("spec")
        cpu = spec["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] if spec else ""
        return bool(cpu == f"{millicores}m")

    began = time.monotonic()
    lane.put(resources={"cpu": f"{millicores}m", "memory": "256Mi"})
    until("the change is carried out", changed, seen=lane.seen, again_s=0.02)
    return time.monotonic() - began


def _large(kind: str) -> dict[str, Any]:
    if kind == "one text":
        return {"text": "x" * LARGE_BYTES}
    return {"list": [{}] * (LARGE_BYTES // len(json.dumps({}) + ","))}


@pytest.mark.parametrize("kind", ["one text", "many parts"])
def test_five_large_resources_leave_the_operator_its_memory(arena: Arena, kind: str) -> None:
    """They took it from 87 to 627 MB, over its limit."""
    with _stranger(arena, "large") as namespace, arena.lane("honest", "--namespace", namespace) as lane:
        quiet = [_change_s(lane, 200 + number) for number in range(3)]
        before = _megabytes(lane, "VmRSS")
        for number in range(5):
            _create(arena, namespace, f"large-{number}", {"template": {"affinity": _large(kind)}})
        for number in range(5):
            until(
                "it is said to be too large",
                lambda name=f"large-{number}": _reason(arena, namespace, name, "Ready") == "InvalidSpec",
                seen=lane.seen,
            )
        times = [_change_s(lane, 300 + number) for number in range(5)]
        lane.restart()  # what is listed at a start is all there at once
        first = _change_s(lane, 400)
        times += [_change_s(lane, 401 + number) for number in range(5)]
        after, peak = _megabytes(lane, "VmRSS"), _megabytes(lane, "VmHWM")
        print(f"\nfive large ({kind}): {before:.0f} MB before, {after:.0f} after a restart, {peak:.0f} at most")
        median, most = sorted(times)[len(times) // 2], max(times)
        print(f"honest changes {max(quiet):.2f} s before, with them {median:.2f} s in the middle, {most:.2f} s at most")
        print(f"{first:.2f} s for the one that waits for the restart")
        assert peak < LIMIT_MB


def test_a_resource_that_nests_deep_ends_no_watch(arena: Arena) -> None:
    """One of 2,000 levels ended the process, and again after each restart."""
    with _stranger(arena, "deep") as namespace, arena.lane("honest", "--namespace", namespace) as lane:
        text = '{"a":' * 9_000 + "1" + "}" * 9_000
        spec = '{"model": {"uri": "http://m/a.onnx"}, "template": {"affinity": {"x": ' + text + "}}}"
        body = (
            f'{{"apiVersion": "{GROUP}/{VERSION}", "kind": "{KIND}", "metadata": {{"name": "deep"}}, "spec": {spec}}}'
        )
        path = f"apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}"
        arena.api.send("POST", path, body.encode())
        started = len(lane.operator.started)
        _change_s(lane, 300)
        assert len(lane.operator.started) == started
        lane.restart()
        _change_s(lane, 400)
        assert len(lane.operator.started) == started + 1


def test_many_resources_of_one_namespace_hold_up_none_of_another(arena: Arena) -> None:
    """300 of them made a change take 225 s."""
    targets = ["there-is-none", "stranger"]
    with _stranger(arena, "many") as namespace, arena.lane("honest", "--namespace", namespace) as lane:
        quiet = [_change_s(lane, 200 + number) for number in range(5)]

        def create(number: int) -> None:
            scaling = {"targetRef": {"kind": "Deployment", "name": targets[number % 2]}}
            _create(arena, namespace, f"bad-{number}", {"mode": "Sidecar", "scaling": scaling})

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(create, range(MANY)))
        times = [_change_s(lane, 300 + number) for number in range(20)]
        print(f"\n{MANY} bad resources: honest changes {max(quiet):.2f} s before, with them ", end="")
        print(f"{sorted(times)[len(times) // 2]:.2f} s in the middle, {max(times):.2f} s at most")
