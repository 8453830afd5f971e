"""Whose an object is, on the real API server: what somebody else made in a child's place stays theirs."""

from typing import Any

import pytest
from aiohttp import web
from faults.arena import NAME, Arena, Lane, until

from corefit_core.naming import GROUP, KIND, PLURAL, VERSION

pytestmark = pytest.mark.cluster
VICTIM, RIVAL = "digits.v2", "digits-v2-993aa98e"
"""The second is called what the children of the first are."""


def _create(lane: Lane, name: str, spec: dict[str, Any]) -> None:
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {"name": name}}
    model = {"model": {"uri": "http://models/digits.onnx"}}
    path = f"apis/{GROUP}/{VERSION}/namespaces/{lane.namespace}/{PLURAL}"
    lane.arena.api("POST", path, {**body, "spec": {**model, **spec}})


def _status(lane: Lane, name: str) -> dict[str, Any]:
    found = lane.arena.api.get(f"apis/{GROUP}/{VERSION}/namespaces/{lane.namespace}/{PLURAL}/{name}")
    status: dict[str, Any] = found.get("status", {})
    return status


def _says(lane: Lane, name: str, reason: str) -> bool:
    return any(c["reason"] == reason for c in _status(lane, name).get("conditions", ()))


def test_a_service_account_that_somebody_makes_at_the_same_moment_stays_theirs(arena: Arena) -> None:
    """An apply that is forced, or merely goes through, would have made it ours, and deleted it with the resource."""
    with arena.lane("race") as lane:
        accounts = f"api/v1/namespaces/{lane.namespace}/serviceaccounts"

        def first(request: web.Request) -> None:
            if request.method == "PATCH" and request.path.endswith(f"/serviceaccounts/{NAME}"):
                lane.proxy.judge = lambda _: None
                arena.api(
                    "POST", f"{accounts}?fieldManager=someone", {"metadata": {"name": NAME, "labels": {"a": "b"}}}
                )

        lane.proxy.judge = first
        lane.put()
        until("it says so", lambda: _says(lane, NAME, "NameTaken"), seen=lane.seen)
        metadata = arena.api.get(f"{accounts}/{NAME}")["metadata"]
        assert metadata["labels"] == {"a": "b"}
        assert not {"ownerReferences", "annotations"} & metadata.keys()
        assert {entry["manager"] for entry in metadata["managedFields"]} == {"someone"}


@pytest.mark.parametrize("mode", ["Service", "Sidecar"])
def test_a_resource_that_is_called_as_the_children_of_another_touches_none_of_them(arena: Arena, mode: str) -> None:
    with arena.lane("rival") as lane:
        _create(lane, VICTIM, {"scaling": {"mode": "Manual", "replicas": 2}})
        deployment = f"apis/apps/v1/namespaces/{lane.namespace}/deployments/{RIVAL}"
        until("it has its pods", lambda: _status(lane, VICTIM).get("readyReplicas") == 2, seen=lane.seen)
        target = {"targetRef": {"kind": "Deployment", "name": RIVAL}} if mode == "Sidecar" else {}
        _create(lane, RIVAL, {"mode": mode, "scaling": {"mode": "Manual", "replicas": 0, **target}})
        until("it says so", lambda: _says(lane, RIVAL, "NameTaken"), seen=lane.seen)
        lane.silent(12)
        assert arena.api.get(deployment)["spec"]["replicas"] == 2
        assert "sidecar" not in _status(lane, RIVAL)
