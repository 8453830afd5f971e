"""What a status says for what was found, and what is said of pods that don't serve."""

import re
from typing import Any

import msgspec
import pytest
from unit.outcomes import Case

from corefit_core import naming
from corefit_core.api.status import Condition, CpuStatus, InferenceServiceStatus, LastDecision, ModelStatus
from corefit_core.errors import InvalidInput
from corefit_core.naming import SOURCE_MOUNT
from corefit_core.recommender import Decision
from corefit_core.recommender.types import Reason
from corefit_core.report import ModelIdentity, PlanInForce, Report
from corefit_core.spec.decode import decode
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.cache.view import Key
from corefit_operator.diagnosis import pod_problems
from corefit_operator.diagnosis.problem import FIXES, MESSAGE_MAX, Problem
from corefit_operator.kube.pods import Pod, decode_pod
from corefit_operator.kube.workloads import Child, decode_child
from corefit_operator.reconcile import recommender_input
from corefit_operator.resize.sizes import Sized
from corefit_operator.status import gauges, resource_status
from corefit_operator.telemetry.metrics import Metrics

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def _service(**spec: Any) -> ServingSpec:
    meta = {"name": "a", "namespace": "n", "uid": "u", "generation": 4}
    return decode({"metadata": meta, "spec": {"model": {"uri": "http://m/a.onnx"}, **spec}})


def _pod(name: str = "p", *, ready: bool = False, model: tuple[str, str] = ("", ""), **state: Any) -> Pod:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}, *state.pop("conditions", [])]
    meta = {"name": name, "uid": name, "annotations": naming.model_annotations(*model) if model[0] else {}}
    return decode_pod({"metadata": meta, "status": {"conditions": conditions, **state}})


def _deployment(replicas: int = 1, **state: Any) -> Child:
    whole = {
        "observedGeneration": 1,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "availableReplicas": replicas,
    } | state
    raw = {"metadata": {"name": "a", "generation": 1}, "spec": {"replicas": replicas}, "status": whole}
    return decode_child("Deployment", raw)


def _found(**fields: Any) -> Case:
    given = {"deployment": _deployment(), "pods": (), "reports": {}, "decision": None, "desired": 1, **fields}
    return Case(**given)


def _report(**fields: Any) -> Report:
    plan = PlanInForce(grant_millicores=2000, workers=2, threads_per_worker=1, queue_depth=9, why="measured")
    given = {"boot_id": "b", "state": "Ready", "model": ModelIdentity(name="a"), "plan": plan, "clock_s": 1.0, **fields}
    return Report(**given)


def _conditions(found: Case, service: ServingSpec | None = None) -> dict[str, Condition]:
    new = found.status(service or _service(), InferenceServiceStatus(), NOW)
    return {c.type: c for c in new.conditions}


def test_a_service_that_serves() -> None:
    pods = (_pod(ready=True),)
    decision = Decision(replicas=1, uncapped=1, reason="Steady", message="all well", latency_s=0.01234)
    new = _found(pods=pods, reports={"p": _report()}, decision=decision).status(
        _service(), InferenceServiceStatus(), NOW
    )
    assert [(c.type, c.status) for c in new.conditions] == [
        ("Ready", "True"),
        ("Progressing", "True"),
        ("Sized", "True"),
        ("ScalingActive", "True"),
        ("ObjectiveMet", "Unknown"),
        ("ObjectiveReachable", "True"),
    ]
    assert (new.observed_generation, new.replicas, new.ready_replicas) == (4, 1, 1)
    assert new.latency == "p99 12ms/100ms 1m"
    assert new.plan != msgspec.UNSET
    assert (new.plan.workers, new.plan.threads_per_worker) == (2, 1)
    assert (new.ready, new.state) == ("1/1", "Serving")


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
    assert conditions["Progressing"].message == "not ONNX. The pods of the previous spec go on serving."


MISSING = "can't be read: No such file or directory"
OLD, NEW = "http://m/old.onnx", "http://m/a.onnx"


@pytest.mark.parametrize(
    ("pods", "updated", "problem", "seen"),
    [
        (
            (_pod("old", ready=True, model=(OLD, "")), _pod("new", model=(NEW, ""))),
            1,
            True,
            ("1/1", "ModelInvalid", OLD),
        ),
        (
            (_pod("old", ready=True, model=(OLD, "")), _pod("new", model=(NEW, ""))),
            1,
            False,
            ("1/1", "RollingOut", OLD),
        ),
        ((_pod("new", ready=True, model=(NEW, "")),), 1, False, ("1/1", "Serving", NEW)),
        ((_pod("new", model=(NEW, "")),), 1, False, ("0/1", "Starting", None)),
        ((_pod("new", model=(NEW, "")),), 1, True, ("0/1", "ModelInvalid", None)),
    ],
)
def test_what_kubectl_get_shows_tells_a_rollout_that_is_stuck_and_the_model_that_serves(
    pods: tuple[Pod, ...], updated: int, problem: bool, seen: tuple[str, str, str | None]
) -> None:
    """READY was True, the reason Serving, and the model the broken one."""
    serving = sum(pod.ready for pod in pods)
    deployment = _deployment(replicas=len(pods), updatedReplicas=updated, availableReplicas=serving)
    wrong = Problem(reason="ModelInvalid", message="x.") if problem else None
    new = _found(pods=pods, deployment=deployment, problem=wrong).status(_service(), InferenceServiceStatus(), NOW)
    model = None if new.model is msgspec.UNSET else new.model.uri
    assert (new.ready, new.state, model) == seen


def test_the_revision_and_the_checksum_are_those_of_the_pods_that_serve() -> None:
    pods = (
        _pod("a", ready=True, model=(NEW, "1")),
        _pod("b", ready=True, model=(NEW, "1")),
        _pod("c", model=(NEW, "2")),
    )
    reports = {name: _report(model=ModelIdentity(name="a", sha256="5" * 64)) for name in ("a", "b")}
    service = _service(model={"uri": NEW, "revision": "2"})
    new = _found(pods=pods, reports=reports).status(service, InferenceServiceStatus(), NOW)
    assert new.model == ModelStatus(uri=NEW, revision="1", sha256="5" * 64)


def test_the_checksum_is_of_the_revision_that_is_shown() -> None:
    """A pod of another revision has the same address, and other content."""
    pods = (
        _pod("a", ready=True, model=(NEW, "1")),
        _pod("b", ready=True, model=(NEW, "1")),
        _pod("c", ready=True, model=(NEW, "2")),
    )
    old, new = (_report(model=ModelIdentity(name="a", sha256=digit * 64)) for digit in "56")
    for reports, sha256 in (({"a": old, "b": old, "c": new}, "5" * 64), ({"c": new}, msgspec.UNSET)):
        said = _found(pods=pods, reports=reports).status(_service(model={"uri": NEW}), InferenceServiceStatus(), NOW)
        assert said.model == ModelStatus(uri=NEW, revision="1", sha256=sha256)


def test_pods_without_a_range_are_shown_with_their_cpu_too() -> None:
    """The column was empty."""
    spec = {"containers": [{"name": "runtime", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}]}
    raw = {"metadata": {"name": "p", "uid": "p"}, "spec": spec, "status": {"conditions": [_ready_condition()]}}
    new = _found(pods=(decode_pod(raw),)).status(_service(), InferenceServiceStatus(), NOW)
    assert new.cpu == CpuStatus(wanted="1", granted="1")


def _ready_condition() -> dict[str, str]:
    return {"type": "Ready", "status": "True"}


def test_sized_says_what_the_pods_measured_and_so_does_the_plan() -> None:
    """Sized said a queue of 1 (assumed) for good, the plan the one that was measured."""
    assert "assumed" in _conditions(_found())["Sized"].message
    found = _found(pods=(_pod(ready=True),), reports={"p": _report()})
    new = found.status(_service(), InferenceServiceStatus(), NOW)
    assert new.plan is not msgspec.UNSET
    assert {c.type: c.message for c in new.conditions}["Sized"] == new.plan.why == "measured"


def test_the_last_decision_is_the_last_with_the_time_since_when_it_is_the_same() -> None:
    def after(before: InferenceServiceStatus, now: str, reason: Reason, message: str) -> InferenceServiceStatus:
        decision = Decision(replicas=1, uncapped=len(message), reason=reason, message=message)
        return _found(decision=decision).status(_service(), before, now)

    first = after(InferenceServiceStatus(), NOW, "LoadUp", "a")
    again = after(first, LATER, "LoadUp", "bb")
    assert again.last_decision == LastDecision(time=NOW, replicas=1, uncapped=2, reason="LoadUp", message="bb")
    other = after(again, LATER, "Steady", "c")
    assert other.last_decision == LastDecision(time=LATER, replicas=1, uncapped=1, reason="Steady", message="c")


NO_PODS = _deployment(0)
NEVER_SEEN = _deployment(1, observedGeneration=0, updatedReplicas=0, availableReplicas=0)
REPLACED = _deployment(2, updatedReplicas=1, availableReplicas=2)
TWO = Decision(replicas=2, uncapped=2, millicores=500, reason="LoadUp", message="busy")
FULL = Problem(reason="Unschedulable", message="full.")
MESSAGES: list[tuple[str, Case, dict[str, Any], list[str]]] = [
    ("Ready", _found(pods=(_pod(ready=True),)), {}, ["1 of 1 replicas serve requests."]),
    ("Ready", _found(deployment=None, desired=0), {}, ["Corefit has yet to create the Deployment."]),
    ("Ready", _found(desired=0, deployment=NO_PODS), {"mode": "Manual"}, ["spec.scaling.replicas is 0", "Set it to 1"]),
    ("Ready", _found(desired=0, deployment=NO_PODS), {"mode": "Recommend"}, ["mode Recommend leaves them", "to Auto"]),
    (
        "Progressing",
        _found(desired=0, deployment=NO_PODS),
        {"mode": "Manual"},
        ["No replica is wanted, and none runs."],
    ),
    ("Progressing", _found(pods=(_pod(ready=True),)), {}, ["The replica runs the current spec."]),
    ("Progressing", _found(deployment=NEVER_SEEN), {}, ["0 of 1 replicas are ready."]),
    (
        "Progressing",
        _found(pods=(_pod(ready=True), _pod("b")), desired=2, deployment=REPLACED),
        {},
        ["0 of 2 replicas of the new spec are ready", "older pods serve until the new ones are ready"],
    ),
    (
        "Progressing",
        _found(desired=3, pods=(_pod(ready=True),), problem=FULL),
        {},
        ["full. 1 of 3 replicas go on serving."],
    ),
    ("ScalingActive", _found(), {"mode": "Recommend"}, ["has no recommendation yet", "to Auto"]),
    (
        "ScalingActive",
        _found(decision=TWO),
        {"mode": "Recommend"},
        ["changes nothing", "It recommends 2 replicas with 500m of CPU each (0.0000 USD an hour): busy."],
    ),
    ("ScalingActive", _found(), {"mode": "Manual", "replicas": 2}, ["is spec.scaling.replicas (2)", "to Auto"]),
    (
        "ScalingActive",
        _found(contended=True, changed_back=True),
        {"mode": "Manual", "replicas": 2},
        [
            "is spec.scaling.replicas (2)",
            "replicas of the Deployment",
            "changed them back",
            "kubectl scale cfis/a --replicas=N",
        ],
    ),
    (
        "ScalingActive",
        _found(contended=True, changed_back=True, decision=TWO),
        {},
        [
            "busy. Something else changed the replicas of the Deployment",
            "changed them back",
            "InferenceService to Manual",
            "in one change",
        ],
    ),
]


@pytest.mark.parametrize(("kind", "found", "scaling", "words"), MESSAGES)
def test_each_message_fits_its_case(kind: str, found: Case, scaling: dict[str, Any], words: list[str]) -> None:
    message = _conditions(found, _service(scaling=scaling))[kind].message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("cpu", "message"),
    [
        (Sized(wanted=250), "No pod is ready yet. Corefit sets the CPU of a pod once it is ready."),
        (Sized(wanted=250, granted=(250, 250)), "Every serving pod has the CPU that Corefit wants for it (250m)."),
        (
            Sized(wanted=250, granted=(250,), waiting=1),
            "Corefit has changed the CPU in the spec of a pod, and the kubelet has yet to apply it.",
        ),
    ],
)
def test_what_is_said_of_cpu_fits_its_case(cpu: Sized, message: str) -> None:
    assert _conditions(_found(cpu=cpu))["Resized"].message == message


def test_a_deployment_that_was_just_created_is_not_rolling_out() -> None:
    """The first pods of a resource were said to replace older ones, and the recommender held for a rollout."""
    assert not NEVER_SEEN.rolling_out
    assert not recommender_input.observation([], {}, NEVER_SEEN, {}, 0.0).rollout
    assert _deployment(1, updatedReplicas=0).rolling_out


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('0/1 nodes are available: persistentvolumeclaim "models" not found. preemption: no.', "ClaimNotFound"),
        ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", "ClaimNotBound"),
        ("0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.", "ClaimNotBound"),
        ("0/1 nodes are available: 1 Insufficient cpu.", "Unschedulable"),
    ],
)
def test_a_claim_that_is_missing_is_not_a_lack_of_nodes(message: str, reason: str) -> None:
    pod = _pod(conditions=[{"type": "PodScheduled", "status": "False", "message": message}])
    found = pod_problems.problem([pod], {}, None)
    assert found is not None
    assert found.reason == reason
    assert ("add nodes" in found.message) == (reason == "Unschedulable")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.", "nodeSelector, affinity"),
        ("0/1 nodes are available: 1 node(s) had untolerated taint(s).", "tolerations"),
        ("0/1 nodes are available: 1 node(s) were unschedulable.", "cordoned"),
        ("Scheduling is blocked due to non-empty scheduling gates", "removes them when it lets the pod start"),
        ("0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s).", "add nodes"),
    ],
)
def test_a_pod_that_rules_keep_from_nodes_is_not_advised_to_free_cpu(message: str, words: str) -> None:
    pod = _pod(conditions=[{"type": "PodScheduled", "status": "False", "message": message}])
    found = pod_problems.problem([pod], {}, None)
    assert found is not None
    assert found.reason == "Unschedulable"
    assert words in found.message
    assert ("Free CPU" in found.message) == ("Insufficient" in message)


@pytest.mark.parametrize(
    ("uri", "told", "words"),
    [
        ("file:///mnt/a.onnx", f"file:///mnt/a.onnx {MISSING}", ("volumeMounts", "file:///mnt/a.onnx")),
        (
            "pvc://claim/a.onnx",
            f"file://{SOURCE_MOUNT}/a.onnx {MISSING}",
            ("root of the claim", "pvc://claim/a.onnx can't"),
        ),
        ("http://m/a.onnx", "http://m/a.onnx can't be fetched: 404", ("reach its server", "404")),
    ],
)
def test_what_to_do_about_a_model_that_is_not_there_depends_on_where_it_comes_from(
    uri: str, told: str, words: tuple[str, ...]
) -> None:
    """Of a missing file people were advised to see that pods can reach it."""
    report = _report(state="Failed", reason="ModelUnavailable", message=told)
    found = pod_problems.problem([_pod()], {"p": report}, None, _service(model={"uri": uri}))
    assert found is not None
    assert found.reason == "ModelUnavailable"
    assert all(word in found.message for word in words)
    assert "model-source" not in found.message


def test_what_to_do_is_said_in_plain_words() -> None:
    """Corefit acts, or the reader does: nothing "is asked for", and nobody "is told"."""
    for reason, fix in FIXES.items():
        assert re.fullmatch(r"[A-Z].*\.", fix), reason
        assert not re.search(r"\b(asked?|told|beside|of before)\b", fix), reason


def test_a_pod_of_another_model_is_diagnosed_by_its_own() -> None:
    report = _report(state="Failed", reason="ModelUnavailable", message="http://m/old.onnx can't be fetched: 404")
    pod = _pod(model=(OLD, ""))
    found = pod_problems.problem([pod], {"p": report}, None, _service(model={"uri": "pvc://claim/a.onnx"}))
    assert found is not None
    assert "reach its server" in found.message


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (_found(), "Starting"),
        (_found(desired=0), "ScaledToZero"),
        (_found(problem=Problem(reason="Unschedulable", message="x")), "Unschedulable"),
        (_found(refused=Problem(reason="NameTaken", message="x")), "NameTaken"),
    ],
)
def test_why_nothing_serves(found: Case, reason: str) -> None:
    ready = _conditions(found)["Ready"]
    assert (ready.status, ready.reason) == ("False", reason)


@pytest.mark.parametrize(("mode", "reason"), [("Manual", "Manual"), ("Recommend", "RecommendOnly")])
def test_modes_in_which_nothing_is_scaled_say_so(mode: str, reason: str) -> None:
    scaling = _conditions(_found(), _service(scaling={"mode": mode}))["ScalingActive"]
    assert (scaling.status, scaling.reason) == ("False", reason)


def test_a_recommendation_says_what_it_would_cost() -> None:
    """README promised it, and it was said nowhere."""
    decision = Decision(replicas=4, uncapped=4, reason="LoadUp", message="why", cost_per_hour=0.0449)
    scaling = _conditions(_found(decision=decision), _service(scaling={"mode": "Recommend"}))["ScalingActive"]
    assert "It recommends 4 replicas (0.0449 USD an hour): why." in scaling.message


def test_holding_without_reports_is_not_scaling() -> None:
    decision = Decision(replicas=1, uncapped=None, reason="NoReports", message="nothing known")
    assert _conditions(_found(decision=decision))["ScalingActive"].status == "False"


def test_transition_times_change_with_the_status_only() -> None:
    first = _found().status(_service(), InferenceServiceStatus(), NOW)
    again = _found().status(_service(), first, LATER)
    assert again == first
    served = _found(pods=(_pod(ready=True),)).status(_service(), first, LATER)
    times = {c.type: c.last_transition_time for c in served.conditions}
    assert (times["Ready"], times["Progressing"]) == (LATER, NOW)


def test_figures_and_the_reasons_that_follow_them_alone_are_not_urgent() -> None:
    pods = (_pod(ready=True),)
    decisions = (
        Decision(replicas=1, uncapped=1, reason=why, message=f"{s}", latency_s=s)
        for why, s in (("Steady", 0.01), ("StabilizationWindow", 0.02))
    )
    old, new = (
        _found(pods=pods, decision=decision).status(_service(), InferenceServiceStatus(), NOW) for decision in decisions
    )
    assert old != new
    assert not resource_status.urgent(new, old)


def test_what_cannot_be_read_keeps_what_was_said_of_serving() -> None:
    before = _found(pods=(_pod(ready=True),)).status(_service(), InferenceServiceStatus(), NOW)
    after = resource_status.of_unreadable(InvalidInput("spec.x: wrong"), 5, before, LATER)
    conditions = {c.type: c for c in after.conditions}
    assert conditions["Ready"].status == "True"
    assert (conditions["Sized"].status, conditions["Sized"].reason) == ("False", "InvalidSpec")
    assert "spec.x: wrong" in conditions["Sized"].message


def test_what_cannot_be_read_fits_a_status_however_long_it_is() -> None:
    """The API server refused each status of the resource, and nothing said why it was not served."""
    after = resource_status.of_unreadable(InvalidInput("\x1b" + "x" * 300_000), 5, InferenceServiceStatus(), NOW)
    assert after.conditions
    for condition in after.conditions:
        assert len(condition.message) <= MESSAGE_MAX
        assert condition.message.endswith("leaves the pods as they are.")


def test_a_status_survives_the_api_server_and_a_broken_one_counts_as_none() -> None:
    new = _found().status(_service(), InferenceServiceStatus(), NOW)
    assert resource_status.parse(resource_status.encode(new)) == new
    assert resource_status.parse({"replicas": "many"}) == InferenceServiceStatus()


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
def test_pods_that_do_not_serve_are_diagnosed(pod: Pod, reason: str) -> None:
    found = pod_problems.problem([pod], {}, None)
    assert found is not None
    assert found.reason == reason
    assert "p" in found.message


def test_what_the_pod_says_itself_comes_first_and_is_cut() -> None:
    report = _report(state="Failed", reason="ChecksumMismatch", message="y" * 5000)
    found = pod_problems.problem(
        [_pod(**_container(state={"waiting": {"reason": "CrashLoopBackOff"}}))], {"p": report}, None
    )
    assert found is not None
    assert found.reason == "ChecksumMismatch"
    assert len(found.message) <= MESSAGE_MAX
    assert "sha256" in found.message


def test_what_a_pod_says_forges_no_line_of_a_log_and_steers_no_terminal() -> None:
    said = "bad\nERROR forged\x1b[2J\r\u2028\u202eend"
    found = pod_problems.problem([_pod()], {"p": _report(state="Failed", reason="ModelInvalid", message=said)}, None)
    assert found is not None
    assert found.message.isprintable()
    assert found.message.startswith("bad ERROR forged [2J")


def test_a_reason_that_is_no_word_is_not_repeated() -> None:
    found = pod_problems.problem([_pod()], {"p": _report(state="Failed", reason="no such; reason", message="m")}, None)
    assert found is not None
    assert found.reason == "ModelError"


@pytest.mark.parametrize(
    ("message", "reason"), [("exceeded quota: q", "QuotaExceeded"), ("violates PodSecurity", "PodsRefused")]
)
def test_pods_that_are_never_made_are_explained(message: str, reason: str) -> None:
    deployment = _deployment(conditions=[{"type": "ReplicaFailure", "status": "True", "message": message}])
    found = pod_problems.problem([], {}, deployment)
    assert found is not None
    assert found.reason == reason


def test_a_rollout_that_is_stuck_is_said() -> None:
    stuck = {"type": "Progressing", "status": "False", "message": 'ReplicaSet "a-1" has timed out progressing.'}
    deployment = _deployment(updatedReplicas=0, conditions=[stuck])
    found = _found(deployment=deployment, problem=pod_problems.problem([_pod()], {}, deployment))
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
    assert decode_child("StatefulSet", raw).rolling_out is rolling


def test_ready_pods_have_no_problem() -> None:
    assert pod_problems.problem([_pod(ready=True)], {"p": _report()}, _deployment()) is None


def test_a_pod_that_is_resized_in_place_is_seen_with_its_size_and_why_it_has_not_the_one_wanted() -> None:
    assert "Resized" not in _conditions(_found())  # nor is there a condition where CPU never changes in place
    cpu = Sized(wanted=1000, granted=(250, 1000), waiting=1)
    new = _found(cpu=cpu).status(_service(), InferenceServiceStatus(), NOW)
    assert new.cpu == CpuStatus(wanted="1", granted="250m-1")
    assert _conditions(_found(cpu=cpu))["Resized"].reason == "InProgress"
    assert _conditions(_found(cpu=Sized(wanted=250, granted=(250,))))["Resized"].status == "True"
    problem = Problem(reason="ResizeDeferred", message="no room.")
    told = _conditions(_found(cpu=Sized(wanted=1000, granted=(250,), problem=problem)))["Resized"]
    assert (told.status, told.reason, told.message) == ("False", "ResizeDeferred", "no room.")


@pytest.mark.parametrize(
    ("missed", "status_", "reason", "words"),
    [
        (None, "Unknown", "NoRequests", "There were no requests in the last minute"),
        (0.004, "True", "Met", "0.4 % of the last minute's requests were refused or took more than 100 ms"),
        (0.62, "False", "Missed", "62 % of the last minute's requests were refused or took more than 100 ms"),
    ],
)
def test_an_objective_that_is_missed_is_a_condition(
    missed: float | None, status_: str, reason: str, words: str
) -> None:
    """p99 of 650 ms where 200 were wanted stood next to Steady and AsWanted for as long as it lasted."""
    decision = Decision(replicas=1, uncapped=1, reason="Steady", message="m", missed=missed, requests=292)
    met = _conditions(_found(decision=decision))["ObjectiveMet"]
    assert (met.status, met.reason) == (status_, reason)
    assert words in met.message


def test_an_objective_that_no_replicas_keep_is_a_condition() -> None:
    decision = Decision(replicas=1, uncapped=1, reason="Steady", message="m", unreachable="One run takes 13 ms.")
    conditions = _conditions(_found(decision=decision))
    assert conditions["ObjectiveReachable"].status == "False"
    assert conditions["ObjectiveReachable"].message == "One run takes 13 ms."
    served = _found(decision=Decision(replicas=1, uncapped=1, reason="Steady", message="m"), pods=(_pod(ready=True),))
    assert _conditions(served)["ObjectiveReachable"].status == "True"


def test_an_objective_that_is_missed_is_not_said_to_be_reachable_without_a_word_on_it() -> None:
    """`Nothing is known that keeps pods from p99 within 1 ms` stood beside `Missed: 34 %`."""
    missed = Decision(replicas=1, uncapped=1, reason="Steady", message="m", missed=0.34, requests=9)
    for doubtful, status_, reason, words in (
        ("", "True", "Reachable", "More replicas can keep p99 within 100 ms"),
        ("They did not wait.", "Unknown", "LateWithoutWaiting", "They did not wait."),
    ):
        decision = msgspec.structs.replace(missed, doubtful=doubtful)
        found = _conditions(_found(decision=decision, pods=(_pod(ready=True),)))["ObjectiveReachable"]
        assert (found.status, found.reason) == (status_, reason)
        assert words in found.message
        assert "fast enough" not in found.message


@pytest.mark.parametrize("reason", ["NameTaken", "ModelUnavailable", "ClaimNotFound", "ChecksumMismatch"])
def test_conditions_of_a_service_that_never_served_point_at_the_problem(reason: str) -> None:
    """`Nothing is known that keeps pods from p99 within 200 ms` stood over a service that had no pod."""
    trouble = Problem(reason=reason, message="It is so.")
    waits = Decision(replicas=1, uncapped=None, reason="RolloutInProgress", message="m")
    for found in (_found(refused=trouble), _found(problem=trouble, decision=waits)):
        conditions = _conditions(found)
        reachable, scaling = conditions["ObjectiveReachable"], conditions["ScalingActive"]
        assert (reachable.status, reachable.message) == ("Unknown", "Corefit has not measured the model yet.")
        assert (scaling.status, scaling.reason) == ("False", reason)
        assert scaling.message == "Corefit does not scale until this is solved: It is so."


def test_a_new_pod_that_never_served_is_not_counted_in_a_rollout() -> None:
    """`1 of 1 replicas run the new spec` was said of a pod whose model could not be fetched."""
    deployment = _deployment(2, updatedReplicas=1)
    rolling = _conditions(_found(pods=(_pod("old", ready=True), _pod("new")), deployment=deployment))["Progressing"]
    assert rolling.reason == "RollingOut"
    assert rolling.message.startswith("0 of 1 replicas of the new spec are ready; the older pods serve")


def test_more_replicas_by_another_hand_are_let_go_and_the_reason_stays_that_of_the_decision() -> None:
    """It said `Corefit changed them back` for a down window in which it had not, and hid the decision."""
    found = _found(contended=True, decision=TWO, pods=(_pod(ready=True),))
    scaling = _conditions(found, _service(scaling={"downStabilizationSeconds": 45}))["ScalingActive"]
    assert scaling.reason == TWO.reason
    assert "lets replicas go that the load does not need, within 45 s at the latest" in scaling.message
    assert "changed them back" not in scaling.message


def test_outputs_that_are_left_out_are_said_where_it_serves() -> None:
    report = _report(notes={"outputs": "left out: 'output_probability' (a map)"})
    ready = _conditions(_found(pods=(_pod(ready=True),), reports={"p": report}))["Ready"]
    assert ready.message.endswith("Some outputs are left out: 'output_probability' (a map).")


def test_a_share_of_all_requests_is_a_plain_number() -> None:
    """It said 1e+02 %."""
    decision = Decision(replicas=1, uncapped=1, reason="Steady", message="m", missed=1.0, requests=1)
    assert _conditions(_found(decision=decision))["ObjectiveMet"].message.startswith(
        "100 % of the last minute's requests (fewer than 10) were"
    )


def test_a_pod_without_a_node_costs_nothing_in_the_status_and_in_the_metrics() -> None:
    """Pods that were Unschedulable were counted in the column COST, and replicas without a pod in the metric."""
    pods = tuple(
        decode_pod({"metadata": {"name": name, "uid": name}, "spec": {"nodeName": node} if node else {}})
        for name, node in (("a", "node-1"), ("b", ""), ("c", ""))
    )
    service, metrics = _service(resources={"cpu": "1"}), Metrics()
    one, three = (_found(pods=some, desired=3) for some in (pods[:1], pods))
    costs = [found.status(service, InferenceServiceStatus(), NOW).cost_per_hour for found in (one, three)]
    assert costs[0] == costs[1] != "0.0000 USD"
    gauges.publish(metrics, Key("n", "a"), service, three.outcome(service))
    value = metrics.registry.get_sample_value("corefit_cost_per_hour", {"namespace": "n", "name": "a"})
    assert f"{value:.4f} USD" == costs[0]
    assert _found(pods=pods[1:]).status(service, InferenceServiceStatus(), NOW).cost_per_hour == "0.0000 USD"


def test_what_a_pod_says_of_itself_fits_a_status_and_steers_no_terminal() -> None:
    """A checksum of 60 KB made the API server refuse each status of the resource; a plan could clear a terminal."""
    esc = "\x1b[2J\n"
    plan = PlanInForce(grant_millicores=1, workers=1, threads_per_worker=1, queue_depth=1, why=esc + "x" * 9000)
    said = _report(plan=plan, model=ModelIdentity(name="a", sha256="f" * 60_000), notes={"outputs": esc + "x" * 9000})
    annotated = _pod(ready=True, model=(f"http://m/{esc}" + "x" * 2000, esc + "x" * 1000))
    new = _found(pods=(annotated,), reports={"p": said}).status(_service(), InferenceServiceStatus(), NOW)
    assert resource_status.parse(resource_status.encode(new)) == new
    assert isinstance(new.model, ModelStatus)
    assert new.model.sha256 is msgspec.UNSET
    text = msgspec.json.encode(new)
    assert b"\\u001b" not in text
    assert b"\\n" not in text
