"""Rollouts on the operator's own account: told from those that a resource asks for, and a few at a time."""

from typing import Any

import pytest

from corefit_core.naming import ANNOTATION_APPLIED, ANNOTATION_SPEC_HASH
from corefit_core.spec.decode import decode
from corefit_operator.cache.view import Key
from corefit_operator.children.defaults import Defaults
from corefit_operator.children.registry import desired
from corefit_operator.children.upgrades import Upgrades
from corefit_operator.kube.workloads import Child, decode_child

A, B, C = (Key("n", name) for name in "abc")
OLD, NEW = Defaults(image="corefit/runtime:1"), Defaults(image="corefit/runtime:2")


def _wanted(defaults: Defaults, **spec: Any) -> dict[str, Any]:
    resource = {"metadata": {"name": "a", "namespace": "n"}, "spec": {"model": {"uri": "http://m/a.onnx"}, **spec}}
    return desired(decode(resource), defaults)[-1]


def _found(manifest: dict[str, Any], *, updated: int = 2, without: str = "") -> Child:
    annotations = {k: v for k, v in manifest["metadata"]["annotations"].items() if k != without}
    return decode_child(
        "Deployment",
        {
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "annotations": annotations},
            "spec": {"replicas": 2},
            "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": updated, "availableReplicas": 2},
        },
    )


def _waits(upgrades: Upgrades, key: Key, wanted: dict[str, Any], found: Child | None) -> bool:
    return not upgrades.due(key, [wanted], {} if found is None else {("Deployment", "a"): found})


def test_another_operator_rolls_only_so_many_at_a_time_and_the_next_when_one_is_done() -> None:
    upgrades = Upgrades(at_once=1)
    wanted, before = _wanted(NEW), _found(_wanted(OLD))
    assert [_waits(upgrades, key, wanted, before) for key in (A, B, C)] == [False, True, True]
    under_way = _found(wanted, updated=1)
    assert not _waits(upgrades, A, wanted, under_way)
    assert _waits(upgrades, B, wanted, before)
    assert not _waits(upgrades, A, wanted, _found(wanted))
    assert not _waits(upgrades, B, wanted, before)
    upgrades.forget(B)
    assert not _waits(upgrades, C, wanted, before)


def test_a_resource_with_two_deployments_has_its_turn_until_both_are_rolled() -> None:
    """The second one, which nobody rolled, gave the turn of the first away."""
    upgrades, wanted, before = Upgrades(at_once=1), _wanted(NEW), _found(_wanted(OLD))
    other = {**wanted, "metadata": {**wanted["metadata"], "name": "other"}}
    rolled = {("Deployment", "other"): _found(other)}
    for found in (before, _found(wanted, updated=1)):
        assert upgrades.due(A, [wanted, other], {("Deployment", "a"): found, **rolled}) == [wanted, other]
        assert _waits(upgrades, B, wanted, before)
    assert upgrades.due(A, [wanted, other], {("Deployment", "a"): _found(wanted), **rolled}) == [wanted, other]
    assert not _waits(upgrades, B, wanted, before)
    assert upgrades.due(A, [wanted, other], {("Deployment", "a"): before, **rolled}) == [other]


def test_a_namespace_whose_pods_are_broken_leaves_a_turn_to_others() -> None:
    upgrades = Upgrades(at_once=3)
    wanted, before = _wanted(NEW), _found(_wanted(OLD))
    assert [_waits(upgrades, key, wanted, before) for key in (A, B, C)] == [False, False, True]
    assert not _waits(upgrades, Key("other", "a"), wanted, before)


def test_what_a_resource_asks_for_never_waits() -> None:
    upgrades = Upgrades(at_once=1)
    assert not _waits(upgrades, A, _wanted(NEW), _found(_wanted(OLD)))
    for change in ({"resources": {"cpu": "2"}}, {"objective": {"latencyMilliseconds": 50}}, {"image": "i"}):
        assert not _waits(upgrades, B, _wanted(NEW, **change), _found(_wanted(OLD)))


def test_new_ones_equal_ones_and_broken_ones_never_wait() -> None:
    upgrades = Upgrades(at_once=1)
    assert not _waits(upgrades, A, _wanted(NEW), _found(_wanted(OLD)))
    for found in (None, _found(_wanted(NEW)), _found(_wanted(OLD), updated=1)):
        assert not _waits(upgrades, B, _wanted(NEW), found)


def test_a_deployment_of_a_version_without_the_account_counts_as_unchanged() -> None:
    upgrades = Upgrades(at_once=1)
    assert not _waits(upgrades, A, _wanted(NEW), _found(_wanted(OLD)))
    assert _waits(upgrades, B, _wanted(NEW), _found(_wanted(OLD), without=ANNOTATION_SPEC_HASH))
    assert not _waits(upgrades, B, _wanted(NEW), _found(_wanted(OLD), without=ANNOTATION_APPLIED))


@pytest.mark.parametrize(
    "written_out",
    [
        {"resources": {"cpu": "1", "memory": "512Mi"}},
        {"objective": {"percentile": 99, "latencyMilliseconds": 100}, "imagePullPolicy": "IfNotPresent"},
        {"scaling": {"minReplicas": 3}, "price": {"currency": "EUR"}},
    ],
)
def test_defaults_written_out_and_scaling_are_no_change_of_what_is_asked_for(written_out: dict[str, Any]) -> None:
    """The API server writes new fields' defaults out when the CRD is upgraded: that is not the user's doing."""
    annotations = [_wanted(OLD, **spec)["metadata"]["annotations"] for spec in ({}, written_out)]
    assert annotations[0] == annotations[1]
