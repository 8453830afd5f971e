"""Balancing Auto before a real API server: it follows the load, a restart changes nothing, and all is silent."""

from typing import Any

import pytest
from faults.arena import NAME, Arena, Lane, until

from corefit_core.naming import balancer_name

pytestmark = pytest.mark.cluster
MUCH, LITTLE = 1.5, 0.05
"""Erlangs of runs of 20 ms on pods of a core: for the first, blind pods are six and pods behind one queue three."""
SPEC = {
    "resources": {"cpu": "1"},
    "objective": {"latencyMilliseconds": 100},
    "scaling": {"maxReplicas": 6, "downStabilizationSeconds": 0},
    "routing": {"balancing": "Auto"},
}
SILENCE_S = 30.0


def _status(lane: Lane) -> dict[str, Any]:
    found: dict[str, Any] = lane.arena.api.get(lane.path).get("status", {})
    return found


def _recommends(lane: Lane, what: str, saves: str) -> bool:
    said = _status(lane).get("routing", {})
    return (said.get("recommended"), said.get("saves")) == (what, saves) and lane.serves()


def _balancers(lane: Lane) -> int:
    """That there are to be; no node of these tests runs pods without the runtime, so the Service keeps balancing."""
    path = f"apis/apps/v1/namespaces/{lane.namespace}/deployments/{balancer_name(NAME)}"
    found = lane.arena.api.find(path)
    return int(found["spec"]["replicas"]) if found else 0


def _with_balancer(lane: Lane) -> None:
    lane.put(**SPEC)
    until("nothing is saved without load", lambda: _recommends(lane, "Direct", "0"), seen=lane.seen)
    assert _balancers(lane) == 0
    lane.load(MUCH)
    until("there are to be balancers", lambda: _balancers(lane) == 2, seen=lane.seen)


def test_a_restart_takes_no_balancer_away(arena: Arena) -> None:
    with arena.lane("auto") as lane:
        _with_balancer(lane)
        until("one queue saves three cores", lambda: _recommends(lane, "Queue", "3"), seen=lane.seen)
        lane.silent(SILENCE_S)
        there = _status(lane)
        assert (there["balancing"], there["routing"]["takes"]) == ("Direct", "50m")
        lane.operator.kill()
        until("the operator watches", lane.up, seen=lane.seen)
        lane.silent(SILENCE_S)
        assert (_balancers(lane), _status(lane)["routing"]) == (2, there["routing"])


def test_the_balancer_goes_with_the_load(arena: Arena) -> None:
    with arena.lane("falling") as lane:
        _with_balancer(lane)
        lane.load(LITTLE)
        until("there are to be none", lambda: not _balancers(lane), seen=lane.seen)
        until("it saves nothing again", lambda: _recommends(lane, "Direct", "0"), seen=lane.seen)
        lane.silent(SILENCE_S)
