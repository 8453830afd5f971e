"""What one queue saves, before a real API server: it follows the load, a restart changes nothing, and all is silent."""

from typing import Any

import pytest
from faults.arena import Arena, Lane, until

pytestmark = pytest.mark.cluster
MUCH, LITTLE = 1.5, 0.05
"""Erlangs of runs of 20 ms on pods of a core: for the first, blind pods are six and pods behind one queue three."""
SPEC = {
    "resources": {"cpu": "1"},
    "objective": {"latencyMilliseconds": 100},
    "scaling": {"maxReplicas": 6, "downStabilizationSeconds": 0},
}
SILENCE_S = 30.0


def _said(lane: Lane) -> dict[str, Any]:
    found: dict[str, Any] = lane.arena.api.get(lane.path).get("status", {}).get("routing", {})
    return found


def _recommends(lane: Lane, what: str, saves: str) -> bool:
    said = _said(lane)
    return (said.get("recommended"), said.get("saves")) == (what, saves) and lane.serves()


def _under_load(lane: Lane) -> None:
    lane.put(**SPEC)
    until("nothing is saved without load", lambda: _recommends(lane, "Direct", "0"), seen=lane.seen)
    lane.load(MUCH)
    until("one queue saves three cores", lambda: _recommends(lane, "Queue", "3"), seen=lane.seen)


def test_what_one_queue_saves_is_silent_under_load_and_a_restart_changes_nothing(arena: Arena) -> None:
    with arena.lane("routing") as lane:
        _under_load(lane)
        lane.silent(SILENCE_S)
        there = _said(lane)
        lane.operator.kill()
        until("the operator watches", lane.up, seen=lane.seen)
        lane.silent(SILENCE_S)
        assert _said(lane) == there


def test_what_one_queue_saves_goes_with_the_load(arena: Arena) -> None:
    with arena.lane("falling") as lane:
        _under_load(lane)
        lane.load(LITTLE)
        until("it saves nothing again", lambda: _recommends(lane, "Direct", "0"), seen=lane.seen)
        lane.silent(SILENCE_S)
