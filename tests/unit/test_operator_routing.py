"""What the status says of one queue, and what an operator that has just started takes from there."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from unit.outcomes import Case

from corefit_core.api.status import InferenceServiceStatus, RoutingStatus
from corefit_core.recommender import Decision, Load, queueing
from corefit_core.recommender.routing import LOOK_S, UP_S, RoutingState
from corefit_core.spec.decode import decode
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.balancer.balancing import Balancing
from corefit_operator.children.defaults import Defaults
from corefit_operator.reconcile import routing as routed
from corefit_operator.status import resource_status, routing
from corefit_operator.workload import kinds

NOW = "2026-01-01T00:00:00Z"
WEB = {"application": {"containers": [{"name": "web", "image": "w"}]}}
SIDECAR = {"mode": "Sidecar"}
DIRECT = Balancing()
WORTH, NOT_WORTH = RoutingState(queue=True, saved=750), RoutingState(saved=0)


def _service(balancing: str = "Auto", **spec: Any) -> ServingSpec:
    meta = {"name": "a", "namespace": "n", "uid": "u", "generation": 1}
    routing = {"routing": {"balancing": balancing}}
    return decode({"metadata": meta, "spec": {"model": {"uri": "http://m/a.onnx"}, **routing, **spec}})


def _status(service: ServingSpec, known: RoutingState, now: Balancing | None = DIRECT) -> InferenceServiceStatus:
    outcome = msgspec.structs.replace(Case().outcome(service), balancing=now, routing=known)
    workload = kinds.of(service, Defaults(image="i"))
    return resource_status.of(workload, outcome, InferenceServiceStatus(), NOW)


def _said(service: ServingSpec, known: RoutingState, now: Balancing = DIRECT) -> RoutingStatus:
    said = _status(service, known, now).routing
    assert said is not msgspec.UNSET
    return said


def _decision(erlangs: float) -> Decision:
    service = queueing.Service(service_s=0.05, scv=0.1, latency_s=0.15, workers=2, pooling=1)
    load = Load(erlangs=erlangs, service=service, threads=1, window_s=6)
    return Decision(replicas=1, uncapped=1, reason="Steady", message="m", load=load)


def _followed(service: ServingSpec, erlangs: float, state: RoutingState = RoutingState()) -> RoutingState:  # noqa: B008  # frozen
    for step in range(int(UP_S / LOOK_S) + 1):
        state = routed.followed(state, service, _decision(erlangs), LOOK_S * step)
    return state


@pytest.mark.parametrize("balancing", ["Direct", "Queue", "Auto"])
def test_both_figures_are_said_whatever_balances(balancing: str) -> None:
    said = _said(_service(balancing), WORTH)
    assert (said.recommended, said.saves, said.takes, said.reason) == ("Queue", "750m", "50m", "Saves")
    assert "would save 750m of CPU" in said.message
    assert "would take 50m" in said.message
    there = _said(_service(balancing), WORTH, Balancing(queue=True, pods=2))
    assert "saves 750m of CPU" in there.message
    assert "would" not in there.message.partition(".")[0]


@pytest.mark.parametrize(
    ("balancing", "known", "advice"),
    [
        ("Direct", WORTH, "To use it, set spec.routing.balancing to Auto."),
        ("Direct", NOT_WORTH, "would take 50m."),
        ("Queue", NOT_WORTH, "only while it saves more, set spec.routing.balancing to Auto."),
        ("Queue", WORTH, "would take 50m."),
        ("Auto", WORTH, "takes the balancer away once it has saved less than 50m for long."),
        ("Auto", NOT_WORTH, "adds the balancer once that is 100m or more for a minute."),
    ],
)
def test_the_message_says_what_follows(balancing: str, known: RoutingState, advice: str) -> None:
    assert _said(_service(balancing), known).message.endswith(advice)


def test_in_mode_recommend_the_figures_are_said_and_that_nothing_is_done() -> None:
    said = _said(_service(scaling={"mode": "Recommend"}), WORTH)
    assert (said.recommended, said.saves) == ("Queue", "750m")
    assert "In mode Recommend Corefit leaves the balancer as it is." in said.message


@pytest.mark.parametrize(
    ("spec", "reason"),
    [({"scaling": {"mode": "Manual", "replicas": 3}}, "ReplicasByHand"), (WEB, "Application")],
)
def test_where_one_queue_saves_nothing_by_its_kind_none_is_recommended(spec: dict[str, Any], reason: str) -> None:
    service = _service(**spec)
    known = _followed(service, 16.0, WORTH)
    said = _said(service, known)
    assert (said.recommended, said.saves, said.reason) == ("Direct", "0", reason)


def test_pods_of_others_have_no_service_to_balance() -> None:
    assert _status(_service(**SIDECAR), RoutingState(), None).routing is msgspec.UNSET
    assert _followed(_service(**SIDECAR), 16.0) == RoutingState()


@pytest.mark.parametrize("scaling", [{"maxReplicas": 1}, {"minReplicas": 3, "maxReplicas": 3}])
def test_pods_whose_number_is_fixed_save_nothing(scaling: dict[str, Any]) -> None:
    known = _followed(_service(scaling=scaling, resources={"cpu": "2"}), 16.0)
    assert (known.queue, known.saved) == (False, 0)
    assert _followed(_service(scaling={"maxReplicas": 30}, resources={"cpu": "2"}), 16.0).queue


def test_where_the_load_is_not_known_all_stays_as_it_is() -> None:
    holds = Decision(replicas=1, uncapped=None, reason="NoReports", message="m")
    for decision in (None, holds):
        assert routed.followed(WORTH, _service(), decision, 1e6) is WORTH


def test_a_restart_begins_with_what_the_status_says_and_says_the_same() -> None:
    service = _service()
    before = _status(service, WORTH)
    restored = routed.restored({"status": resource_status.encode(before)})
    assert restored == WORTH
    assert _status(service, restored) == before


@pytest.mark.parametrize("status", [None, {}, {"routing": {"recommended": "Queue"}}, {"routing": "x"}])
def test_a_status_without_it_recommends_nothing(status: Any) -> None:
    assert routed.restored({"status": status}) == RoutingState()


def test_a_saving_that_can_not_be_read_is_none() -> None:
    said = RoutingStatus(recommended="Queue", saves="much", takes="50m", reason="Saves", message="m")
    stored = resource_status.encode(InferenceServiceStatus(routing=said))
    assert routed.restored({"status": stored}) == RoutingState()


def test_other_figures_alone_are_no_reason_to_hurry() -> None:
    service = _service()
    before = _status(service, WORTH)
    assert not resource_status.urgent(_status(service, RoutingState(queue=True, saved=1000)), before)
    assert resource_status.urgent(_status(service, NOT_WORTH), before)


def test_people_find_each_reason_in_the_page() -> None:
    rows = [f"| `{reason}` | {when} |" for reason, when in routing.REASONS.items()]
    assert "\n".join(rows) in (Path(__file__).parents[2] / "docs/routing.md").read_text()


def test_each_reason_that_is_said_is_known() -> None:
    manual = {"scaling": {"mode": "Manual", "replicas": 3}}
    said = {_said(_service(**spec), known).reason for spec in ({}, manual, WEB) for known in (WORTH, NOT_WORTH)}
    assert said == set(routing.REASONS)
