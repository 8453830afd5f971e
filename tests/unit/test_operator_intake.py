"""What one resource and one namespace may cost the operator in memory."""

import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.errors import InvalidInput
from corefit_core.manifest import fingerprint
from corefit_core.naming import ANNOTATION_APPLIED, ANNOTATION_MODEL, ANNOTATION_PAUSED, FIELD_MANAGER
from corefit_operator.cache.view import Key, View, spec_version
from corefit_operator.children.defaults import Defaults
from corefit_operator.kube import transform
from corefit_operator.kube.pods import decode_pod
from corefit_operator.kube.transform import BASE, NAMESPACE_MAX, RESOURCE_MAX, TOO_LARGE
from corefit_operator.kube.workloads import decode_child
from corefit_operator.reconcile.state import ResourceState

MODEL = {"model": {"uri": "http://models/a.onnx"}}
BOMBS: dict[str, dict[str, Any]] = {
    "one text": {"template": {"affinity": {"text": "x" * 1_350_000}}},
    "many parts": {"template": {"affinity": {"list": [{}] * 450_000}}},
    "deep": {"template": {"affinity": {"list": [[[[[[]]]]]] * 100_000}}},
}


def _raw(name: str = "a", version: str = "1", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v",
        "kind": "k",
        "metadata": {
            "name": name,
            "namespace": "n",
            "uid": name,
            "generation": 1,
            "resourceVersion": version,
            "annotations": {ANNOTATION_PAUSED: "false", "kubectl.kubernetes.io/last-applied-configuration": "x" * 9999},
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {**MODEL, **spec},
    }


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("decoded", [True, False])
def test_a_resource_that_is_too_large_is_kept_without_its_spec_and_says_so(bomb: str, decoded: bool) -> None:
    """Five of them took the operator over its memory limit."""
    raw = _raw(**BOMBS[bomb])
    view = View()
    key = view.put_service(raw if decoded else transform.parsed(msgspec.json.encode(raw)))
    kept = view.service(key)
    assert kept is not None
    assert len(msgspec.json.encode(kept)) < 1000
    assert spec_version(kept) == spec_version(raw)
    with pytest.raises(InvalidInput, match=r"spec would take about .* KiB of the operator's memory"):
        ResourceState(uid="a").desired(kept, Defaults(image="i"))


@pytest.mark.parametrize("last", ["x", "\u00e9", "\u20ac", "\U0001f600"])
def test_a_text_weighs_what_its_widest_character_makes_of_it(last: str) -> None:
    """One emoji in each text made a namespace of 64 MiB take 304, in an operator that has 512."""
    raw = _raw(template={"affinity": {"text": "x" * 4000 + last}})
    weight = transform.weight(raw)
    assert weight > BASE + sys.getsizeof(raw["spec"]["template"]["affinity"]["text"])
    assert weight < BASE + 6 * 4000


DEEP = """
import json, sys
from corefit_operator.kube import transform
from corefit_operator.main import NESTING
from corefit_operator.cache.view import View
sys.setrecursionlimit(NESTING)
for begin, end in (("[", "]"), ('{"a":', "}")):
    text = begin * 9_990 + "1" * (end == "}") + end * 9_990
    data = '{"metadata": {"name": "a"}, "spec": {"template": {"affinity": {"x": ' + text + "}}}}"
    for raw in (json.loads(data), transform.parsed(data.encode())):
        view = View()
        print(view.service(view.put_service(raw))["tooLarge"])
"""


def test_a_resource_that_nests_as_deep_as_the_api_server_lets_it_ends_nothing() -> None:
    """One of 2,000 levels ended the watch and with it the process, and again after each restart."""
    found = subprocess.run([sys.executable, "-c", DEEP], check=True, capture_output=True, text=True)
    assert {line.split("KiB")[0] for line in found.stdout.splitlines()} == {
        "spec nests lists and objects more than 100 levels deep",
        "spec would take about 534 ",
    }


def test_an_ordinary_one_is_kept_without_what_nobody_reads() -> None:
    env = [{"name": f"NAME_{number}", "value": "x" * 40} for number in range(64)]
    containers = [{"name": f"c{number}", "image": "i", "env": env} for number in range(10)]
    raw = _raw(application={"containers": containers})
    kept = transform.parsed(msgspec.json.encode(raw))
    assert kept == transform.slim(raw)
    assert kept["spec"] == raw["spec"]
    assert set(kept["metadata"]) == {"name", "namespace", "uid", "generation", "resourceVersion", "annotations"}
    assert kept["metadata"]["annotations"] == {ANNOTATION_PAUSED: "false"}
    assert transform.weight(raw) < RESOURCE_MAX / 2
    ResourceState(uid="a").desired(kept, Defaults(image="i"))


def test_a_namespace_that_is_full_takes_no_more_until_something_is_gone_and_costs_others_nothing() -> None:
    view, half = View(), {"template": {"affinity": {"text": "x" * (RESOURCE_MAX // 2)}}}
    fit = NAMESPACE_MAX // transform.weight(_raw(**half))
    for number in range(fit + 1):
        view.put_service(_raw(str(number), **half))
    last = Key("n", str(fit))
    assert TOO_LARGE in (view.service(last) or {})
    other = _raw("other")
    other["metadata"]["namespace"] = "m"
    assert TOO_LARGE not in (view.service(view.put_service(other)) or {TOO_LARGE: ""})
    view.drop_service(_raw("0"))
    assert TOO_LARGE not in (view.service(view.put_service(_raw(str(fit), **half))) or {TOO_LARGE: ""})


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 3000)), max_size=30))
def test_what_a_namespace_weighs_is_the_sum_of_its_resources(steps: list[tuple[str, int]]) -> None:
    budget, weights = transform.Budget(), dict[str, int]()
    for name, size in steps:
        if size < 0:
            budget.forget("n", name)
            weights.pop(name, None)
        else:
            raw = _raw(name, image="x" * size)
            budget.admitted(raw)
            weights[name] = transform.weight(raw)
            assert weights[name] > BASE + size
    assert budget.totals() == ({"n": sum(weights.values())} if weights else {})


def test_of_pods_and_children_what_is_read_is_kept_and_the_account_of_fields_as_a_hash() -> None:
    fields = {"f:spec": {"f:replicas": {}}}
    meta = {
        "name": "a",
        "labels": {"app": "x" * 60},
        "annotations": {ANNOTATION_APPLIED: "h", "other": "x" * 200_000},
        "managedFields": [
            {"manager": "x", "operation": "Apply", "fieldsV1": {"f:x": {}}},
            {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields},
        ],
    }
    for found in (decode_pod({"metadata": meta}), decode_child("Deployment", {"metadata": meta})):
        assert len(msgspec.json.encode(found)) < 2000
        assert found.metadata.annotations == {ANNOTATION_APPLIED: "h"}
    assert decode_child("Service", {"metadata": meta}).metadata.applied_fields == fingerprint(fields)


@pytest.mark.parametrize(
    "key", ["serving.corefit.dev/anything", ANNOTATION_PAUSED, ANNOTATION_APPLIED, ANNOTATION_MODEL]
)
def test_no_annotation_makes_an_object_heavier_than_it_is_weighed(key: str) -> None:
    """Of all that begin with Corefit's prefix 256 KiB were kept: 2 GB of a namespace that weighed 64 MiB."""
    raw = _raw()
    raw["metadata"]["annotations"] = {key: "x" * 250_000, **{f"serving.corefit.dev/{i}": "x" * 999 for i in range(99)}}
    for kept in (transform.slim(raw), transform.parsed(msgspec.json.encode(raw))):
        assert len(msgspec.json.encode(kept)) < BASE
    for read in (decode_pod, lambda found: decode_child("Deployment", {"metadata": found["metadata"]})):
        assert len(msgspec.json.encode(read(raw).metadata)) < BASE
