"""Edits by hand that need more than an apply to be put right."""

import pytest
from faults.api import MERGE
from faults.arena import NAME, Arena, until

pytestmark = pytest.mark.cluster


def test_a_port_that_somebody_renumbered_is_put_back_and_nothing_else_stays_ours(arena: Arena) -> None:
    """Ports are merged by number: ours is refused beside the other, since both have the same name."""
    with arena.lane("port") as lane:
        lane.put(scaling={"mode": "Manual", "replicas": 0})
        until("it serves", lane.serves, seen=lane.seen)
        path = f"api/v1/namespaces/{lane.namespace}/services/{NAME}"
        before = arena.api.get(path)["spec"]["ports"]
        arena.api("PATCH", path, {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": 81}]}}, MERGE)

        def mended() -> bool:
            service = arena.api.get(path)
            kinds = [e["operation"] for e in service["metadata"]["managedFields"] if e["manager"] == "corefit-operator"]
            return bool(service["spec"]["ports"] == before) and kinds == ["Apply"]

        until("the port is as it was", mended, seen=lane.seen)
        until("nothing is refused", lane.serves, seen=lane.seen)
