"""The oracle of the fault tests: two runs that did the same look the same in it, and one that did not does not."""

from collections.abc import Mapping
from typing import Any

import pytest
from faults.moves import BASE, KINDS, kind_of, of_kind
from faults.state import Get, difference, state

from corefit_core.spec.decode import decode

UIDS = ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222")


def _namespace(number: int, *, generation: int = 2, replicas: int = 1, reason: str = "LoadUp") -> tuple[Get, str]:
    name, uid = f"lane-{number}", UIDS[number]
    meta = {"name": "digits", "namespace": name, "uid": uid, "resourceVersion": str(number), "generation": generation}
    ours = {
        "manager": "corefit-operator",
        "operation": "Apply",
        "time": f"2026-01-0{number + 1}T00:00:00Z",
        "fieldsV1": {f'k:{{"uid":"{uid}"}}': {}},
    }
    deployment = {"metadata": {**meta, "managedFields": [ours, {"manager": "x"}]}, "spec": {"replicas": replicas}}
    conditions = [
        {"type": "Ready", "status": "True", "reason": "Serving"},
        {"type": "ScalingActive", "status": "True", "reason": reason, "message": f"0.{number} of 2 workers busy"},
        {"type": "ObjectiveMet", "status": ("True", "Unknown")[number], "reason": ("Met", "NoRequests")[number]},
    ]
    status = {"lastDecision": {"replicas": 1, "reason": reason}, "conditions": conditions[:: 1 - 2 * number]}
    pod = {"metadata": {"name": f"digits-abc-{number}xyz"}, "status": {"podIP": f"127.0.0.{number}"}}
    stored = {
        f"apis/serving.corefit.dev/v1alpha1/namespaces/{name}/inferenceservices": [
            {"metadata": meta, "status": status}
        ],
        f"apis/apps/v1/namespaces/{name}/deployments": [deployment],
        f"apis/apps/v1/namespaces/{name}/replicasets": [
            {"metadata": {"name": f"old-{generation}"}, "spec": {"replicas": 0}}
        ],
        f"api/v1/namespaces/{name}/pods": [pod],
    }

    def get(path: str) -> Mapping[str, Any]:
        return {"items": stored.get(path, [])}

    return get, name


def test_what_is_incidental_makes_no_difference() -> None:
    assert difference(state(*_namespace(0)), state(*_namespace(1))) == []
    assert "Pod/digits-abc-*" in state(*_namespace(0))


def test_why_a_decision_was_taken_makes_no_difference() -> None:
    assert difference(state(*_namespace(0)), state(*_namespace(1, reason="Steady"))) == []


def test_what_is_asked_for_makes_one() -> None:
    found = difference(state(*_namespace(0)), state(*_namespace(1, replicas=2)))
    assert found == ["Deployment/digits[0].spec.replicas: 1 -> 2"]


def test_how_a_state_was_reached_makes_one_only_where_it_is_asked_for() -> None:
    one, other = _namespace(0), _namespace(1, generation=3)
    assert difference(state(*one), state(*other))
    assert difference(state(*one, history=False), state(*other, history=False)) == []


def _workload(hash_: str, **status: int) -> Get:
    labels = {"pod-template-hash": hash_}
    stored = {
        "deployments": {"metadata": {"name": "web"}, "spec": {"replicas": 1}, "status": status},
        "replicasets": {"metadata": {"name": f"web-{hash_}", "labels": labels}, "spec": {"replicas": 1}},
        "pods": {"metadata": {"name": f"web-{hash_}-xyz", "labels": labels}},
    }

    def get(path: str) -> Mapping[str, Any]:
        kind = path.rpartition("/")[2]
        return {"items": [stored[kind]] if kind in stored else []}

    return get


def test_a_deployment_made_again_before_its_replica_set_went_makes_no_difference() -> None:
    """Kubernetes gives its pods another hash for the same template then, and counts the collision."""
    once, again = _workload("5bd6f89f47"), _workload("85f8c6cc6b", collisionCount=1)
    assert difference(state(once, "lane", history=False), state(again, "lane", history=False)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_resource_of_each_kind_may_be_made_of_any_other(kind: str) -> None:
    """A sequence that went from a queue to pods of others failed by what it had put together itself."""
    routing = {"balancing": "Queue", "gateway": {"parentRefs": [{"name": "public"}]}}
    made = of_kind({**BASE, "routing": routing}, kind)
    assert kind_of(made) == kind
    assert decode({"metadata": {"name": "digits"}, "spec": made})
