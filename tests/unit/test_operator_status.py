"""What a status says for what was found, and what is said of pods that don't serve."""

from typing import Any

import msgspec
import pytest

from corefit_core.api_status import Condition, CpuStatus, InferenceServiceStatus
from corefit_core.errors import InvalidInput
from corefit_core.recommender import Decision
from corefit_core.report import ModelIdentity, PlanInForce, Report
from corefit_core.service import Service, decode
from corefit_operator import diagnosis, objects, status
from corefit_operator.diagnosis import Problem
from corefit_operator.sizes import Sized
from corefit_operator.status import Found

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def _service(**spec: Any) -> Service:
    meta = {"name": "a", "namespace": "n", "uid": "u", "generation": 4}
    return decode({"metadata": meta, "spec": {"model": {"uri": "http://m/a.onnx"}, **spec}})


def _pod(name: str = "p", *, ready: bool = False, **state: Any) -> objects.Pod:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}, *state.pop("conditions", [])]
    return objects.pod({"metadata": {"name": name, "uid": name}, "status": {"conditions": conditions, **state}})


def _deployment(replicas: int = 1, **state: Any) -> objects.Child:
    whole = {
        "observedGeneration": 1,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "availableReplicas": replicas,
    } | state
    raw = {"metadata": {"name": "a", "generation": 1}, "spec": {"replicas": replicas}, "status": whole}
    return objects.child("Deployment", raw)


def _found(**fields: Any) -> Found:
    given = {"deployment": _deployment(), "pods": (), "reports": {}, "decision": None, "desired": 1, **fields}
    return Found(**given)


def _report(**fields: Any) -> Report:
    plan = PlanInForce(grant_millicores=2000, workers=2, threads_per_worker=1, queue_depth=9, why="measured")
    given = {"boot_id": "b", "state": "Ready", "model": ModelIdentity(name="a"), "plan": plan, "clock_s": 1.0, **fields}
    return Report(**given)


def _conditions(found: Found, service: Service | None = None) -> dict[str, Condition]:
    new = status.of(service or _service(), found, InferenceServiceStatus(), NOW)
    return {c.type: c for c in new.conditions}


def test_a_service_that_serves() -> None:
    pods = (_pod(ready=True),)
    decision = Decision(replicas=1, uncapped=1, reason="Steady", message="all well", latency_s=0.01234)
    new = status.of(
        _service(), _found(pods=pods, reports={"p": _report()}, decision=decision), InferenceServiceStatus(), NOW
    )
    assert [(c.type, c.status) for c in new.conditions] == [
        ("Ready", "True"),
        ("Progressing", "True"),
        ("Sized", "True"),
        ("ScalingActive", "True"),
    ]
    assert (new.observed_generation, new.replicas, new.ready_replicas) == (4, 1, 1)
    assert new.latency == "p99 12ms/100ms"
    assert new.plan != msgspec.UNSET
    assert new.plan.shape == "2x1"


def test_a_pod_that_has_only_just_become_ready_does_not_serve_yet() -> None:
    found = _found(pods=(_pod(ready=True),), deployment=_deployment(availableReplicas=0))
    assert _conditions(found)["Ready"].reason == "Starting"


def test_a_rollout_that_fails_leaves_ready_true_and_says_why() -> None:
    problem = Problem(reason="ModelInvalid", message="not ONNX.")
    pods = (_pod("old", ready=True), _pod("new"))
    found = _found(pods=pods, problem=problem, deployment=_deployment(1, updatedReplicas=0))
    conditions = _conditions(found)
    assert conditions["Ready"].status == "True"
    assert (conditions["Progressing"].status, conditions["Progressing"].reason) == ("False", "ModelInvalid")
    assert "go on serving" in conditions["Progressing"].message


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (_found(), "Starting"),
        (_found(desired=0), "ScaledToZero"),
        (_found(problem=Problem(reason="Unschedulable", message="x")), "Unschedulable"),
        (_found(refused=Problem(reason="NameTaken", message="x")), "NameTaken"),
    ],
)
def test_why_nothing_serves(found: Found, reason: str) -> None:
    ready = _conditions(found)["Ready"]
    assert (ready.status, ready.reason) == ("False", reason)


@pytest.mark.parametrize(("mode", "reason"), [("Manual", "Manual"), ("Recommend", "RecommendOnly")])
def test_modes_in_which_nothing_is_scaled_say_so(mode: str, reason: str) -> None:
    scaling = _conditions(_found(), _service(scaling={"mode": mode}))["ScalingActive"]
    assert (scaling.status, scaling.reason) == ("False", reason)


def test_holding_without_reports_is_not_scaling() -> None:
    decision = Decision(replicas=1, uncapped=None, reason="NoReports", message="nothing known")
    assert _conditions(_found(decision=decision))["ScalingActive"].status == "False"


def test_transition_times_change_with_the_status_only() -> None:
    first = status.of(_service(), _found(), InferenceServiceStatus(), NOW)
    again = status.of(_service(), _found(), first, LATER)
    assert again == first
    served = status.of(_service(), _found(pods=(_pod(ready=True),)), first, LATER)
    times = {c.type: c.last_transition_time for c in served.conditions}
    assert (times["Ready"], times["Progressing"]) == (LATER, NOW)


def test_figures_and_the_reasons_that_follow_them_alone_are_not_urgent() -> None:
    pods = (_pod(ready=True),)
    old, new = (
        status.of(
            _service(),
            _found(pods=pods, decision=Decision(replicas=1, uncapped=1, reason=why, message=f"{s}", latency_s=s)),
            InferenceServiceStatus(),
            NOW,
        )
        for why, s in (("Steady", 0.01), ("StabilisationWindow", 0.02))
    )
    assert old != new
    assert not status.urgent(new, msgspec.structs.replace(old, last_decision=new.last_decision))


def test_what_cannot_be_read_keeps_what_was_said_of_serving() -> None:
    before = status.of(_service(), _found(pods=(_pod(ready=True),)), InferenceServiceStatus(), NOW)
    after = status.of_unreadable(InvalidInput("spec.x: wrong"), 5, before, LATER)
    conditions = {c.type: c for c in after.conditions}
    assert conditions["Ready"].status == "True"
    assert (conditions["Sized"].status, conditions["Sized"].reason) == ("False", "InvalidSpec")
    assert "spec.x: wrong" in conditions["Sized"].message


def test_a_status_survives_the_api_server_and_a_broken_one_counts_as_none() -> None:
    new = status.of(_service(), _found(), InferenceServiceStatus(), NOW)
    assert status.parse(status.encode(new)) == new
    assert status.parse({"replicas": "many"}) == InferenceServiceStatus()


def _container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "runtime", "restartCount": 2, **state}]}


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (_pod(**_container(state={"waiting": {"reason": "ImagePullBackOff"}})), "ImagePullFailed"),
        (_pod(**_container(state={"waiting": {"reason": "CreateContainerConfigError"}})), "ContainerNotStarted"),
        (_pod(**_container(state={"waiting": {"reason": "CrashLoopBackOff"}})), "CrashLoop"),
        (
            _pod(
                **_container(
                    state={"waiting": {"reason": "CrashLoopBackOff"}},
                    lastState={"terminated": {"reason": "OOMKilled", "exitCode": 137}},
                )
            ),
            "OutOfMemory",
        ),
        (
            _pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient cpu"}]),
            "Unschedulable",
        ),
        (_pod(phase="Failed", reason="Evicted", message="low on memory"), "Evicted"),
    ],
)
def test_pods_that_do_not_serve_are_diagnosed(pod: objects.Pod, reason: str) -> None:
    found = diagnosis.problem([pod], {}, None)
    assert found is not None
    assert found.reason == reason
    assert "p" in found.message


def test_what_the_pod_says_itself_comes_first_and_is_cut() -> None:
    report = _report(state="Failed", reason="ChecksumMismatch", message="y" * 5000)
    found = diagnosis.problem(
        [_pod(**_container(state={"waiting": {"reason": "CrashLoopBackOff"}}))], {"p": report}, None
    )
    assert found is not None
    assert found.reason == "ChecksumMismatch"
    assert len(found.message) <= diagnosis.MESSAGE_MAX
    assert "sha256" in found.message


def test_a_reason_that_is_no_word_is_not_repeated() -> None:
    found = diagnosis.problem([_pod()], {"p": _report(state="Failed", reason="no such; reason", message="m")}, None)
    assert found is not None
    assert found.reason == "ModelError"


@pytest.mark.parametrize(
    ("message", "reason"), [("exceeded quota: q", "QuotaExceeded"), ("violates PodSecurity", "PodsRefused")]
)
def test_pods_that_are_never_made_are_explained(message: str, reason: str) -> None:
    deployment = _deployment(conditions=[{"type": "ReplicaFailure", "status": "True", "message": message}])
    found = diagnosis.problem([], {}, deployment)
    assert found is not None
    assert found.reason == reason


def test_a_rollout_that_is_stuck_is_said() -> None:
    stuck = {"type": "Progressing", "status": "False", "message": 'ReplicaSet "a-1" has timed out progressing.'}
    deployment = _deployment(updatedReplicas=0, conditions=[stuck])
    found = _found(deployment=deployment, problem=diagnosis.problem([_pod()], {}, deployment))
    progressing = _conditions(found)["Progressing"]
    assert (progressing.status, progressing.reason) == ("False", "ProgressDeadlineExceeded")


@pytest.mark.parametrize(
    ("strategy", "updated", "rolling"),
    [
        ({}, 2, True),
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}, 1, False),
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}, 0, True),
        ({"type": "OnDelete"}, 0, False),
    ],
)
def test_pods_that_a_stateful_set_keeps_back_are_no_rollout(
    strategy: dict[str, Any], updated: int, rolling: bool
) -> None:
    spec = {"replicas": 3, **({"updateStrategy": strategy} if strategy else {})}
    done = {"observedGeneration": 1, "replicas": 3, "updatedReplicas": updated, "availableReplicas": 3}
    raw = {"metadata": {"name": "a", "generation": 1}, "spec": spec, "status": done}
    assert objects.child("StatefulSet", raw).rolling_out is rolling


def test_ready_pods_have_no_problem() -> None:
    assert diagnosis.problem([_pod(ready=True)], {"p": _report()}, _deployment()) is None


def test_a_pod_that_is_resized_in_place_is_seen_with_its_size_and_why_it_has_not_the_one_wanted() -> None:
    assert "Resized" not in _conditions(_found())
    cpu = Sized(wanted=1000, granted=(250, 1000), waiting=1)
    new = status.of(_service(), _found(cpu=cpu), InferenceServiceStatus(), NOW)
    assert new.cpu == CpuStatus(wanted="1", granted="250m-1")
    assert _conditions(_found(cpu=cpu))["Resized"].reason == "InProgress"
    assert _conditions(_found(cpu=Sized(wanted=250, granted=(250,))))["Resized"].status == "True"
    problem = Problem(reason="ResizeDeferred", message="no room.")
    told = _conditions(_found(cpu=Sized(wanted=1000, granted=(250,), problem=problem)))["Resized"]
    assert (told.status, told.reason, told.message) == ("False", "ResizeDeferred", "no room.")
