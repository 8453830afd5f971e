"""An operator that wants another pod template than before: few resources roll at a time, the others say so."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from faults.api import APPLY
from faults.arena import Arena, Lane, complete, until

from corefit_core.naming import GROUP, KIND, PLURAL, VERSION

pytestmark = pytest.mark.cluster
NAMES = ("one", "two", "three", "four")
AT_ONCE = 1


@pytest.fixture
def lane(arena: Arena) -> Iterator[Lane]:
    with ExitStack() as stack:
        yield stack.enter_context(arena.lane("upgrade", "--upgrades-at-once", str(AT_ONCE), "--round-seconds", "0.5"))


def _service(lane: Lane, name: str) -> dict[str, Any]:
    return lane.arena.api.find(f"apis/{GROUP}/{VERSION}/namespaces/{lane.namespace}/{PLURAL}/{name}")


def _ask(lane: Lane, name: str) -> None:
    spec = {
        "model": {"uri": "http://models/digits.onnx"},
        "resources": {"cpu": "200m", "memory": "256Mi"},
        "scaling": {"mode": "Manual", "replicas": 2},
    }
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {"name": name}, "spec": spec}
    path = f"apis/{GROUP}/{VERSION}/namespaces/{lane.namespace}/{PLURAL}/{name}"
    lane.arena.api("PATCH", f"{path}?fieldManager=tester&force=true", body, APPLY)


def _progress(lane: Lane, name: str) -> str:
    conditions = _service(lane, name).get("status", {}).get("conditions", ())
    return next((c["reason"] for c in conditions if c["type"] == "Progressing"), "")


def _deployments(lane: Lane) -> str:
    return f"apis/apps/v1/namespaces/{lane.namespace}/deployments"


def _images(lane: Lane) -> set[str]:
    """Of the Deployments' templates."""
    found = lane.arena.api.get(_deployments(lane))["items"]
    return {each["spec"]["template"]["spec"]["containers"][0]["image"] for each in found}


def _rolled(lane: Lane, since: str, last: Mapping[str, str]) -> list[set[str]]:
    """Which Deployments rolled at a time, from one version of their list on until each had its last."""
    found: dict[str, Any] = {}
    rolled = []
    for event in lane.arena.api.events(_deployments(lane), since):
        assert event["type"] != "ERROR", event
        found[event["object"]["metadata"]["name"]] = event["object"]
        rolled.append({name for name, each in found.items() if _rolls(each)})
        if last == {name: each["metadata"]["resourceVersion"] for name, each in found.items()}:
            break
    return rolled


def _rolls(deployment: dict[str, Any]) -> bool:
    meta, status = deployment["metadata"], deployment["status"]
    behind = status.get("updatedReplicas", 0) < status.get("replicas", 0)
    return behind or status.get("observedGeneration") != meta["generation"]


def test_an_upgrade_with_another_template_rolls_one_resource_at_a_time_and_the_others_say_that_they_wait(
    lane: Lane,
) -> None:
    for name in NAMES:
        _ask(lane, name)
    until("all serve", lambda: all(complete(_service(lane, name)) for name in NAMES), seen=lane.seen)
    since = lane.arena.api.get(_deployments(lane))["metadata"]["resourceVersion"]
    lane.operator.replace("--runtime-image", "corefit/runtime:next")
    until("it says who waits", lambda: any(_progress(lane, n) == "UpgradePending" for n in NAMES), seen=lane.seen)

    def over() -> bool:
        return _images(lane) == {"corefit/runtime:next"} and all(complete(_service(lane, name)) for name in NAMES)

    until("all are of the next template", over, seen=lane.seen)
    deployments = lane.arena.api.get(_deployments(lane))["items"]
    rolled = _rolled(lane, since, {d["metadata"]["name"]: d["metadata"]["resourceVersion"] for d in deployments})
    assert max(map(len, rolled)) <= AT_ONCE, rolled
    assert any(rolled)
