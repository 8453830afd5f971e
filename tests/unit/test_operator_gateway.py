"""Gateways of a resource: the HTTPRoute that is made from them, and what the condition RouteReady says of it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from unit.test_operator_reconcile import HOOK, KEY, ROUND_S, World

from corefit_core.errors import InvalidInput
from corefit_core.naming import PORT_HTTP
from corefit_core.spec.decode import decode
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.children import service
from corefit_operator.children.defaults import Defaults
from corefit_operator.gateway import manifests, routed
from corefit_operator.gateway.settle import AGAIN_S
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.routes import decode_status

GATEWAY: dict[str, Any] = {
    "parentRefs": [{"name": "public", "namespace": "infra"}],
    "hostnames": ["models.example.com"],
}
ROUTE = "HTTPRoute"


def specified(gateway: Mapping[str, Any] | None = None, **spec: Any) -> ServingSpec:
    routing = {"gateway": GATEWAY if gateway is None else gateway}
    meta = {"name": "a", "namespace": "n", "uid": "u", "generation": 1}
    return decode({"metadata": meta, "spec": {"model": {"uri": "http://x/y"}, "routing": routing, **spec}})


def made(gateway: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    found = specified(gateway, **spec)
    assert found.gateway is not None
    body: dict[str, Any] = json.loads(json.dumps(manifests.desired(found, found.gateway)))
    return body


def test_the_route_leads_from_the_gateways_to_the_port_of_the_service() -> None:
    timeouts = {"request": "10s", "backendRequest": "500ms"}
    found = made({**GATEWAY, "timeouts": timeouts})
    assert (found["apiVersion"], found["kind"]) == ("gateway.networking.k8s.io/v1", ROUTE)
    (rule,) = found["spec"]["rules"]
    assert {k: v for k, v in found["spec"].items() if k != "rules"} == GATEWAY
    assert rule["timeouts"] == timeouts
    sent = service.manifest(specified(), Defaults(image="i"))
    assert rule["backendRefs"] == [{"name": sent["metadata"]["name"], "port": sent["spec"]["ports"][0]["port"]}]
    assert sent["spec"]["ports"][0]["port"] == PORT_HTTP
    assert found["metadata"]["ownerReferences"][0]["uid"] == "u"


def test_resources_may_share_a_host_since_each_has_the_longer_path_of_its_model() -> None:
    """Of two routes for a host the longer path goes first, and then the older route."""
    paths = [match["path"] for match in made()["spec"]["rules"][0]["matches"]]
    assert paths == [{"type": "PathPrefix", "value": path} for path in ("/v2/models/a", "/")]
    beside = made(application={"containers": [{"name": "web", "image": "web"}]})
    assert [match["path"]["value"] for match in beside["spec"]["rules"][0]["matches"]] == ["/"]


def test_a_route_without_gateways_is_sent_nothing() -> None:
    assert set(manifests.detached(specified())["spec"]) == {"rules"}


def test_gateways_roll_no_pod() -> None:
    plain = decode({"metadata": {"name": "a"}, "spec": {"model": {"uri": "http://x/y"}}})
    assert plain.spec_hash == specified().spec_hash


def test_nulls_that_an_apply_leaves_are_nothing() -> None:
    assert specified({**GATEWAY, "timeouts": None}).gateway == specified().gateway
    empty = {"model": {"uri": "http://x/y"}, "routing": {"gateway": None}}
    assert decode({"metadata": {"name": "a"}, "spec": empty}).gateway is None


@pytest.mark.parametrize(
    ("gateway", "spec"),
    [
        (GATEWAY, {"mode": "Sidecar"}),
        ({"parentRefs": []}, {}),
        ({"hostnames": ["a.example.com"]}, {}),
        ({**GATEWAY, "hostnames": ["a.example.com\n"]}, {}),
        ({**GATEWAY, "hostnames": ["A.example.com"]}, {}),
        ({**GATEWAY, "hostnames": ["a.*.com"]}, {}),
        ({"parentRefs": [{"name": "../secrets"}]}, {}),
        ({"parentRefs": [{"name": "a", "namespace": "a.b"}]}, {}),
        ({**GATEWAY, "timeouts": {"request": "1.5s"}}, {}),
    ],
)
def test_what_is_older_than_the_schema_or_breaks_its_rules_cannot_be_read(
    gateway: dict[str, Any], spec: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput, match="routing"):
        specified(gateway, **spec)


def parent(name: str = "public", namespace: str = "infra", **said: tuple[str, str]) -> dict[str, Any]:
    conditions = [
        {"type": type_, "status": status, "reason": reason, "message": "so it is", "observedGeneration": 3}
        for type_, (status, reason) in said.items()
    ]
    return {"parentRef": {"name": name, "namespace": namespace}, "controllerName": "c", "conditions": conditions}


TAKEN = parent(Accepted=("True", "Accepted"), ResolvedRefs=("True", "ResolvedRefs"))
REFUSED = parent(Accepted=("False", "NotAllowedByListeners"), ResolvedRefs=("True", "ResolvedRefs"))
LOST = parent(Accepted=("True", "Accepted"), ResolvedRefs=("False", "BackendNotFound"))


@pytest.mark.parametrize(
    ("parents", "reason", "says"),
    [
        ([TAKEN], "Accepted", "The Gateway infra/public sends requests for models.example.com to the Service a."),
        ([], "Pending", "kubectl get gateway"),
        ([parent(namespace="n")], "Pending", "No controller has answered for the Gateway infra/public"),
        ([parent()], "Pending", "has not judged the route yet"),
        ([REFUSED], "NotAccepted", "infra/public says NotAllowedByListeners: so it is. Correct spec.routing.gateway"),
        ([LOST], "RefsNotResolved", "BackendNotFound: so it is. See the status of the HTTPRoute"),
        ([REFUSED, TAKEN], "Accepted", "infra/public"),
    ],
)
def test_the_condition_says_what_the_gateways_say(parents: list[Any], reason: str, says: str) -> None:
    spec = specified()
    assert spec.gateway is not None
    found = routed.by_status(spec, spec.gateway, 3, decode_status({"status": {"parents": parents}}))
    assert (found.ready, found.reason) == (reason == "Accepted", reason)
    assert says in found.message


def test_what_was_said_of_an_older_route_counts_for_nothing() -> None:
    spec = specified()
    assert spec.gateway is not None
    assert routed.by_status(spec, spec.gateway, 4, decode_status({"status": {"parents": [TAKEN]}})).reason == "Pending"


def test_one_gateway_of_two_is_not_enough_and_the_own_namespace_need_not_be_named() -> None:
    spec = specified({"parentRefs": [*GATEWAY["parentRefs"], {"name": "inner"}]})
    assert spec.gateway is not None
    inner = parent("inner", "", Accepted=("True", "Accepted"), ResolvedRefs=("True", "ResolvedRefs"))
    for parents, reason in (([TAKEN], "Pending"), ([TAKEN, inner], "Accepted")):
        found = routed.by_status(spec, spec.gateway, 3, decode_status({"status": {"parents": parents}}))
        assert found.reason == reason
    assert found.message == "The Gateways infra/public, inner send requests to the Service a."


@pytest.mark.parametrize("status", ["text", {"parents": 5}, {"parents": [{"conditions": "x"}]}, None])
def test_a_status_that_cannot_be_read_says_nothing(status: Any) -> None:
    assert decode_status({"status": status}).parents == ()


def test_a_message_is_bounded_however_many_names_there_are() -> None:
    hosts = [f"{'a' * 63}.{'b' * 63}.{'c' * 63}.d{n}" for n in range(16)]
    spec = specified({"parentRefs": [{"name": f"{'g' * 253}"[:250] + str(n)} for n in range(8)], "hostnames": hosts})
    assert spec.gateway is not None
    refs = [{"parentRef": {"name": ref.name}, "conditions": TAKEN["conditions"]} for ref in spec.gateway.parent_refs]
    found = routed.by_status(spec, spec.gateway, 3, decode_status({"status": {"parents": refs}}))
    assert found.ready
    assert "and 12 more" in found.message
    assert len(found.message) < 4096


class Cluster(World):
    """One that may have HTTPRoutes."""

    def __init__(self) -> None:
        super().__init__()
        self.routes, self.has, self.forbidden = dict[str, Any](), True, False
        self.looked = 0

    async def serves(self, kind: str) -> bool:
        assert kind == ROUTE
        return self.has

    async def get(self, kind: str, *names: object) -> dict[str, Any] | None:
        if kind != ROUTE:
            return await super().get(kind, *names)
        self.looked += 1
        if self.forbidden:
            raise ApiError("httproutes is forbidden", status=403)
        if "get" in self.fails:
            raise self.fails["get"]
        return self.routes.get("a") if self.has else None

    async def apply(self, manifest: Mapping[str, Any], version: str = "", **options: Any) -> dict[str, Any]:
        applied = await super().apply(manifest, version, **options)
        if manifest["kind"] == ROUTE:
            self.routes["a"] = applied = {**applied, "status": {}}
        return applied

    async def again(self, seconds: float = ROUND_S) -> list[str]:
        self.now += seconds
        await self.reconcile()
        return self.calls

    @property
    def said(self) -> dict[str, str] | None:
        return next((c for c in self.status["conditions"] if c["type"] == "RouteReady"), None)


async def routed_world() -> Cluster:
    world = Cluster()
    world.asks(routing={"gateway": GATEWAY})
    await world.reconcile()
    assert ROUTE not in world.calls, "first it is said, so that whoever comes next knows that there may be one"
    assert world.condition("RouteReady") == ("False", "Pending")
    assert ROUTE in await world.again(0.1)
    return world


async def test_the_route_is_made_once_and_its_status_is_the_resources() -> None:
    world = await routed_world()
    assert ROUTE not in await world.again()
    world.routes["a"]["status"] = {
        "parents": [{**TAKEN, "conditions": [{**c, "observedGeneration": 1} for c in TAKEN["conditions"]]}]
    }
    await world.again(AGAIN_S)
    assert world.condition("RouteReady") == ("True", "Accepted")
    looked = world.looked
    for _ in range(10):
        assert ROUTE not in await world.again()
    assert world.looked - looked <= 10 * ROUND_S / AGAIN_S + 1


async def test_what_others_make_of_the_route_is_mended() -> None:
    world = await routed_world()
    await world.again()
    (entry,) = world.routes["a"]["metadata"]["managedFields"]
    changed = {**world.routes["a"]["metadata"], "managedFields": [{**entry, "fieldsV1": {}}], "resourceVersion": "900"}
    world.routes["a"] = {**world.routes["a"], "metadata": changed}
    assert ROUTE in await world.again(AGAIN_S)
    del world.routes["a"]
    assert ROUTE in await world.again(AGAIN_S)


async def test_gateways_that_are_not_asked_for_any_more_are_taken_out_also_by_the_next_operator() -> None:
    world = await routed_world()
    await world.again()
    world.reconciler._states.clear()
    world.asks(routing={})
    assert ROUTE in await world.again()
    assert "parentRefs" not in world.routes["a"]["spec"]
    assert world.said is None
    looked = world.looked
    assert ROUTE not in await world.again(AGAIN_S)
    assert world.looked == looked, "a resource without Gateways costs nothing"


async def test_as_long_as_they_cannot_be_taken_out_the_status_says_so() -> None:
    world = await routed_world()
    await world.again()
    world.fails = {ROUTE: HOOK}
    world.asks(routing={})
    await world.again()
    assert world.condition("RouteReady") == ("False", "Pending")
    world.fails = {}
    await world.again(120)
    assert world.said is None
    assert "parentRefs" not in world.routes["a"]["spec"]


async def test_a_spec_that_cannot_be_read_does_not_hide_that_there_is_a_route() -> None:
    world = await routed_world()
    world.asks(resources={"cpu": "many"})
    await world.again()
    assert world.said is not None
    world.asks(resources={"cpu": "1"}, routing={})
    await world.again()
    assert "parentRefs" not in world.routes["a"]["spec"]


async def test_without_the_gateway_api_the_condition_says_what_to_do_and_nothing_else_differs() -> None:
    world = Cluster()
    world.has = False
    world.asks(routing={"gateway": GATEWAY})
    await world.reconcile()
    assert ROUTE not in await world.again()
    assert world.condition("RouteReady") == ("False", "NoGatewayAPI")
    assert world.said is not None
    assert "Install the Gateway API" in world.said["message"]
    plain = World()
    await plain.reconcile()
    await plain.reconcile()
    ours = {c["type"]: c["reason"] for c in world.status["conditions"] if c["type"] != "RouteReady"}
    assert ours == {c["type"]: c["reason"] for c in plain.status["conditions"]}
    world.has = True
    assert ROUTE in await world.again(AGAIN_S), "it may be installed later"


async def test_without_the_right_the_message_names_the_charts_value() -> None:
    world = Cluster()
    world.forbidden = True
    world.asks(routing={"gateway": GATEWAY})
    await world.reconcile()
    await world.again()
    assert world.condition("RouteReady") == ("False", "NotAllowed")
    assert world.said is not None
    assert "httpRoutes" in world.said["message"]


async def test_an_api_server_that_does_not_answer_keeps_neither_pods_nor_status_waiting() -> None:
    world = await routed_world()
    world.fails = {"get": ApiError("no answer", status=0)}
    assert "status" in await world.again() or world.calls == []
    assert world.condition("RouteReady") == ("False", "Pending")
    assert (await world.reconciler.reconcile(KEY) or 0) <= ROUND_S


async def test_a_route_of_somebody_else_stays_theirs() -> None:
    world = Cluster()
    theirs = {"metadata": {"name": "a", "namespace": "n", "uid": "x", "resourceVersion": "7"}, "spec": {"rules": []}}
    world.routes["a"] = theirs
    world.asks(routing={"gateway": GATEWAY})
    await world.reconcile()
    assert ROUTE not in await world.again()
    assert world.condition("RouteReady") == ("False", "NameTaken")
    world.asks(routing={})
    assert ROUTE not in await world.again()
    assert world.said is None
    assert world.routes["a"] is theirs


async def test_no_route_leads_to_a_service_of_somebody_else() -> None:
    """A tenant put a Service that was there before on a Gateway: the resource of its name got the route alone."""
    world = Cluster()
    theirs = {"metadata": {"name": "a", "namespace": "n", "uid": "x", "resourceVersion": "7"}, "spec": {}}
    whole = world.get

    async def get(kind: str, *names: object) -> dict[str, Any] | None:
        return theirs if kind == "Service" else await whole(kind, *names)

    world.get = get  # type: ignore[method-assign]
    world.asks(routing={"gateway": GATEWAY})
    await world.reconcile()
    for _ in range(3):
        assert ROUTE not in await world.again(60)
    assert world.condition("Ready")[1] == "NameTaken"
    assert world.condition("RouteReady") == ("False", "NameTaken")


async def test_a_resource_that_the_policy_forbids_gets_no_route() -> None:
    world = Cluster()
    world.asks(routing={"gateway": GATEWAY}, image="elsewhere")
    await world.reconcile()
    assert ROUTE not in await world.again()
    assert world.said is not None
    assert world.said["reason"] == world.condition("Ready")[1]
