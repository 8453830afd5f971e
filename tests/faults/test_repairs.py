"""Edits by hand that need more than an apply to be put right."""

import pytest
from faults.api import MERGE
from faults.arena import NAME, Arena, until
from faults.proxy import Reply

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


def test_a_child_that_went_with_its_namespace_is_no_trouble_to_speak_of(arena: Arena) -> None:
    """Its namespace is deleted: for a moment the children are gone, and the resource isn't yet."""
    said = f"services {NAME!r} is forbidden: unable to create new content in namespace x because it is being terminated"
    with arena.lane("leaving") as lane:
        lane.put(scaling={"mode": "Manual", "replicas": 0})
        until("it serves", lane.serves, seen=lane.seen)
        refusal = Reply(403, message=said)
        lane.proxy.judge = lambda request: (
            refusal if request.method == "PATCH" and "/services/" in request.path else None
        )
        lane.child("DELETE", "services")
        until("it was tried", lambda: sum(w.status == 0 for w in lane.proxy.writes) > 2, seen=lane.seen)
        conditions = arena.api.get(lane.path)["status"]["conditions"]
        assert not [c for c in conditions if c["reason"] == "ChildRefused"]
        lane.proxy.judge = lambda _: None
        until("it is back", lambda: arena.api.find(f"api/v1/namespaces/{lane.namespace}/services/{NAME}"))
