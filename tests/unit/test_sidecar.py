"""What is put into a pod of an application, and that nothing else of it changes."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core import naming
from corefit_core.errors import InvalidInput
from corefit_core.pods import sidecar
from corefit_core.spec.decode import decode
from corefit_core.spec.serving_spec import ServingSpec

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
VARIABLES = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["A", "B", "COREFIT_URL", "COREFIT_SOCKET"]), "value": NAMES}),
    unique_by=lambda v: v["name"],
)
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "image": NAMES},
        optional={"env": VARIABLES, "command": st.lists(NAMES), "resources": st.just({"limits": {"cpu": "1"}})},
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda c: c["name"],
)
TEMPLATES = st.fixed_dictionaries(
    {
        "spec": st.fixed_dictionaries(
            {"containers": CONTAINERS},
            optional={
                "initContainers": st.lists(st.fixed_dictionaries({"name": NAMES, "image": NAMES}), max_size=2),
                "volumes": st.lists(st.fixed_dictionaries({"name": NAMES, "emptyDir": st.just({})}), max_size=2),
                "serviceAccountName": NAMES,
            },
        )
    },
    optional={"metadata": st.fixed_dictionaries({}, optional={"labels": st.dictionaries(NAMES, NAMES)})},
)


def _service(name: str = "digits", **spec: Any) -> ServingSpec:
    return decode(
        {
            "metadata": {"name": name, "namespace": "n", "uid": "u", "generation": 1},
            "spec": {"model": {"uri": "http://models/a.onnx"}, **spec},
        }
    )


def _source(**spec: Any) -> dict[str, Any]:
    return sidecar.stamped(sidecar.rendered(_service(**spec), "corefit/runtime:test"), "1.2")


def _runtime(pod: dict[str, Any]) -> dict[str, Any]:
    return next(c for c in pod["spec"]["initContainers"] if c["name"] == naming.SIDECAR)


@given(template=TEMPLATES)
def test_theirs_stay_as_they_were_but_for_two_variables_and_one_mount(template: dict[str, Any]) -> None:
    before = copy.deepcopy(template)
    after = sidecar.injected(template, _source())
    assert template == before
    for old, new in zip(before["spec"]["containers"], after["spec"]["containers"], strict=True):
        assert {k: v for k, v in new.items() if k not in ("env", "volumeMounts")} == {
            k: v for k, v in old.items() if k != "env"
        }
        theirs = old.get("env", [])
        assert new["env"][: len(theirs)] == theirs
        assert {v["name"] for v in new["env"]} >= {"COREFIT_URL", "COREFIT_SOCKET"}
        assert len(new["env"]) == len({v["name"] for v in new["env"]})
        assert [m["mountPath"] for m in new["volumeMounts"]] == [naming.SOCKET_DIR]
    for key in ("initContainers", "volumes"):
        old_list = before["spec"].get(key, [])
        assert after["spec"][key][: len(old_list)] == old_list
    rest = {"containers", "initContainers", "volumes"}
    assert {k: v for k, v in after["spec"].items() if k not in rest} == {
        k: v for k, v in before["spec"].items() if k not in rest
    }


@given(template=TEMPLATES)
def test_a_second_time_changes_nothing(template: dict[str, Any]) -> None:
    once = sidecar.injected(template, _source())
    assert sidecar.injected(once, _source(resources={"cpu": "2"})) == once


@pytest.mark.parametrize(
    "part", [{"env": {"A": "b"}}, {"env": ["A=b"]}, {"volumeMounts": {"/x": "y"}}, {"volumeMounts": ["y"]}]
)
def test_a_container_that_holds_no_list_of_objects_is_refused_by_name(part: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"container web: {next(iter(part))} must be a list"):
        sidecar.injected({"spec": {"containers": [{"name": "web", **part}]}}, _source())


@pytest.mark.parametrize("where", ["containers", "initContainers"])
def test_a_container_of_its_name_that_is_none_is_refused(where: str) -> None:
    template = {"spec": {"containers": [{"name": "a"}]}}
    template["spec"].setdefault(where, []).append({"name": naming.SIDECAR})
    with pytest.raises(InvalidInput, match="rename it"):
        sidecar.injected(template, _source())


def test_the_sidecar_is_native_confined_and_off_the_pods_address() -> None:
    runtime = _runtime(_source())
    assert runtime["restartPolicy"] == "Always"
    assert runtime["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert runtime["securityContext"]["runAsNonRoot"]
    assert runtime["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert runtime["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    variables = {v["name"]: v.get("value") for v in runtime["env"]}
    assert (variables["COREFIT_HOST"], variables["COREFIT_ADMIN_HOST"]) == ("127.0.0.1", "::")
    assert variables["COREFIT_DRAIN_SECONDS"] == "0"
    assert [p["containerPort"] for p in runtime["ports"]] == [naming.SIDECAR_PORT_ADMIN]
    assert all("hostPath" not in volume for volume in _source()["spec"]["volumes"])


def test_the_application_is_told_where_the_runtime_listens() -> None:
    source = _source()
    told = {v["name"]: v["value"] for v in source["spec"]["containers"][0]["env"]}
    listens = {v["name"]: v.get("value") for v in _runtime(source)["env"]}
    assert told["COREFIT_SOCKET"] == listens["COREFIT_SOCKET"]
    assert told["COREFIT_URL"] == f"http://{listens['COREFIT_HOST']}:{listens['COREFIT_PORT']}"
    mount = source["spec"]["containers"][0]["volumeMounts"][0]
    assert mount["name"] in {m["name"] for m in _runtime(source)["volumeMounts"]}


def test_the_stamp_follows_version_and_content() -> None:
    one, same = (sidecar.stamp_of(_source()) for _ in range(2))
    assert one == same
    assert one.startswith("1.2-")
    assert sidecar.stamp_of(_source(resources={"cpu": "2"})) != one
    assert sidecar.stamp_of(sidecar.rendered(_service(), "i")) == ""


def test_a_claim_and_what_the_template_adds_go_with_it() -> None:
    added = {
        "env": [{"name": "TZ", "value": "UTC"}],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "volumeMounts": [{"name": "data", "mountPath": "/mnt/data"}],
    }
    source = _source(model={"uri": "pvc://claim/a.onnx"}, template=added)
    names = {v["name"] for v in source["spec"]["volumes"]}
    assert {"corefit-model-source", "corefit-volume-data"} <= names
    assert {m["name"] for m in _runtime(source)["volumeMounts"]} <= names
    assert {"name": "TZ", "value": "UTC"} in _runtime(source)["env"]


def _mounting(volume: str, **spec: Any) -> dict[str, Any]:
    """A spec whose runtime mounts a volume of that name at /mnt/x."""
    return {**spec, "template": {"volumeMounts": [{"name": volume, "mountPath": "/mnt/x"}]}}


@pytest.mark.parametrize("volume", ["data", "kube-api-access-x2x4x", "corefit-socket", "token"])
def test_a_volume_of_the_host_pod_cannot_be_mounted(volume: str) -> None:
    with pytest.raises(InvalidInput, match=r"is not in spec\.template\.volumes"):
        _service(**_mounting(volume))


@given(name=NAMES, template=TEMPLATES)
def test_the_sidecar_mounts_what_its_own_resource_declares_and_nothing_else(
    name: str, template: dict[str, Any]
) -> None:
    theirs = [{"name": name, "secret": {"secretName": "theirs"}}]
    template["spec"]["volumes"] = theirs
    spec = _mounting(name)
    spec["template"]["volumes"] = [{"name": name, "emptyDir": {}}]
    pod = sidecar.injected(template, _source(**spec))
    declared = _source(**spec)["spec"]["volumes"]
    assert pod["spec"]["volumes"] == [*theirs, *declared]
    assert len({volume["name"] for volume in pod["spec"]["volumes"]}) == len(theirs) + len(declared)
    mounted = {mount["name"] for mount in _runtime(pod)["volumeMounts"]}
    assert mounted <= {volume["name"] for volume in declared}
    assert name not in mounted


@given(name=st.from_regex(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True))
def test_every_declared_volume_has_a_name_that_kubernetes_takes(name: str) -> None:
    assert naming.is_rfc1035_label(naming.volume_name(name))


@pytest.mark.parametrize("volume", ["corefit-model-credentials", "corefit-socket", "corefit-volume-x"])
@pytest.mark.parametrize(("field", "path"), [("volumeMounts", "mountPath"), ("volumeDevices", "devicePath")])
def test_an_application_mounts_no_volume_of_the_runtimes(volume: str, field: str, path: str) -> None:
    web = {"name": "web", "image": "w", field: [{"name": volume, path: "/x"}]}
    with pytest.raises(InvalidInput, match=r"use one of spec\.application\.volumes"):
        _service(application={"containers": [web]})
