"""The runtime's container in both placements: how long the kubelet waits for what, and which volumes are where."""

from typing import Any

import pytest

from corefit_core import naming
from corefit_core.pods import container, sidecar
from corefit_core.pods.container import AS_SIDECAR, OWN_POD
from corefit_core.quantity import parse_bytes
from corefit_core.spec.decode import decode
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.children.defaults import Defaults
from corefit_operator.children.registry import desired

WEB = {"name": "web", "image": "w"}


def _service(**spec: Any) -> ServingSpec:
    resource = {"model": {"uri": "http://models/a.onnx"}, **spec}
    return decode({"metadata": {"name": "digits", "namespace": "n", "uid": "u"}, "spec": resource})


def _own(**spec: Any) -> dict[str, Any]:
    service = _service(**spec)
    return dict(container.container(service, "platform/runtime:1", service.millicores))


def _beside(**spec: Any) -> dict[str, Any]:
    return dict(container.sidecar(_service(**spec), "platform/runtime:1"))


def _variables(of: dict[str, Any]) -> dict[str, Any]:
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in of["env"]}


def _patience_s(probe: dict[str, Any]) -> int:
    return int(probe["periodSeconds"] * probe["failureThreshold"])


@pytest.mark.parametrize("placed", [_own, _beside])
def test_a_process_that_hangs_is_restarted_after_a_minute_and_none_that_is_short_of_cpu(placed: Any) -> None:
    of = placed()
    alive, ready = of["livenessProbe"], of["readinessProbe"]
    assert (alive["httpGet"]["path"], ready["httpGet"]["path"]) == ("/livez", "/readyz")
    assert (_patience_s(alive), alive["timeoutSeconds"]) == (60, 5)
    assert (_patience_s(ready), ready["periodSeconds"], ready["timeoutSeconds"]) == (6, 1, 2)
    assert {p["httpGet"]["scheme"] for p in (alive, ready, of["startupProbe"])} == {"HTTP"}


def test_an_own_pod_has_five_minutes_to_open_its_port_and_a_sidecar_an_hour_for_its_model() -> None:
    """At 100m the imports take 7 s, and a minute where others have the CPU. A model may be large."""
    assert (_own()["startupProbe"]["httpGet"]["path"], _patience_s(_own()["startupProbe"])) == ("/livez", 300)
    assert (_beside()["startupProbe"]["httpGet"]["path"], _patience_s(_beside()["startupProbe"])) == ("/readyz", 3600)
    for probe in (_own()["startupProbe"], _beside()["startupProbe"]):
        assert (probe["periodSeconds"], probe["timeoutSeconds"]) == (1, 5)


def test_probes_ask_the_admin_port_of_their_placement_which_is_declared() -> None:
    for of, port, names in ((_own(), 8081, ["http", "admin"]), (_beside(), 18081, ["corefit-admin"])):
        assert {of[kind]["httpGet"]["port"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")} == {port}
        assert [p["name"] for p in of["ports"]] == names
        assert port in [p["containerPort"] for p in of["ports"]]
        assert {p["protocol"] for p in of["ports"]} == {"TCP"}


def test_the_image_is_the_resources_or_the_platforms() -> None:
    for placed in (_own, _beside):
        assert (placed()["image"], placed()["imagePullPolicy"]) == ("platform/runtime:1", "IfNotPresent")
        assert placed(image="team/own:2", imagePullPolicy="Always")["image"] == "team/own:2"
        assert placed(image="team/own:2", imagePullPolicy="Always")["imagePullPolicy"] == "Always"
    (stands_for,) = sidecar.rendered(_service(image="team/own:2"), "platform/runtime:1")["spec"]["containers"]
    assert stands_for["image"] == "team/own:2"


def test_a_resize_restarts_no_process() -> None:
    for of in (_own(), _beside()):
        assert of["resizePolicy"] == [{"resourceName": r, "restartPolicy": "NotRequired"} for r in ("cpu", "memory")]


def test_a_sidecar_is_bound_by_its_own_user_whatever_its_pod_says() -> None:
    context = _beside()["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["runAsNonRoot"]) == (65532, 65532, True)
    assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)


def _sizes(service: ServingSpec, placement: container.Placement) -> dict[str, int]:
    found = container.volumes(service, placement)
    return {v["name"]: parse_bytes(v["emptyDir"]["sizeLimit"]) for v in found if "emptyDir" in v}


def test_the_folder_for_models_holds_two_and_every_other_one_is_small() -> None:
    """One that is served and one that is fetched; what fills a node's disk evicts its neighbours."""
    service = _service(resources={"memory": "1Gi"})
    own = _sizes(service, OWN_POD)
    assert own == {"models": (2048 + 64) << 20, "tmp": 64 << 20}
    small = {"corefit-tmp", "corefit-socket", "corefit-no-token"}
    assert _sizes(service, AS_SIDECAR) == {"corefit-models": own["models"], **dict.fromkeys(small, 64 << 20)}


@pytest.mark.parametrize("placed", [_own, _beside])
def test_only_the_folders_for_models_and_temporary_files_and_the_socket_can_be_written(placed: Any) -> None:
    spec = {"model": {"uri": "pvc://claim/a.onnx"}}
    mounts = {m["mountPath"]: m.get("readOnly", False) for m in placed(**spec)["volumeMounts"]}
    written = {path for path, read_only in mounts.items() if not read_only}
    assert written == {"/models", "/tmp", *([naming.SOCKET_DIR] if placed is _beside else [])}
    assert mounts[naming.SOURCE_MOUNT]
    assert (container.TOKEN_MOUNT in mounts) == (placed is _beside)


def test_a_claim_can_be_used_by_pods_of_several_nodes() -> None:
    """Read-only as a volume as well: many kinds of storage let only one node write."""
    volumes = container.volumes(_service(model={"uri": "pvc://claim/a.onnx"}), OWN_POD)
    claims = [volume["persistentVolumeClaim"] for volume in volumes if "persistentVolumeClaim" in volume]
    assert claims == [{"claimName": "claim", "readOnly": True}]


def test_an_application_cannot_write_the_folder_of_the_socket() -> None:
    """It could put another server's socket there."""
    (stands_for,) = sidecar.rendered(_service(), "i")["spec"]["containers"]
    assert [(m["mountPath"], m["readOnly"]) for m in stands_for["volumeMounts"]] == [(naming.SOCKET_DIR, True)]


def test_volumes_of_mounts_are_those_of_the_pod() -> None:
    spec = {
        "model": {"uri": "https://m/a.onnx", "credentialsSecret": {"name": "s"}},
        "template": {
            "volumes": [{"name": "data", "emptyDir": {}}],
            "volumeMounts": [{"name": "data", "mountPath": "/mnt/data"}],
        },
    }
    for placed, placement in ((_own, OWN_POD), (_beside, AS_SIDECAR)):
        volumes = [volume["name"] for volume in container.volumes(_service(**spec), placement)]
        assert {mount["name"] for mount in placed(**spec)["volumeMounts"]} == set(volumes)
        assert len(volumes) == len(set(volumes))
    assert {"data", "model-credentials"} <= {mount["name"] for mount in _own(**spec)["volumeMounts"]}


def test_every_library_that_starts_threads_of_its_own_is_told_how_many() -> None:
    libraries = ("ORT_INTRA_OP_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    for of in (_own(resources={"cpu": "4"}), _beside(resources={"cpu": "4"})):
        assert [_variables(of)[name] for name in libraries] == ["1"] * 4


def test_a_pod_of_its_own_drains_and_one_beside_an_application_has_nobody_to_wait_for() -> None:
    own, beside = _variables(_own()), _variables(_beside())
    assert (own["COREFIT_DRAIN_SECONDS"], beside["COREFIT_DRAIN_SECONDS"]) == ("5", "0")
    assert (own["COREFIT_AGENT_PORT"], own["COREFIT_AGENT_FULL_MILLICORES"]) == ("8083", "1000")
    assert not {"COREFIT_AGENT_PORT", "COREFIT_AGENT_FULL_MILLICORES"} & beside.keys()


def test_an_own_pod_has_time_for_its_drain_and_for_the_requests_that_it_holds() -> None:
    deployment = desired(_service(objective={"latencyMilliseconds": 60_000}), Defaults(image="i"))[-1]
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= int(_variables(_own())["COREFIT_DRAIN_SECONDS"]) + 60


def test_a_percentile_and_an_objective_are_written_without_a_fraction_that_is_none() -> None:
    variables = _variables(_own(objective={"percentile": 95, "latencyMilliseconds": 60_000}))
    assert (variables["COREFIT_PERCENTILE"], variables["COREFIT_OBJECTIVE_MS"]) == ("95", "60000")


@pytest.mark.parametrize("placed", [_own, _beside])
def test_models_come_from_no_link_local_address_unless_that_is_said(placed: Any) -> None:
    """There are the cloud's metadata, with its credentials."""
    assert "COREFIT_ALLOW_LINK_LOCAL" not in _variables(placed())
    service = _service()
    rendered = sidecar.rendered(service, "i")["spec"]["initContainers"][0]
    assert "COREFIT_ALLOW_LINK_LOCAL" not in _variables(rendered)
    allowed = sidecar.rendered(service, "i", link_local=True)["spec"]["initContainers"][0]
    assert _variables(allowed)["COREFIT_ALLOW_LINK_LOCAL"] == "true"


def test_the_process_is_told_its_limit_of_memory_and_its_uid_by_the_pod_that_it_is_in() -> None:
    variables = _variables(_own())
    assert variables["COREFIT_MEMORY"] == {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1"}}
    assert variables["COREFIT_POD_UID"] == {"fieldRef": {"fieldPath": "metadata.uid"}}


def test_a_variable_of_the_template_replaces_ours_once() -> None:
    env = [{"name": "COREFIT_MEMORY", "value": "1"}, {"name": "TZ", "value": "UTC"}]
    found = [v for v in _own(template={"env": env})["env"] if v["name"] in ("COREFIT_MEMORY", "TZ")]
    assert found == env


def test_a_sidecar_starts_with_what_it_keeps() -> None:
    resources = _beside(resources={"cpu": "500m"}, startup={"cpu": "2"})["resources"]
    assert resources["requests"]["cpu"] == resources["limits"]["cpu"] == "500m"


def test_a_rendered_template_says_how_its_pod_is_found_and_asked() -> None:
    metadata = sidecar.rendered(_service(model={"uri": "http://m/a", "revision": "3"}), "i")["metadata"]
    assert metadata["labels"] == {naming.LABEL_SERVICE: "digits"}
    assert metadata["annotations"] == {
        naming.ANNOTATION_ADMIN_PORT: "18081",
        naming.ANNOTATION_MODEL: "http://m/a",
        naming.ANNOTATION_REVISION: "3",
    }


def test_what_a_pod_template_says_of_itself_stays_where_it_differs_from_what_is_put_in() -> None:
    """`null` in the place of a list or a map is what server-side apply leaves."""
    source = sidecar.stamped(sidecar.rendered(_service(), "i"), "1.2")
    theirs = {
        "metadata": {"labels": {"app": "web"}, "annotations": None, "name": "x"},
        "spec": {"containers": [{**WEB, "env": None}], "initContainers": None, "volumes": None},
    }
    found = sidecar.injected(theirs, source)
    assert found["metadata"]["name"] == "x"
    assert found["metadata"]["labels"] == {"app": "web", naming.LABEL_SERVICE: "digits"}
    assert found["metadata"]["annotations"] == source["metadata"]["annotations"]
    assert [c["name"] for c in found["spec"]["initContainers"]] == [naming.SIDECAR]
    assert found["spec"]["volumes"] == source["spec"]["volumes"]
    assert found["spec"]["containers"][0]["image"] == "w"


def test_a_mount_or_a_variable_of_ours_that_a_container_has_already_is_the_containers_word() -> None:
    source = sidecar.rendered(_service(), "i")
    mount = {"name": "mine", "mountPath": naming.SOCKET_DIR}
    variable = {"name": "COREFIT_URL", "value": "http://elsewhere"}
    template = {"spec": {"containers": [{**WEB, "volumeMounts": [mount], "env": [variable]}]}}
    (found,) = sidecar.injected(template, source)["spec"]["containers"]
    assert found["volumeMounts"] == [mount]
    assert [v["name"] for v in found["env"]] == ["COREFIT_URL", "COREFIT_SOCKET"]
    assert found["env"][0] == variable
