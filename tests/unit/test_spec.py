"""What a resource asks for, decoded: each field reaches the operator, and where fields contradict each other."""

from typing import Any

import pytest

from corefit_core.errors import InvalidInput
from corefit_core.recommender import Price
from corefit_core.sizing import Objective
from corefit_core.spec.decode import decode
from corefit_core.spec.serving_spec import ServingSpec

MODEL = {"uri": "http://models/a.onnx"}
WEB = {"containers": [{"name": "web", "image": "w"}]}
BURST = {"cpu": "500m", "maxCPU": "2", "growth": "Burst"}


def _decode(meta: dict[str, Any] | None = None, **spec: Any) -> ServingSpec:
    return decode(
        {"metadata": {"name": "a", "namespace": "n", "uid": "u"} | (meta or {}), "spec": {"model": MODEL} | spec}
    )


def test_each_field_of_the_model_reaches_the_operator() -> None:
    said = {"revision": "7", "sha256": "0" * 64, "name": "b", "credentialsSecret": {"name": "s"}}
    model = _decode(model=MODEL | said).model
    assert (model.uri, model.source_uri, model.claim) == (MODEL["uri"], MODEL["uri"], "")
    assert (model.revision, model.sha256, model.name, model.credentials_secret) == ("7", "0" * 64, "b", "s")
    plain = _decode().model
    assert (plain.revision, plain.sha256, plain.name, plain.credentials_secret) == ("", "", "a", "")


def test_a_claims_uri_is_kept_as_it_was_written_beside_what_the_runtime_reads() -> None:
    model = _decode(model={"uri": "pvc://claim/a b.onnx"}).model
    assert (model.source_uri, model.claim) == ("pvc://claim/a b.onnx", "claim")
    assert model.uri.endswith("/a%20b.onnx")


@pytest.mark.parametrize("uri", ["pvc://claim/", "pvc:///a.onnx", "pvc://", "pvc://UPPER/a.onnx"])
def test_a_claim_has_a_name_and_a_file(uri: str) -> None:
    with pytest.raises(InvalidInput, match=r"must be pvc://claim/path"):
        _decode(model={"uri": uri})


def test_each_field_of_scaling_reaches_the_recommender() -> None:
    target = {"kind": "StatefulSet", "name": "web"}
    scaling = {"mode": "Manual", "replicas": 4, "minReplicas": 2, "maxReplicas": 7, "downStabilizationSeconds": 45}
    spec = _decode(mode="Sidecar", scaling=scaling | {"targetRef": target})
    assert (spec.mode, spec.manual_replicas, spec.injected) == ("Manual", 4, True)
    assert (spec.policy.min_replicas, spec.policy.max_replicas, spec.policy.down_window_s) == (2, 7, 45.0)
    assert spec.target is not None
    assert (spec.target.kind, spec.target.name, spec.target.api_version) == ("StatefulSet", "web", "apps/v1")
    plain = _decode()
    assert (plain.target, plain.injected, plain.manual_replicas, plain.application) == (None, False, 1, None)


def test_an_objective_is_in_seconds_inside() -> None:
    spec = _decode(objective={"percentile": 95, "latencyMilliseconds": 250})
    assert (spec.objective.percentile, spec.objective.latency_s) == (95, 0.25)


def test_who_names_no_objective_has_the_same_one_everywhere() -> None:
    """The API's default, and that of `corefit plan` and the simulator."""
    assert _decode().objective == Objective(percentile=99, latency_s=0.1) == Objective()


def test_prices_are_those_of_the_resource_each_for_itself() -> None:
    price = _decode(price={"coreHour": "0.5", "gibHour": "0.25", "currency": "EUR"}).policy.price
    assert price == Price(core_hour=0.5, gib_hour=0.25, currency="EUR")
    with pytest.raises(InvalidInput, match=r"spec\.price\.gibHour"):
        _decode(price={"gibHour": "cheap"})


def test_as_many_replicas_at_least_as_at_most_are_a_fixed_number() -> None:
    policy = _decode(scaling={"minReplicas": 3, "maxReplicas": 3}).policy
    assert (policy.min_replicas, policy.max_replicas) == (3, 3)


def test_a_pod_that_may_burst_is_planned_for_its_limit_and_paid_for_its_request() -> None:
    spec = _decode(resources=BURST)
    assert (spec.millicores, spec.burst_millicores, spec.policy.millicores_per_pod) == (500, 2000, 500)
    assert spec.plan.workers == spec.policy.workers_per_pod == 2
    assert spec.policy.cpu_range is None, "such a pod is not resized"
    assert _decode().burst_millicores is None


def test_a_limit_that_is_the_request_is_allowed_with_burst() -> None:
    assert _decode(resources=BURST | {"cpu": "2"}).burst_millicores == 2000


def test_a_pod_may_start_with_the_cpu_that_it_keeps_and_with_no_less() -> None:
    """That is how a resource turns the operator's boost off."""
    assert _decode(resources={"cpu": "500m"}, startup={"cpu": "500m"}).startup_millicores == 500
    assert _decode().startup_millicores is None
    with pytest.raises(InvalidInput, match=r"spec\.startup: cpu must not be below"):
        _decode(resources={"cpu": "500m"}, startup={"cpu": "499m"})


@pytest.mark.parametrize(
    "spec", [{"application": WEB}, {"mode": "Sidecar"}, {"mode": "Sidecar", "scaling": {"minReplicas": 2}}]
)
def test_a_queue_is_for_pods_of_the_runtime_alone(spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"spec\.routing: balancing Queue is for pods of the runtime alone"):
        _decode(routing={"balancing": "Queue"}, **spec)
    assert _decode(routing={"balancing": "Direct"}, **spec).balancing == "Direct"


def test_pods_of_the_runtime_alone_may_have_a_queue_in_front_of_them() -> None:
    assert (_decode(routing={"balancing": "Queue"}).balancing, _decode().balancing) == ("Queue", "Direct")


SCALED = ({"scaling": {"maxReplicas": 5}}, {"price": {"coreHour": "1"}}, {"routing": {"balancing": "Queue"}})
"""What the operator follows without new pods."""
ROLLED = (
    {"model": MODEL | {"revision": "2"}},
    {"image": "r/x:1"},
    {"resources": {"memory": "1Gi"}},
    {"objective": {"latencyMilliseconds": 200}},
    {"template": {"labels": {"a": "b"}}},
    {"calibration": {"mode": "Off"}},
)
"""What pods are made from."""


@pytest.mark.parametrize("spec", SCALED)
def test_what_only_scales_rolls_no_pods(spec: dict[str, Any]) -> None:
    assert _decode(**spec).spec_hash == _decode().spec_hash


@pytest.mark.parametrize("spec", ROLLED)
def test_what_pods_are_made_from_changes_the_hash(spec: dict[str, Any]) -> None:
    assert _decode(**spec).spec_hash != _decode().spec_hash


def test_a_mount_of_a_volume_that_is_not_declared_is_refused_by_both_names() -> None:
    volumes = {"volumes": [{"name": "v", "emptyDir": {}}], "volumeMounts": [{"name": "w", "mountPath": "/mnt/x"}]}
    with pytest.raises(InvalidInput, match=r"/mnt/x mounts the volume 'w', which is not in spec\.template\.volumes"):
        _decode(template=volumes)


def test_variables_of_every_other_kind_pass() -> None:
    env = [
        {"name": "TZ", "value": "UTC"},
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        {"name": "B", "valueFrom": {"fileKeyRef": None}},
        {"name": "C", "valueFrom": "nonsense that the API server refuses"},
    ]
    assert len(_decode(template={"env": env}).template.env) == 4


def test_an_application_mounts_its_own_volumes() -> None:
    own = {"name": "web", "image": "w", "volumeMounts": [{"name": "data", "mountPath": "/x"}, "nonsense"]}
    odd = {"name": "odd", "volumeMounts": {"name": "corefit-tmp"}, "volumeDevices": None}
    application = _decode(application={"containers": [own, odd]}).application
    assert application is not None
    assert application.containers == (own, odd)


def test_keys_that_only_look_like_corefits_own_are_the_users() -> None:
    labels = {"serving.corefit.dev": "a", "serving.corefit.devx/a": "b", "example.com/serving.corefit.dev": "c"}
    assert _decode(template={"labels": labels}).template.labels == labels


def test_a_resource_without_a_spec_or_with_another_thing_in_its_place_is_refused() -> None:
    for resource in ({}, {"spec": None}, {"spec": []}, {"spec": "x"}, {"metadata": {}, "spec": {"model": None}}):
        with pytest.raises(InvalidInput, match="spec can't be read"):
            decode(resource)
