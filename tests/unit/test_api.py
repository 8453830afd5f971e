"""The resource decoded: defaults, units, what it refuses and how it names the field."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from corefit_core.errors import InvalidInput
from corefit_core.naming import SOURCE_MOUNT
from corefit_core.recommender import CpuRange, Policy
from corefit_core.spec.decode import decode
from corefit_core.spec.policy import MOST_MILLICORES
from corefit_core.spec.serving_spec import ServingSpec
from corefit_runtime.models import store

MODEL = {"uri": "http://models/a.onnx"}


def _decode(spec: dict[str, Any], **meta: Any) -> ServingSpec:
    return decode({"metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 3, **meta}, "spec": spec})


def test_defaults_are_those_of_the_schema() -> None:
    service = _decode({"model": MODEL})
    assert (service.millicores, service.memory_bytes) == (1000, 512 * 2**20)
    assert (service.objective.percentile, service.objective.latency_s) == (99, 0.1)
    assert (service.policy.min_replicas, service.policy.max_replicas) == (1, 10)
    assert (service.mode, service.paused, service.model.name, service.generation) == ("Auto", False, "a", 3)
    assert service.policy.down_window_s == Policy().down_window_s
    assert service.plan.workers == service.policy.workers_per_pod == 1


def test_a_percentile_may_have_a_fraction_and_none_rolls_pods_by_being_written_otherwise() -> None:
    """99.9 was refused with 'must be of type integer', and so was 97.5."""
    odd, even = (_decode({"model": MODEL, "objective": {"percentile": percentile}}) for percentile in (97.5, 95.0))
    assert odd.objective.percentile == 97.5
    assert even.spec_hash == _decode({"model": MODEL, "objective": {"percentile": 95}}).spec_hash != odd.spec_hash
    with pytest.raises(InvalidInput, match="percentile"):
        _decode({"model": MODEL, "objective": {"percentile": 99.9}})


def test_what_is_simulated_without_a_resource_is_what_a_resource_without_words_gets() -> None:
    assert _decode({"model": MODEL}).policy == Policy()


def test_quantities_become_integers_and_prices_numbers() -> None:
    service = _decode(
        {
            "model": MODEL,
            "resources": {"cpu": 2, "memory": "1Gi"},
            "price": {"coreHour": "0.05", "gibHour": "1", "currency": "EUR"},
        }
    )
    assert (service.millicores, service.memory_bytes, service.plan.workers) == (2000, 2**30, 2)
    assert service.policy.price.per_hour(1000, 2**30) == pytest.approx(1.05)


def test_a_range_is_the_cpu_and_what_it_may_grow_to_and_pods_are_planned_from_its_start() -> None:
    service = _decode({"model": MODEL, "resources": {"cpu": "250m", "maxCPU": 2}, "startup": {"cpu": "1500m"}})
    assert service.policy.cpu_range == CpuRange(min_millicores=250, max_millicores=2000)
    assert (service.millicores, service.policy.millicores_per_pod, service.startup_millicores) == (250, 250, 1500)
    assert service.plan.workers == service.policy.workers_per_pod == 1


def test_no_more_sizes_are_looked_at_than_nodes_can_have() -> None:
    """A maxCPU of 9P made 410 sizes, which took four times as long in each round."""
    span = _decode({"model": MODEL, "resources": {"cpu": "100m", "maxCPU": "9P"}}).policy.cpu_range
    assert span == CpuRange(min_millicores=100, max_millicores=MOST_MILLICORES)
    assert _decode({"model": MODEL, "resources": {"cpu": "5k", "maxCPU": "9P"}}).policy.cpu_range is None


def test_without_room_between_them_there_is_no_range() -> None:
    assert _decode({"model": MODEL}).policy.cpu_range is None
    assert _decode({"model": MODEL, "resources": {"cpu": "1", "maxCPU": "1000m"}}).policy.cpu_range is None
    assert _decode({"model": MODEL, "startup": {}}).startup_millicores is None


def test_what_was_emptied_by_server_side_apply_is_as_if_it_had_never_been_there() -> None:
    nothing = {"labels": None, "annotations": None, "nodeSelector": None, "affinity": None}
    never = _decode({"model": MODEL})
    for emptied in ({"template": None, "startup": None}, {"template": nothing}):
        assert _decode({"model": MODEL, **emptied}) == never


def test_a_claim_is_a_file_below_its_mount() -> None:
    service = _decode({"model": {"uri": "pvc://claim/a/b.onnx"}})
    assert (service.model.uri, service.model.claim) == (f"file://{SOURCE_MOUNT}/a/b.onnx", "claim")


@pytest.mark.parametrize("name", ["a#1.onnx", "a?b.onnx", "a%41.onnx", "\u00e4/b;c.onnx"])
def test_the_file_on_a_claim_is_the_one_of_that_name(name: str) -> None:
    assert store.local(_decode({"model": {"uri": f"pvc://claim/{name}"}}).model.uri) == Path(SOURCE_MOUNT, name)


def test_the_hash_of_a_spec_is_the_same_by_whatever_decoder_and_whether_defaults_are_written_out() -> None:
    """The watch is decoded by json, our own requests by msgspec, and only one of them makes "1" the same object."""
    written = '{"model":{"uri":"http://m/a.onnx"},"resources":{"cpu":"1","memory":"512Mi"},"template":{"labels":{}}}'
    resource = '{"metadata":{"name":"a"},"spec":%s}'
    hashes = {
        decode(read(resource % spec)).spec_hash
        for read in (json.loads, msgspec.json.decode)
        for spec in (written, '{"model":{"uri":"http://m/a.onnx"}}')
    }
    assert len(hashes) == 1
    assert decode(json.loads(resource % written.replace("512", "513"))).spec_hash not in hashes


def test_only_true_pauses() -> None:
    assert _decode({"model": MODEL}, annotations={"serving.corefit.dev/paused": "true"}).paused
    assert not _decode({"model": MODEL}, annotations={"serving.corefit.dev/paused": "false"}).paused


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "model"),
        ({"model": {}}, "uri"),
        ({"model": {"uri": "pvc://claim"}}, "spec.model.uri"),
        ({"model": MODEL, "resources": {"cpu": "50m"}}, "spec.resources.cpu"),
        ({"model": MODEL, "resources": {"cpu": "x"}}, "spec.resources.cpu"),
        ({"model": MODEL, "resources": {"memory": "-1"}}, "spec.resources.memory"),
        ({"model": MODEL, "resources": {"cpu": "2", "maxCPU": "1"}}, "maxCPU"),
        ({"model": MODEL, "resources": {"maxCPU": "x"}}, "spec.resources.maxCPU"),
        ({"model": MODEL, "resources": {"growth": "Burst"}}, "growth Burst needs maxCPU"),
        (
            {"model": MODEL, "resources": {"maxCPU": "2", "growth": "Burst"}, "startup": {"cpu": "2"}},
            "needs resources.growth Resize",
        ),
        ({"model": MODEL, "startup": {"cpu": "500m"}}, "spec.startup"),
        ({"model": MODEL, "startup": {"cpu": "x"}}, "spec.startup.cpu"),
        ({"model": MODEL, "price": {"coreHour": "cheap"}}, "spec.price.coreHour"),
        ({"model": MODEL, "scaling": {"minReplicas": 3, "maxReplicas": 2}}, "minReplicas"),
        ({"model": MODEL, "scaling": {"mode": "Magic"}}, "mode"),
        ({"model": {"uri": "pvc://../a.onnx"}}, "spec.model.uri"),
        ({"model": MODEL | {"credentialsSecret": {"name": "a\n"}}}, "credentialsSecret"),
        ({"model": MODEL, "scaling": {"targetRef": {"kind": "Deployment", "name": "../x?watch=true"}}}, "targetRef"),
        ({"model": MODEL, "template": {"serviceAccountName": "a/b"}}, "serviceAccountName"),
        ({"model": MODEL, "template": {"labels": {"serving.corefit.dev/inject": "b"}}}, "spec.template.labels"),
        ({"model": MODEL, "template": {"annotations": {"serving.corefit.dev/x": "b"}}}, "spec.template.annotations"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        _decode(spec)


def test_calibration_reaches_the_runtime_as_the_protocols_tensors() -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1, 2], "data": ["a", "$(HOME)"]}
    service = _decode({"model": MODEL, "calibration": {"mode": "Off", "inputs": [tensor]}})
    assert not service.model.calibrate
    assert "$" not in service.model.calibration_inputs, "Kubernetes would replace $(HOME) in a variable"
    assert json.loads(service.model.calibration_inputs) == [tensor]
    assert _decode({"model": MODEL}).model.calibrate
    assert _decode({"model": MODEL, "calibration": None}).model.calibration_inputs == ""


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ({"shape": [2], "data": [1]}, r"the shape \[2\] of x has 2 elements, and data has 1"),
        ({"shape": [3000], "data": [12345678901] * 3000}, "bytes as JSON, of at most 32768"),
        ({"shape": [1], "data": 1}, "spec can't be read"),
    ],
)
def test_sample_inputs_that_make_no_sense_are_refused_by_name(tensor: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        _decode({"model": MODEL, "calibration": {"inputs": [{"name": "x", "datatype": "INT64", **tensor}]}})


REFUSED_MOUNTS = (
    "/",
    "/usr",
    "/etc/ld.so.preload",
    "/opt/corefit/sitecustomize.py",
    "/models",
    "/models/",
    "//models",
    "/tmp",
    "/mnt",
    "/mnt/",
    "//mnt/a",
    "/mnt//a",
    "/mnt/a/",
    "/mnt/a/.",
    "/mnt/../models",
    "/mnt/a/../../opt/corefit",
    "/mnt/./model-credentials",
    "/mnt/a/b",
    "/mnt/model-source",
    "/mnt/model-credentials",
    "/mnt/model-credentials/token",
    "/mnt/a:b",
    "/mnt/a\n",
    "mnt/a",
    "/mntx/a",
)
"""Paths of `spec.template.volumeMounts` where a mount could replace code of the runtime, or what Corefit mounts."""
ALLOWED_MOUNTS = ("/mnt/my-model", "/mnt/b.c_d", "/mnt/_d", "/mnt/model", "/mnt/model-source-2")


def _mounted(path: str) -> dict[str, Any]:
    volumes = {"volumes": [{"name": "v", "emptyDir": {}}], "volumeMounts": [{"name": "v", "mountPath": path}]}
    return {"model": {"uri": "http://m/a"}, "template": volumes}


@pytest.mark.parametrize("path", REFUSED_MOUNTS)
def test_a_resource_mounts_nothing_over_the_runtimes_files(path: str) -> None:
    with pytest.raises(InvalidInput, match="must be /mnt/NAME"):
        _decode(_mounted(path))


@pytest.mark.parametrize("path", ALLOWED_MOUNTS)
def test_a_resource_mounts_its_volumes_below_mnt(path: str) -> None:
    assert _decode(_mounted(path)).template.volume_mounts[0]["mountPath"] == path


def test_a_variable_comes_from_no_file_of_a_volume() -> None:
    """In mode Sidecar the volume could be one of the pod's own."""
    variable = {"name": "TZ", "valueFrom": {"fileKeyRef": {"volumeName": "data", "path": "p", "key": "k"}}}
    with pytest.raises(InvalidInput, match=r"env\[TZ\]: valueFrom\.fileKeyRef is not supported"):
        _decode({"model": {"uri": "http://m/a"}, "template": {"env": [variable]}})
