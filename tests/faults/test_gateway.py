"""The HTTPRoute of a resource on a real API server, with the Gateway API's own CRD and a controller that is the test.

The other tests' operators are asked for Gateways too: sequences draw them.
"""

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from aiohttp import web
from faults.api import JSON, MERGE
from faults.arena import NAME, ROOT, Arena, Lane, program, until
from faults.proxy import Reply

from corefit_operator.gateway.settle import AGAIN_S

pytestmark = pytest.mark.cluster
GATEWAY = {
    "parentRefs": [{"name": "public", "namespace": "infra"}],
    "hostnames": ["digits.example.com"],
    "timeouts": {"request": "10s"},
}


def _path(lane: Lane) -> str:
    return f"apis/gateway.networking.k8s.io/v1/namespaces/{lane.namespace}/httproutes/{NAME}"


def _route(lane: Lane) -> dict[str, Any]:
    return lane.arena.api.find(_path(lane)) or {}


def _says(lane: Lane, reason: str) -> bool:
    status: dict[str, Any] = lane.arena.api.get(lane.path).get("status", {})
    return any(c["type"] == "RouteReady" and c["reason"] == reason for c in status.get("conditions", ()))


def _silent_about_it(lane: Lane) -> bool:
    status = lane.arena.api.get(lane.path).get("status", {})
    return "RouteReady" not in [c["type"] for c in status.get("conditions", ())]


def _answer(lane: Lane, **said: str) -> None:
    """As the controller of the Gateway does."""
    route = _route(lane)
    at = "2026-01-01T00:00:00Z"
    conditions = [
        {
            "type": type_,
            "status": status,
            "reason": type_,
            "message": "",
            "lastTransitionTime": at,
            "observedGeneration": route["metadata"]["generation"],
        }
        for type_, status in said.items()
    ]
    parent = {"parentRef": GATEWAY["parentRefs"][0], "controllerName": "example.com/c", "conditions": conditions}
    lane.arena.api("PATCH", f"{_path(lane)}/status", {"status": {"parents": [parent]}}, MERGE)


def _until(lane: Lane, what: str, holds: Callable[[], object]) -> None:
    until(what, holds, seen=lane.seen)


def test_a_route_is_made_judged_mended_and_taken_away(arena: Arena) -> None:
    with arena.lane("gateway") as lane:
        lane.put(routing={"gateway": GATEWAY})
        _until(lane, "no controller has answered", lambda: _says(lane, "Pending") and _route(lane))
        spec = _route(lane)["spec"]
        assert spec["rules"][0]["backendRefs"][0]["name"] == NAME
        assert (spec["hostnames"], spec["rules"][0]["timeouts"]) == (["digits.example.com"], {"request": "10s"})

        _answer(lane, Accepted="False", ResolvedRefs="True")
        _until(lane, "it is refused", lambda: _says(lane, "NotAccepted"))
        _answer(lane, Accepted="True", ResolvedRefs="True")
        _until(lane, "it is accepted", lambda: _says(lane, "Accepted"))
        lane.silent(AGAIN_S + 5)

        arena.api("PATCH", _path(lane), {"spec": {"hostnames": ["other.example.com"]}}, MERGE)
        _until(lane, "it is mended", lambda: _route(lane)["spec"].get("hostnames") == ["digits.example.com"])
        arena.api("DELETE", _path(lane), None, JSON)
        _until(lane, "it is made again", lambda: _route(lane))

        _until(lane, "nobody has judged the new one", lambda: _says(lane, "Pending"))
        lane.restart()
        lane.put(routing={"balancing": "Direct"})
        _until(lane, "it has no Gateways", lambda: "parentRefs" not in _route(lane)["spec"])
        _until(lane, "nothing is said of it", lambda: _silent_about_it(lane))

        lane.put(routing={"gateway": GATEWAY})
        _until(lane, "it has again", lambda: "parentRefs" in _route(lane)["spec"])
        lane.delete()
        _until(lane, "it goes with the resource", lambda: not _route(lane))


def test_an_operator_that_is_killed_right_after_it_made_a_route_leaves_none_behind(arena: Arena) -> None:
    """The next one finds a resource that asks for none, and knows by the status that there may be one."""
    with arena.lane("killed") as lane:

        def made(request: web.Request) -> Reply | None:
            return Reply(503) if request.method == "PATCH" and request.path.endswith(f"/{NAME}/status") else None

        lane.put(routing={"gateway": GATEWAY})
        _until(lane, "it is said that there is to be one", lambda: not _silent_about_it(lane))
        lane.proxy.judge = made
        _until(lane, "it is made", lambda: _route(lane))
        lane.put(routing={"balancing": "Direct"})
        lane.restart()
        lane.proxy.judge = lambda _: None
        _until(lane, "it has no Gateways", lambda: "parentRefs" not in _route(lane)["spec"])
        _until(lane, "nothing is said of it", lambda: _silent_about_it(lane))


def test_a_cluster_without_the_gateway_api_serves_all_the_same(arena: Arena) -> None:
    with arena.lane("without") as lane:

        def lacks(request: web.Request) -> Reply | None:
            return Reply(404) if "gateway.networking.k8s.io" in request.path else None

        lane.proxy.judge = lacks
        lane.put(routing={"gateway": GATEWAY})
        _until(lane, "it says so", lambda: _says(lane, "NoGatewayAPI"))
        _until(lane, "it serves", lane.serves)
        lane.silent(AGAIN_S + 5)
        lane.proxy.judge = lambda _: None
        _until(lane, "it is made once there is one", lambda: _route(lane))


@pytest.mark.parametrize("allowed", [False, True])
def test_the_right_to_make_routes_is_there_only_where_the_charts_value_says_so(allowed: bool) -> None:
    values = ("--values", ROOT / "devcluster/chart-values.yaml", "--set", f"httpRoutes={str(allowed).lower()}")
    command = [program("helm"), "template", "corefit", ROOT / "charts/corefit", *values]
    rendered = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    roles = [each for each in yaml.safe_load_all(rendered) if each and each["kind"] == "ClusterRole"]
    found = [rule["verbs"] for role in roles for rule in role["rules"] if "httproutes" in rule["resources"]]
    assert found == ([["get", "create", "patch"]] if allowed else [])
