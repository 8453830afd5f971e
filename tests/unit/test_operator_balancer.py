"""The balancer: what is made for it, when requests go through it, and what is said of it."""

import re
from typing import Any

import pytest

from corefit_core import naming
from corefit_core.errors import InvalidInput
from corefit_core.quantity import parse_bytes, parse_millicores
from corefit_core.spec.decode import decode
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.balancer import balancing, config, manifests
from corefit_operator.balancer.balancing import Balancing, Sight
from corefit_operator.balancer.settle import BalancerState
from corefit_operator.children import metadata, registry
from corefit_operator.children import service as child_service
from corefit_operator.children.defaults import Defaults
from corefit_operator.diagnosis.problem import Problem
from corefit_operator.kube.workloads import Child, decode_child

DEFAULTS = Defaults(image="runtime:1", balancer_image="haproxy:2.6")
QUEUE = {"balancing": "Queue"}


def _service(name: str = "digits", **spec: Any) -> ServingSpec:
    meta = {"name": name, "namespace": "n", "uid": "u-1", "generation": 1}
    return decode({"metadata": meta, "spec": {"model": {"uri": "http://m/a.onnx"}, "routing": QUEUE, **spec}})


def _deployment(available: int = 0, *, replicas: int = 2, generation: int = 1, **status: Any) -> Child:
    seen = {"observedGeneration": 1, "replicas": replicas, "availableReplicas": available, **status}
    meta = {"name": "digits-balancer", "generation": generation}
    return decode_child("Deployment", {"metadata": meta, "spec": {"replicas": replicas}, "status": seen})


def _look(service: ServingSpec, deployment: Child | None = None, **sight: Any) -> Balancing:
    return balancing.look(service, Sight(deployment=deployment, **{"serving": True, **sight}), DEFAULTS)


def _by_kind(service: ServingSpec) -> dict[str, dict[str, Any]]:
    return {child["kind"]: child for child in manifests.desired(service, DEFAULTS)}


def test_all_objects_are_children_of_the_resource_under_names_of_their_own() -> None:
    service = _service()
    taken = {(child["kind"], child["metadata"]["name"]) for child in registry.desired(service, DEFAULTS)}
    for child in manifests.desired(service, DEFAULTS):
        meta = child["metadata"]
        assert (child["kind"], meta["name"]) not in taken
        assert meta["ownerReferences"][0]["uid"] == "u-1"
        assert meta["labels"][naming.LABEL_SERVICE] == "digits"
        assert meta["annotations"][naming.ANNOTATION_APPLIED]


def test_the_longest_names_fit_a_dns_label() -> None:
    for name in ("a" * 46, "b" * 253):
        service = _service(name)
        assert all(naming.is_rfc1035_label(child["metadata"]["name"]) for child in manifests.desired(service, DEFAULTS))


def test_no_balancer_is_a_pod_of_the_service_and_no_pod_one_of_the_balancer() -> None:
    service = _service(template={"labels": {"team": "a"}})
    balancer = _by_kind(service)["Deployment"]["spec"]["template"]["metadata"]["labels"]
    pod = registry.desired(service, DEFAULTS)[-1]["spec"]["template"]["metadata"]["labels"]
    assert not metadata.own_pods(service).items() <= balancer.items()
    assert not metadata.balancer_pods(service).items() <= pod.items()
    assert metadata.balancer_pods(service).items() <= balancer.items()


def test_the_service_keeps_all_but_whom_it_sends_to() -> None:
    service = _service()
    direct = registry.desired(service, DEFAULTS)
    queue = child_service.to_balancer(service, direct)
    differing = [(a, b) for a, b in zip(direct, queue, strict=True) if a != b]
    assert [a["kind"] for a, _ in differing] == ["Service"]
    before, after = differing[0][0]["spec"], differing[0][1]["spec"]
    assert after["selector"] == metadata.balancer_pods(service)
    assert {**before, "selector": {}} == {**after, "selector": {}}


def test_the_balancers_pods_satisfy_the_restricted_standard_and_have_no_token() -> None:
    pod = _by_kind(_service())["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_balancers_pods_run_where_the_services_pods_may() -> None:
    template = {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}], "priorityClassName": "high"}
    pod = _by_kind(_service(template=template))["Deployment"]["spec"]["template"]["spec"]
    assert {key: pod[key] for key in template} == template


def test_the_configuration_names_the_pods_and_what_ends_last_is_the_pod() -> None:
    service = _service()
    spec = _by_kind(service)["Deployment"]["spec"]["template"]
    text = spec["metadata"]["annotations"][naming.ANNOTATION_BALANCER_CONFIG]
    assert "digits-pods.n.svc.cluster.local:8080" in text
    assert f"hard-stop-after {config.hard_stop_s(service)}s" in text
    assert spec["spec"]["terminationGracePeriodSeconds"] > config.hard_stop_s(service)


@pytest.mark.parametrize(("most", "slots"), [(2, 16), (8, 16), (9, 32), (250, 512)])
def test_there_is_room_for_twice_the_pods_and_few_changes_replace_the_balancers(most: int, slots: int) -> None:
    assert f"pod 1-{slots} " in config.text(_service(scaling={"maxReplicas": most}), "host")


@pytest.mark.parametrize(
    ("resources", "weight"),
    [({"cpu": "250m"}, 256), ({"cpu": "250m", "maxCPU": "1"}, 64), ({"cpu": "100m", "maxCPU": "64"}, 1)],
)
def test_the_largest_pod_weighs_no_more_than_haproxy_knows(resources: dict[str, Any], weight: int) -> None:
    assert f" weight {weight} " in config.text(_service(resources=resources), "host")


def test_what_clients_have_begun_to_send_fits_the_memory_of_a_balancer() -> None:
    """7,000 clients that each sent 14 KB of a head took 129 MB of the 128 that it has."""
    text = config.text(_service(), "host")
    [buffers] = re.findall(r"tune\.buffers\.limit (\d+)", text)
    assert "tune.bufsize" not in text, "16 KiB by default, and 1 KiB around it"
    assert int(buffers) * 17 * 1024 < 0.6 * parse_bytes(manifests.MEMORY)


def test_the_queue_takes_over_once_a_balancer_serves_and_the_service_whenever_none_does() -> None:
    service = _service()
    none, starting, serving = _look(service), _look(service, _deployment(0)), _look(service, _deployment(1))
    assert [found.queue for found in (none, starting, serving)] == [False, False, True]
    assert all(found.wanted for found in (none, starting, serving))
    assert (starting.reason, serving.reason, serving.pods) == ("Starting", "Queue", 2)


def test_a_balancer_takes_no_room_before_a_pod_serves() -> None:
    """It could take the last of a quota from the pods."""
    assert not _look(_service(), serving=False).wanted
    assert _look(_service(), _deployment(0), serving=False).wanted, "a balancer that is there stays"


def test_nothing_is_sent_to_balancers_that_are_about_to_go() -> None:
    """From Queue to Direct and at once back: the old balancers are counted until the controller has looked."""
    service = _service()
    assert not _look(service, _deployment(2, replicas=0)).queue
    assert not _look(service, _deployment(2, generation=2)).queue
    assert _look(service, _deployment(2, generation=2), routed=True).queue, "a new template changes nothing of it"


def test_direct_says_nothing() -> None:
    assert _look(_service(routing={"balancing": "Direct"}), _deployment(1)) == Balancing()


@pytest.mark.parametrize(
    ("scaling", "reason"),
    [
        ({"maxReplicas": 1}, "OnePod"),
        ({"maxReplicas": 251}, "TooManyPods"),
        ({"mode": "Manual", "replicas": 251}, "TooManyPods"),
    ],
)
def test_where_a_queue_is_not_for_there_is_none(scaling: dict[str, Any], reason: str) -> None:
    found = _look(_service(scaling=scaling), _deployment(2))
    assert (found.queue, found.wanted, found.reason) == (False, False, reason)


def test_without_an_image_the_message_names_the_charts_value() -> None:
    found = balancing.look(_service(), Sight(serving=True), Defaults(image="r"))
    assert (found.queue, found.wanted, found.reason) == (False, False, "NoImage")
    assert "balancerImage" in found.message


def test_a_quota_that_forbids_the_pods_is_named() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": 'pods "x" is forbidden: exceeded quota: q'}
    found = _look(_service(), _deployment(0, conditions=[failure]))
    assert (found.queue, found.reason) == (False, "QuotaExceeded")
    assert "exceeded quota: q" in found.message


def test_a_name_that_is_taken_is_named() -> None:
    refused = Problem(reason="NameTaken", message="A Service named digits-pods exists already.")
    found = _look(_service(), refused=refused)
    assert (found.queue, found.reason) == (False, "NameTaken")
    assert "digits-pods" in found.message


def test_the_manifests_are_made_once_as_long_as_the_resource_does_not_change() -> None:
    """They were made and hashed in each round."""
    state, service = BalancerState(), _service()
    first = state.manifests(service, DEFAULTS)
    assert state.manifests(service, DEFAULTS) is first
    changed = state.manifests(_service(scaling={"maxReplicas": 100}), DEFAULTS)
    assert changed == manifests.desired(_service(scaling={"maxReplicas": 100}), DEFAULTS) != first
    state.forget()
    assert state.made == ()


def test_the_routing_rolls_no_pod() -> None:
    direct, queue = _service(routing={"balancing": "Direct"}), _service()
    assert registry.desired(direct, DEFAULTS)[-1] == registry.desired(queue, DEFAULTS)[-1]


@pytest.mark.parametrize(
    "spec",
    [{"mode": "Sidecar"}, {"application": {"containers": [{"name": "web", "image": "w"}]}}],
)
def test_a_queue_is_for_pods_of_the_runtime_alone(spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"spec\.routing: balancing Queue"):
        _service(**spec)


def _auto(**spec: Any) -> ServingSpec:
    return _service(routing={"balancing": "Auto"}, **spec)


def test_auto_is_a_queue_while_that_is_worth_its_balancer_and_nothing_else_is_said_while_it_is_not() -> None:
    assert _look(_auto(), _deployment(2), worth=False) == Balancing()
    assert _look(_auto(), _deployment(2), worth=True) == _look(_service(), _deployment(2))
    assert _look(_auto(), worth=True) == _look(_service())


def test_in_mode_recommend_auto_leaves_what_is_there_and_in_mode_manual_there_is_no_queue() -> None:
    recommend, manual = _auto(scaling={"mode": "Recommend"}), _auto(scaling={"mode": "Manual", "replicas": 3})
    for worth in (False, True):
        assert _look(recommend, _deployment(2), worth=worth).queue
        assert _look(recommend, worth=worth) == Balancing()
        assert _look(recommend, _deployment(0, replicas=0), worth=worth) == Balancing()
        assert _look(manual, _deployment(2), worth=worth) == Balancing()


@pytest.mark.parametrize(
    "spec",
    [{"mode": "Sidecar"}, {"application": {"containers": [{"name": "web", "image": "w"}]}}],
)
def test_auto_is_never_a_queue_for_pods_with_an_application(spec: dict[str, Any]) -> None:
    for mode in ("Auto", "Recommend", "Manual"):
        assert _look(_auto(**spec, scaling={"mode": mode}), _deployment(2), worth=True) == Balancing()


def test_auto_says_why_there_is_no_balancer_where_one_would_be_worth_it() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": 'pods "x" is forbidden: exceeded quota: q'}
    found = _look(_auto(), _deployment(0, conditions=[failure]), worth=True)
    assert (found.queue, found.reason) == (False, "QuotaExceeded")
    found = balancing.look(_auto(), Sight(serving=True, worth=True), Defaults(image="r"))
    assert (found.queue, found.wanted, found.reason) == (False, False, "NoImage")
    found = _look(_auto(scaling={"maxReplicas": 1}), _deployment(2), worth=True)
    assert (found.queue, found.wanted, found.reason) == (False, False, "OnePod")


def test_what_a_balancer_takes_is_what_its_pods_request() -> None:
    spec = _by_kind(_service())["Deployment"]["spec"]
    [container] = spec["template"]["spec"]["containers"]
    assert manifests.TAKEN.millicores == spec["replicas"] * parse_millicores(container["resources"]["requests"]["cpu"])
    assert manifests.TAKEN.most == parse_millicores(container["resources"]["limits"]["cpu"])
