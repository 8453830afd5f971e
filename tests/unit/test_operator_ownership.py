"""Whose an object is: by its controller's uid, whatever it is called and labelled."""

from typing import Any

import pytest

from corefit_core import naming
from corefit_core.spec.decode import decode
from corefit_operator.cache.view import Key, View
from corefit_operator.children import apply, ownership
from corefit_operator.children.apply import ApplyState
from corefit_operator.children.defaults import Defaults
from corefit_operator.children.registry import desired
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.pods import Pod, decode_pod
from corefit_operator.kube.workloads import Child, decode_child
from corefit_operator.reconcile.state import ResourceState

VICTIM, RIVAL = Key("n", "digits.v2"), Key("n", "digits-v2-993aa98e")
"""The second is called what the children of the first are."""
NAME = naming.child_name(VICTIM.name)
ORDINARY = Key("n", "digits")


def _raw(key: Key, created: str = "2030-01-01T00:00:00Z", **spec: Any) -> dict[str, Any]:
    meta = {"name": key.name, "namespace": key.namespace, "uid": f"u-{key.name}", "creationTimestamp": created}
    return {"metadata": {**meta, "generation": 1}, "spec": {"model": {"uri": "http://models/a.onnx"}, **spec}}


def _child(uid: str, kind: str = "Deployment", name: str = NAME) -> Child:
    owner = {"kind": naming.KIND, "name": "x", "uid": uid, "controller": True}
    meta = {"name": name, "namespace": "n", "uid": "c", "labels": {naming.LABEL_SERVICE: name}}
    return decode_child(kind, {"metadata": {**meta, "ownerReferences": [owner] if uid else []}})


def _pod() -> Pod:
    labels = {naming.LABEL_SERVICE: NAME}
    return decode_pod({"metadata": {"name": "p", "namespace": "n", "uid": "p", "labels": labels}})


def _view(victim: str = "2030-01-01T00:00:00Z", rival: str = "2030-01-02T00:00:00Z") -> View:
    view = View()
    view.put_service(_raw(RIVAL, rival))
    view.put_service(_raw(VICTIM, victim))
    view.put_pod(_pod())
    return view


def test_the_case_is_one() -> None:
    assert naming.child_name(RIVAL.name) == RIVAL.name == NAME


def test_a_resource_that_is_called_as_the_children_of_another_has_none_of_its_pods() -> None:
    """It scaled them, and put its sidecar into them."""
    view = _view()
    assert view.holder(RIVAL) == view.holder(VICTIM) == VICTIM
    assert [pod.metadata.name for pod in view.pods(VICTIM)] == ["p"]
    assert view.pods(RIVAL) == ()
    assert view.owner(_pod().metadata) == VICTIM


def test_whoever_has_children_keeps_the_name_whoever_came_first() -> None:
    view = _view(victim="2030-01-02T00:00:00Z", rival="2030-01-01T00:00:00Z")
    assert view.holder(VICTIM) == RIVAL
    view.put_child(_child("u-digits.v2"))
    assert view.holder(VICTIM) == VICTIM
    assert ("Deployment", NAME) in view.children(VICTIM)
    assert view.children(RIVAL) == {}


def test_when_the_one_is_gone_the_other_has_the_name() -> None:
    view = _view()
    view.drop_service(_raw(VICTIM))
    assert view.holder(RIVAL) == RIVAL
    assert view.pods(RIVAL)
    view.drop_service(_raw(RIVAL))
    assert view.holder(RIVAL) is None
    assert view.owner(_pod().metadata) is None


def test_the_other_one_makes_nothing_scales_nothing_and_says_why() -> None:
    told = ResourceState(uid="u").desired(_raw(RIVAL), Defaults(image="i")).without_names(VICTIM)
    assert told.wanted == ()
    assert told.spec.target is None
    assert told.violation is not None
    assert told.violation.reason == "NameTaken"
    assert "digits.v2" in told.violation.message


@pytest.mark.parametrize("uid", ["another", ""])
def test_an_object_of_others_with_our_label_is_no_child(uid: str) -> None:
    """Its replicas would have been written."""
    view = View()
    view.put_service(_raw(ORDINARY))
    view.put_child(_child(uid, name="digits"))
    assert view.children(ORDINARY) == {}


@pytest.mark.parametrize("kind", ["Deployment", "ServiceAccount", "Service"])
def test_a_child_without_an_owner_is_mended_for_the_resource_that_it_was_made_for(kind: str) -> None:
    """Whoever may write such an object could have had it taken over by a resource of its name."""
    service = decode(_raw(ORDINARY))
    annotations = {naming.ANNOTATION_APPLIED: "h"}

    def blocked(uid: str) -> bool:
        meta = {"name": "digits", "namespace": "n", "uid": "c"}
        written = annotations | ({naming.ANNOTATION_OWNER: uid} if uid else {})
        found = ownership.taken(decode_child(kind, {"metadata": {**meta, "annotations": written}}), service)
        return found is not None

    assert [blocked(uid) for uid in (service.uid, "another", "")] == [False, True, True]
    made = next(m for m in desired(service, Defaults(image="i")) if m["kind"] == kind)
    assert made["metadata"]["annotations"][naming.ANNOTATION_OWNER] == service.uid


class Api:
    """An API server with some objects in it; `between` comes to be right before the first write."""

    def __init__(self, *there: tuple[str, str], between: tuple[str, str] | None = None) -> None:
        self.there = dict.fromkeys(there, "someone")
        self.between = between
        self.writes: list[tuple[str, bool]] = []
        self.released: list[str] = []

    async def get(self, kind: str, namespace: str, name: str) -> Any:
        if (kind, name) not in self.there:
            return None
        return {"metadata": {"name": name, "namespace": namespace, "uid": "s"}}

    async def apply(self, manifest: Any, version: str = "", *, force: bool = True) -> Any:
        self.writes.append((manifest["kind"], force))
        managers = [{"manager": naming.FIELD_MANAGER, "operation": "Apply", "fieldsV1": {}}]
        if self.between == (manifest["kind"], manifest["metadata"]["name"]):
            managers.append({"manager": "someone", "operation": "Update"})
        meta = {**manifest["metadata"], "uid": "s", "resourceVersion": "7", "managedFields": managers}
        return {**manifest, "metadata": meta}

    async def release(self, manifest: Any, uid: str) -> None:
        self.released.append(f"{manifest['kind']} {uid}")


async def _settle(api: Api) -> apply.ApplyResult:
    view, service = View(), decode(_raw(ORDINARY))
    view.put_service(_raw(ORDINARY))

    async def confirm() -> None:
        return

    wanted = desired(service, Defaults(image="i"))
    return await apply.settle(api, view, service, wanted, memory=ApplyState(), confirm=confirm, now=0.0)


async def test_before_the_first_child_is_made_all_names_are_looked_at() -> None:
    api = Api(("Deployment", "digits"))
    outcome = await _settle(api)
    assert outcome.refused is not None
    assert outcome.refused.reason == "NameTaken"
    assert api.writes == []


async def test_a_first_create_forces_nothing() -> None:
    api = Api()
    assert (await _settle(api)).written == len(api.writes) == 5
    assert {force for _, force in api.writes} == {False}


async def test_what_somebody_else_made_in_between_stays_theirs() -> None:
    """A bare ServiceAccount has no field to clash with ours, so the apply goes through."""
    api = Api(between=("ServiceAccount", "digits"))
    with pytest.raises(ApiError, match="someone made it meanwhile") as caught:
        await _settle(api)
    assert caught.value.status == 409
    assert api.released == ["ServiceAccount s"]
    assert api.writes == [("ServiceAccount", False)]
