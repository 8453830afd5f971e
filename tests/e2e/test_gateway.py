"""An HTTPRoute on the cluster, by the operator's own rights. What controllers say of it: tests/faults/test_gateway."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.cluster
CRD = Path(__file__).parents[1] / "faults/httproutes.yaml"
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def gateway_api(kube: Any) -> Any:
    kube.run("kubectl", "apply", "--server-side", "-f", str(CRD))
    kube.served("httproutes")
    yield kube
    kube.run("kubectl", "delete", "-f", str(CRD))


def test_a_route_is_made_of_what_the_resource_names(gateway_api: Any, service: Make) -> None:
    kube = gateway_api
    gateway = {"parentRefs": [{"name": "public"}], "hostnames": ["digits.example.com"]}
    kube.apply(service(routing={"gateway": gateway}))
    kube.until("the route is there", lambda: kube.find("httproute", "digits"))
    spec = kube.get("httproute", "digits")["spec"]
    assert spec["hostnames"] == ["digits.example.com"]
    assert [parent["name"] for parent in spec["parentRefs"]] == ["public"]
    [backend] = {ref["name"] for rule in spec["rules"] for ref in rule["backendRefs"]}
    assert backend == kube.get("service", "digits")["metadata"]["name"]
    kube.until("it says so", lambda: kube.condition("digits", "RouteReady").get("reason") == "Pending")
