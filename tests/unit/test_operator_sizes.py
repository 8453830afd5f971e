"""What size each pod is to have: starts, boosts, decisions, modes; and what a pod says of its size."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.naming import CONTAINER, SIDECAR
from corefit_core.recommender import Decision
from corefit_core.report import ModelIdentity, PlanInForce, Report
from corefit_core.spec.decode import decode
from corefit_operator.kube import pod_cpu
from corefit_operator.kube.pods import Pod, decode_pod
from corefit_operator.resize import sizes
from corefit_operator.resize.sizes import SizingInput

RANGE = {"cpu": "250m", "maxCPU": "2"}


def _pod(name: str, cpu: str, given: str = "", *, ready: bool = True, pending: str = "", **more: Any) -> Pod:
    conditions = [{"type": "Ready", "status": str(ready)}]
    if pending:
        conditions.append({"type": "PodResizePending", "status": "True", "reason": pending, "message": "no room"})
    container = {"name": CONTAINER, "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}}
    status = {"name": CONTAINER, "resources": {"limits": {"cpu": given or cpu}}}
    return decode_pod(
        {
            "metadata": {"name": name, "uid": name, **more},
            "spec": {"nodeName": "node", "containers": [{"name": "other"}, container]},
            "status": {"conditions": conditions, "containerStatuses": [status]},
        }
    )


def _decision(grants: dict[str, int]) -> Decision:
    return Decision(replicas=1, millicores=500, grants=grants, uncapped=1, reason="LoadUp", message="busy")


def _steps(
    pods: list[Pod],
    grants: dict[str, int] | None = None,
    *,
    mode: str = "Auto",
    start: int = 250,
    resources: dict[str, Any] | None = None,
) -> dict[str, tuple[int, int]]:
    spec = {"model": {"uri": "http://m/a.onnx"}, "resources": resources or RANGE, "scaling": {"mode": mode}}
    service = decode({"metadata": {"name": "a", "namespace": "n", "uid": "u"}, "spec": spec})
    decision = _decision(grants) if grants is not None else None
    found = sizes.steps(SizingInput(spec=service, pods=tuple(pods), decision=decision, start=start))
    return {step.pod.metadata.name: (step.before, step.millicores) for step in found}


def test_what_a_node_holds_for_a_pod_is_its_request_where_the_limit_is_more() -> None:
    plain, bursting = _pod("a", "1", given="500m"), _pod("b", "2")
    bursting = msgspec.structs.replace(bursting, spec=_requesting(bursting, "250m"))
    assert (pod_cpu.requested(plain), pod_cpu.requested(bursting)) == (500, 250)


def _requesting(pod: Pod, cpu: str) -> Any:
    other, own = pod.spec.containers
    resources = msgspec.structs.replace(own.resources, requests={"cpu": cpu})
    return msgspec.structs.replace(pod.spec, containers=(other, msgspec.structs.replace(own, resources=resources)))


def test_a_service_that_bursts_is_never_resized() -> None:
    burst = {"cpu": "250m", "maxCPU": "2", "growth": "Burst"}
    service = decode({"metadata": {"name": "a"}, "spec": {"model": {"uri": "http://m/a.onnx"}, "resources": burst}})
    assert (service.policy.cpu_range, service.millicores, service.burst_millicores) == (None, 250, 2000)
    assert (service.plan.workers, service.policy.workers_per_pod, service.policy.millicores_per_pod) == (2, 2, 250)


def test_each_pod_is_brought_to_what_was_decided_for_it() -> None:
    pods = [_pod("a", "250m"), _pod("b", "1"), _pod("c", "500m")]
    assert _steps(pods, {"a": 1000, "b": 500, "c": 500}) == {"b": (1000, 500), "a": (250, 1000)}


def test_what_gives_back_comes_before_what_needs_room() -> None:
    assert list(_steps([_pod("a", "250m"), _pod("b", "2")], {"a": 2000, "b": 250})) == ["b", "a"]


def test_a_decision_never_leaves_the_range() -> None:
    assert _steps([_pod("a", "500m")], {"a": 9000}) == {"a": (500, 2000)}
    assert _steps([_pod("a", "500m")], {"a": 1}) == {"a": (500, 250)}


def test_while_nothing_is_decided_pods_stay_and_new_ones_become_as_their_siblings() -> None:
    assert _steps([_pod("a", "1"), _pod("b", "1500m")]) == {}
    assert _steps([_pod("new", "250m"), _pod("old", "1")], {}) == {"new": (250, 1000)}
    assert _steps([_pod("new", "2"), _pod("old", "1")], {}, start=2000) == {"new": (2000, 1000)}
    assert _steps([_pod("new", "2")], {}, start=2000) == {"new": (2000, 250)}


def test_without_a_range_only_what_a_pod_had_for_its_start_is_taken_back() -> None:
    assert _steps([_pod("a", "1500m")], {}, start=1500, resources={"cpu": "500m"}) == {"a": (1500, 500)}
    assert _steps([_pod("a", "500m")], {}, start=1500, resources={"cpu": "500m"}) == {}


def test_a_range_that_was_taken_away_shrinks_what_had_grown() -> None:
    assert _steps([_pod("a", "2")], {"a": 2000}, resources={"cpu": "250m"}) == {"a": (2000, 250)}


def test_manual_brings_every_pod_to_the_resources_cpu_and_recommend_takes_back_the_boost_alone() -> None:
    pods = [_pod("a", "2"), _pod("b", "1")]
    assert _steps(pods, {"a": 1000, "b": 2000}, mode="Manual") == {"a": (2000, 250), "b": (1000, 250)}
    assert _steps(pods, {"a": 1000, "b": 2000}, mode="Recommend", start=1000) == {"b": (1000, 250)}


def test_a_pod_of_another_make_is_left_alone() -> None:
    bare = decode_pod({"metadata": {"name": "a", "uid": "a"}, "spec": {"containers": [{"name": "x"}]}})
    assert _steps([bare], {"a": 1000}) == {}


def test_a_pod_starts_until_the_kubelet_or_its_own_report_says_that_it_serves() -> None:
    plan = PlanInForce(grant_millicores=250, workers=1, threads_per_worker=1, queue_depth=1)
    states = {"b": "Ready", "c": "Loading"}
    reports = {
        uid: Report(boot_id="x", state=state, model=ModelIdentity(name="m"), plan=plan, clock_s=1)  # type: ignore[arg-type]
        for uid, state in states.items()
    }
    pods = [
        _pod("a", "1"),
        _pod("b", "1", ready=False),
        _pod("c", "1", ready=False),
        _pod("d", "1", ready=False),
        _pod("e", "1", deletionTimestamp="2026-01-01T00:00:00Z"),
    ]
    assert [pod.metadata.name for pod in sizes.started(pods, reports)] == ["a", "b"]


def test_what_is_asked_what_is_granted_and_why_not() -> None:
    pod = _pod("a", "2", "500m", pending="Deferred")
    assert (pod_cpu.desired(pod), pod_cpu.actual(pod)) == (2000, 500)
    assert pod_cpu.resize_pending(pod) == pod_cpu.ResizePending(reason="Deferred", message="no room")
    assert pod_cpu.resize_pending(_pod("a", "1")) is None
    unscheduled = decode_pod({"metadata": {"name": "a"}, "spec": {"containers": [{"name": CONTAINER}]}})
    assert (pod_cpu.desired(unscheduled), pod_cpu.actual(unscheduled)) == (0, 0)


def test_a_resize_keeps_request_and_limit_equal_and_finds_the_sidecar() -> None:
    alone = pod_cpu.resize_patch(_pod("a", "1"), 1500)
    cpu = {"cpu": "1500m"}
    assert alone == {"containers": [{"name": CONTAINER, "resources": {"requests": cpu, "limits": cpu}}]}
    spec = {"containers": [{"name": "app"}], "initContainers": [{"name": SIDECAR, "resources": {"limits": cpu}}]}
    beside = decode_pod({"metadata": {"name": "a"}, "spec": spec})
    assert pod_cpu.desired(beside) == 1500
    assert pod_cpu.resize_patch(beside, 250)["initContainers"][0]["name"] == SIDECAR


def test_an_applications_container_that_is_called_as_the_runtime_alone_is_not_taken_for_it() -> None:
    """Its CPU was read as the runtime's, which then was never resized."""
    theirs = {"name": CONTAINER, "resources": {"limits": {"cpu": "3"}}}
    ours = {"name": SIDECAR, "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}
    given = {"limits": {"cpu": "1500m"}}
    status = {
        "containerStatuses": [{"name": CONTAINER, "resources": {"limits": {"cpu": "3"}}}],
        "initContainerStatuses": [{"name": SIDECAR, "resources": given}],
    }
    spec = {"containers": [theirs], "initContainers": [ours]}
    pod = decode_pod({"metadata": {"name": "a"}, "spec": spec, "status": status})
    assert (pod_cpu.desired(pod), pod_cpu.actual(pod), pod_cpu.requested(pod)) == (2000, 1500, 1000)


@pytest.mark.parametrize(("millicores", "text"), [([], ""), ([250, 250], "250m"), ([1000, 250], "250m-1")])
def test_sizes_as_people_read_them(millicores: list[int], text: str) -> None:
    assert sizes.span_text(millicores) == text


@given(st.lists(st.integers(100, 4000), max_size=6), st.lists(st.integers(0, 9000), max_size=6))
def test_whatever_is_decided_every_step_ends_within_the_range_and_a_second_look_asks_for_nothing(
    now: list[int], wanted: list[int]
) -> None:
    grants = {f"p{i}": w for i, w in enumerate(wanted)}
    found = _steps([_pod(f"p{i}", f"{m}m") for i, m in enumerate(now)], grants)
    assert all(250 <= to <= 2000 for _, to in found.values())
    named = [(i, m) for i, m in enumerate(now) if f"p{i}" in grants]
    after = [_pod(f"p{i}", f"{found.get(f'p{i}', (0, m))[1]}m") for i, m in named]
    assert _steps(after, grants) == {}
