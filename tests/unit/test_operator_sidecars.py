"""What the operator finds and says of resources of mode Sidecar, whose pods belong to others."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from corefit_core import naming
from corefit_core.pods import sidecar
from corefit_core.spec.decode import decode
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.cache.view import Key, View
from corefit_operator.children.defaults import Defaults
from corefit_operator.diagnosis.problem import Problem
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.cluster import Cluster, Listed
from corefit_operator.kube.pods import Pod, decode_pod
from corefit_operator.workload.interface import Situation, Sources
from corefit_operator.workload.sidecars import FRESH_S, LIST_MAX, LIST_PER_S, Sidecars, Surroundings, names
from corefit_operator.workload.target import ObservedTarget, TargetWorkload

DEFAULTS = Defaults(image="i", version="1", operator_namespace="corefit-system")
TARGET = {"scaling": {"targetRef": {"kind": "Deployment", "name": "web"}}}
LABELLED = {"metadata": {"labels": {naming.LABEL_INJECT: "digits"}}}
STRANGER = {"metadata": {"name": "web", "namespace": "n", "uid": "w"}, "spec": {"replicas": 3}}
WEB = {**STRANGER, "spec": {"replicas": 3, "template": LABELLED}}


def _raw(name: str = "digits", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "n", "uid": f"u-{name}", "generation": 1},
        "spec": {"model": {"uri": "http://models/a.onnx"}, "mode": "Sidecar", **spec},
    }


def _pod(stamp: str) -> Pod:
    meta = {"name": "p", "annotations": {naming.ANNOTATION_INJECTED: stamp, naming.ANNOTATION_ADMIN_PORT: "18081"}}
    return decode_pod({"metadata": meta})


def _stamp(service: ServingSpec) -> str:
    return sidecar.stamp_of(TargetWorkload(service, DEFAULTS).template)


class _Api:
    """What the API server would answer; counts what it is asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {"injects": True, "workload": None, "autoscalers": [], **answers}
        self.asked: list[str] = []
        self.applied: list[Any] = []

    async def injects(self) -> bool:
        self.asked.append("injects")
        await asyncio.sleep(0)
        if isinstance(self.answers["injects"], ApiError):
            raise self.answers["injects"]
        return bool(self.answers["injects"])

    async def get(self, kind: str, namespace: str, name: str) -> Any:
        self.asked.append(f"{kind}/{namespace}/{name}")
        return self.answers["workload"]

    async def list(self, kind: str, namespace: str, *, ours: bool) -> Listed:
        self.asked.append(kind)
        await asyncio.sleep(0)
        return Listed(self.answers["autoscalers"], "1")

    async def apply(self, manifest: Any) -> Any:
        self.asked.append("apply")
        if "refuses" in self.answers:
            raise ApiError("forbidden", status=403)
        self.applied.append(manifest)
        return manifest


def _sidecars(api: _Api, view: View | None = None, at: list[float] | None = None, account: str = "l") -> Sidecars:
    now = at or [0.0]
    return Sidecars(cast("Cluster", api), view or View(), DEFAULTS, account, lambda: now[0])


async def _look(sidecars: Sidecars, service: ServingSpec, pods: Sequence[Pod] = ()) -> ObservedTarget:
    return await TargetWorkload(service, DEFAULTS).observe(Sources(View(), sidecars), pods, allowed=True)


def _autoscaler(kind: str, name: str) -> dict[str, Any]:
    return {"metadata": {"name": "hpa"}, "spec": {"scaleTargetRef": {"kind": kind, "name": name}}}


@pytest.mark.parametrize(
    ("injects", "account", "offer"),
    [(True, "l", "AtAdmission"), (True, "", "NotInstalled"), (False, "l", "NotServed")],
)
async def test_how_pods_come_by_the_sidecar(injects: bool, account: str, offer: str) -> None:
    found = await _look(_sidecars(_Api(injects=injects), account=account), decode(_raw()))
    said = found.injectable()
    assert said is not None
    kind, status, reason, message = said
    assert (kind, status, reason) == ("Injectable", "True" if offer == "AtAdmission" else "False", offer)
    assert offer == "AtAdmission" or "corefit inject" in message


async def test_pods_of_another_stamp_are_stale() -> None:
    service = decode(_raw())
    pods = [_pod(_stamp(service)), _pod("0.9-other"), _pod("")]
    assert (await _look(_sidecars(_Api()), service, pods)).stale == 2


@pytest.mark.parametrize(
    ("autoscaler", "scalable"),
    [(("Deployment", "web"), False), (("StatefulSet", "web"), True), (("Deployment", "b"), True)],
)
async def test_a_workload_that_an_hpa_scales_is_left_to_it(autoscaler: tuple[str, str], scalable: bool) -> None:
    service = decode(_raw(**TARGET))
    found = await _look(_sidecars(_Api(workload=WEB, autoscalers=[_autoscaler(*autoscaler)])), service)
    assert found.is_scalable == scalable
    said = found.not_scaling()
    assert (said is None) == scalable
    assert said is None or (said[2] == "OtherAutoscaler" and "hpa" in said[3])


@pytest.mark.parametrize(
    ("workload", "consents"),
    [
        (STRANGER, False),
        (WEB, True),
        ({**STRANGER, "spec": {"template": {"metadata": {"labels": {naming.LABEL_INJECT: "other"}}}}}, False),
        ({**STRANGER, "metadata": {"name": "web", "labels": {naming.LABEL_INJECT: "digits"}}}, False),
        ({**STRANGER, "metadata": {"name": "web", "annotations": {naming.ANNOTATION_SCALED_BY: "digits"}}}, True),
        ({**STRANGER, "metadata": {"name": "web", "annotations": {naming.ANNOTATION_SCALED_BY: "other"}}}, False),
    ],
)
async def test_a_workload_is_scaled_only_where_it_names_the_resource(workload: Any, consents: bool) -> None:
    """A stranger's Deployment was scaled to 0, and its replicas were shown."""
    service = decode(_raw(**TARGET))
    found = await _look(_sidecars(_Api(workload=workload)), service)
    assert found.is_scalable == consents
    assert (found.scale_target is not None) == consents
    said = found.not_scaling()
    assert (said is None) == consents
    assert said is None or said[2] == "TargetNotConsenting"
    assert said is None or "serving.corefit.dev/inject: digits" in said[3]


def test_a_namespace_with_many_names_leaves_room_for_those_of_others() -> None:
    many = [Key("greedy", f"{number:05d}" + "x" * 30) for number in range(10_000)]
    found = names([*many, Key("honest", "digits")])
    assert "honest/digits" in found
    assert len(",".join(found)) <= LIST_MAX


async def test_no_target_and_a_missing_one_are_told_apart() -> None:
    for spec, reason in (({}, "NoTarget"), (TARGET, "TargetNotFound")):
        service = decode(_raw(**spec))
        found = await _look(_sidecars(_Api()), service)
        said = found.not_scaling()
        assert said is not None
        assert said[2] == reason
        assert not found.is_scalable


async def test_what_people_change_is_asked_for_now_and_then_only() -> None:
    api, now = _Api(workload=WEB), [0.0]
    sidecars, service = _sidecars(api, at=now), decode(_raw(**TARGET))
    for now[0] in (0.0, 3.0, FRESH_S + 1):
        await sidecars.look(service)
    assert api.asked.count("injects") == api.asked.count("HorizontalPodAutoscaler") == 2
    assert api.asked.count("Deployment/n/web") == 3


async def test_the_list_of_names_is_written_when_it_changes() -> None:
    view, api = View(), _Api()
    sidecars = _sidecars(api, view)
    await sidecars.keep_list()
    view.put_service(_raw())
    view.put_service({**_raw("other"), "spec": {"mode": "Service"}})
    await sidecars.keep_list()
    await sidecars.keep_list()
    assert names(view.of_mode("Sidecar")) == ["n/digits"]
    assert [_listed(manifest) for manifest in api.applied] == [",,", ",n/digits,"]
    view.drop_service(_raw())
    await sidecars.keep_list()
    assert _listed(api.applied[-1]) == ",,"


async def test_a_large_list_is_written_now_and_then_however_often_it_changes() -> None:
    """Whoever created and deleted one resource again and again had 200 KB written each time."""
    view, api, now = View(), _Api(), [0.0]
    sidecars = _sidecars(api, view, at=now)
    for number in range(4000):
        view.put_service(_raw(f"{'long' * 10}{number}"))
    for step in range(600):
        now[0] = step / 10
        view.put_service(_raw("mine")) if step % 2 else view.drop_service(_raw("mine"))
        await sidecars.keep_list()
    assert sum(len(_listed(manifest)) for manifest in api.applied) < LIST_MAX + 60 * 1.1 * LIST_PER_S
    now[0] += 60
    await sidecars.keep_list()
    assert ",n/mine," in _listed(api.applied[-1])


async def test_a_list_that_is_up_to_date_is_not_made_anew() -> None:
    """It was made of all resources, in the reconcile of each."""

    class Watched(View):
        looked = 0

        def service(self, key: Key) -> Any:
            self.looked += 1
            return super().service(key)

    view, api = Watched(), _Api()
    for number in range(500):
        view.put_service(_raw(f"r{number}"))
    sidecars = _sidecars(api, view)
    await sidecars.keep_list()
    before, same = view.looked, view.of_mode("Sidecar")
    view.put_service({**_raw("r1"), "status": {"replicas": 1}})
    await sidecars.keep_list()
    assert (view.looked, len(api.applied)) == (before, 1)
    assert view.of_mode("Sidecar") is same


async def test_a_resource_that_comes_back_in_another_mode_leaves_the_list() -> None:
    view, api = View(), _Api()
    sidecars = _sidecars(api, view)
    view.put_service(_raw())
    view.put_service({**_raw(), "spec": {"mode": "Service"}})
    await sidecars.keep_list()
    assert [_listed(manifest) for manifest in api.applied] == [",,"]


def _listed(manifest: Any) -> str:
    assert manifest["kind"] == "ServiceAccount"
    return str(manifest["metadata"]["annotations"][naming.ANNOTATION_INJECTABLE])


async def test_a_list_that_cannot_be_written_is_no_reason_to_fail_and_is_tried_again_now_and_then() -> None:
    """It was tried in each reconcile of each resource of the mode."""
    api, now = _Api(refuses=True), [0.0]
    sidecars = _sidecars(api, at=now)
    for now[0] in (0.0, 2.0, 4.0, FRESH_S + 1):
        await sidecars.keep_list()
    assert api.asked == ["apply", "apply"]
    unlisted = _Api()
    await _sidecars(unlisted, account="").keep_list()
    assert unlisted.applied == []


async def test_what_many_want_to_know_at_the_same_time_is_asked_for_once() -> None:
    api = _Api(workload=WEB)
    sidecars, service = _sidecars(api), decode(_raw(**TARGET))
    await asyncio.gather(*(sidecars.look(service) for _ in range(100)))
    assert api.asked.count("injects") == api.asked.count("HorizontalPodAutoscaler") == 1


async def test_what_cannot_be_asked_fails_all_who_want_to_know_and_is_asked_again() -> None:
    api = _Api(workload=WEB, injects=ApiError("away", status=503))
    sidecars, service = _sidecars(api), decode(_raw(**TARGET))
    looks = (sidecars.look(service) for _ in range(5))
    assert all(isinstance(each, ApiError) for each in await asyncio.gather(*looks, return_exceptions=True))
    assert api.asked.count("injects") == 1
    api.answers["injects"] = True
    assert (await sidecars.look(service)).offer == "AtAdmission"


def test_ready_and_progressing_of_pods_of_others() -> None:
    service, trouble = decode(_raw()), Problem(reason="ModelUnavailable", message="404")
    around = Surroundings(offer="AtAdmission")
    here = ObservedTarget(spec=service, around=around, sidecar={}, stale=1)
    empty, starting = (Situation(present=present, ready=0, desired=present) for present in (0, 2))
    broken = Situation(present=2, ready=0, desired=2, problem=trouble)
    serving = Situation(present=2, ready=1, desired=2, problem=trouble)
    assert here.ready(empty).reason == "NoPods"
    assert "inject: digits" in here.ready(empty).message
    assert here.ready(starting).reason == "Starting"
    assert here.ready(broken)[1:3] == ("False", "ModelUnavailable")
    assert here.ready(serving)[1:3] == ("True", "Serving")
    assert here.progressing(starting)[1:3] == ("True", "StalePods")
    assert here.progressing(broken).status == "False"
    current = ObservedTarget(spec=service, around=around, sidecar={})
    assert current.progressing(starting).reason == "Complete"


def test_a_pod_says_where_its_admin_port_is() -> None:
    assert _pod("").admin_port == naming.SIDECAR_PORT_ADMIN
    assert decode_pod({"metadata": {"name": "p"}}).admin_port == naming.PORT_ADMIN
    odd = {"metadata": {"name": "p", "annotations": {naming.ANNOTATION_ADMIN_PORT: "80/../x"}}}
    assert decode_pod(odd).admin_port == naming.PORT_ADMIN
