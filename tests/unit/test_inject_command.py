"""`corefit inject`: which documents it changes, and where it takes what it puts in."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from corefit.main import main
from corefit_core.naming import ANNOTATION_INJECTED, LABEL_INJECT, SIDECAR, child_name
from corefit_core.pods import sidecar
from corefit_core.spec.decode import decode

SERVICE = {
    "apiVersion": "serving.corefit.dev/v1alpha1",
    "kind": "InferenceService",
    "metadata": {"name": "digits"},
    "spec": {"mode": "Sidecar", "model": {"uri": "http://models/digits.onnx"}},
}
TEMPLATE = {"metadata": {"labels": {LABEL_INJECT: "digits"}}, "spec": {"containers": [{"name": "web", "image": "w"}]}}


DOTTED = "digits.v1.2"
RENDERED = sidecar.rendered(decode(SERVICE), "i")


def _kind(kind: str, template: dict[str, Any]) -> dict[str, Any]:
    if kind == "Pod":
        return {"kind": kind, **template}
    spec = {"jobTemplate": {"spec": {"template": template}}} if kind == "CronJob" else {"template": template}
    return {"kind": kind, "metadata": {"name": "a"}, "spec": spec}


def _labelled(name: str) -> dict[str, Any]:
    return _kind("Deployment", {**TEMPLATE, "metadata": {"labels": {LABEL_INJECT: name}}})


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """The documents that come out, or what was said on stderr."""
    service = tmp_path / "service.yaml"
    service.write_text(yaml.safe_dump(SERVICE))

    def call(
        *documents: Any,
        options: tuple[str, ...] = ("--service", str(service), "--runtime-image", "r.example/runtime:1"),
    ) -> Any:
        given = tmp_path / "given.yaml"
        given.write_text(yaml.safe_dump_all(documents))
        status = main(["inject", "-f", str(given), *options])
        said = capsys.readouterr()
        return list(yaml.safe_load_all(said.out)) if status == 0 else said.err

    return call


def test_without_an_image_it_writes_one_that_no_registry_serves(
    run: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [found] = run(_kind("Pod", TEMPLATE), options=("--service", str(tmp_path / "service.yaml")))
    assert found["spec"]["initContainers"][0]["image"].startswith("corefit.local/")
    assert "--runtime-image" in caplog.text


def test_what_came_as_json_begins_on_a_line_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Kubectl refused it: "invalid Yaml document separator"."""
    service, given = tmp_path / "service.yaml", tmp_path / "given.json"
    service.write_text(yaml.safe_dump(SERVICE))
    given.write_text(json.dumps(_kind("Pod", TEMPLATE)))
    assert main(["inject", "-f", str(given), "--service", str(service), "--runtime-image", "r:1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("---\n{")
    assert SIDECAR in said


@pytest.mark.parametrize("kind", ["Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"])
def test_every_kind_with_pods_gets_the_sidecar(run: Any, kind: str) -> None:
    (found,) = run(_kind(kind, TEMPLATE))
    text = json.dumps(found)
    assert text.count(f'"{SIDECAR}"') == 1
    assert ANNOTATION_INJECTED in text
    assert list(yaml.safe_load_all(yaml.safe_dump(found))) == [found]


def test_what_does_not_ask_for_it_stays_as_it_is(run: Any) -> None:
    others = [
        {"kind": "ConfigMap", "data": {"a": "b"}},
        _kind("Deployment", {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}}),
        {"kind": "Deployment", "spec": {}},
    ]
    assert run(*others) == others


def test_a_list_and_a_second_time(run: Any) -> None:
    (once,) = run({"kind": "List", "items": [_kind("Deployment", TEMPLATE), {"kind": "Service"}]})
    assert SIDECAR in json.dumps(once["items"][0])
    assert once["items"][1] == {"kind": "Service"}
    assert run(once) == [once]


def test_what_is_wrong_is_said(run: Any, tmp_path: Path) -> None:
    assert "no InferenceService named other" in run(_labelled("other"))
    taken = {**TEMPLATE, "spec": {"containers": [{"name": SIDECAR}]}}
    assert "Deployment a: a container is named" in run(_kind("Deployment", taken))
    assert "can't be read" in run(options=("--service", str(tmp_path / "none.yaml")))
    assert "no Kubernetes object" in run("text")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [b", "is no YAML"),
        (b"a: \xff", "is no YAML"),
        ("a: !!int b", "is no YAML"),
        ("{kind: List, items: 5}", "items can't be read"),
        ("{kind: Deployment, metadata: null, spec: [1]}", "Deployment None: spec can't be read"),
        ("{kind: Pod, metadata: {name: a, labels: [b]}}", "Pod a: metadata can't be read"),
        (f"{{kind: Pod, metadata: {{labels: {{{LABEL_INJECT}: digits}}}}}}", "the pod's spec can't be read"),
        (f"{{kind: Pod, metadata: {{labels: {{{LABEL_INJECT}: a}}}}, spec: {{containers: [b]}}}}", "containers[0]"),
    ],
)
def test_what_no_api_server_has_seen_is_refused(run: Any, tmp_path: Path, text: str | bytes, says: str) -> None:
    path = tmp_path / "hand-written.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert says in run(options=("-f", str(path), "--service", str(tmp_path / "service.yaml")))


@pytest.mark.parametrize(
    "text",
    [
        "{kind: List, items: null}",
        "{kind: Pod, metadata: null, spec: {}}",
        "{kind: Job, metadata: null, spec: {template: {metadata: {labels: null}}}}",
    ],
)
def test_a_key_without_a_value_asks_for_nothing(run: Any, text: str) -> None:
    (found,) = run(yaml.safe_load(text))
    assert {**found, "items": None} == {**yaml.safe_load(text), "items": None}


@pytest.mark.parametrize("metadata", [None, {}, {"name": None}, []])
def test_a_service_without_a_name_is_refused(run: Any, tmp_path: Path, metadata: Any) -> None:
    path = tmp_path / "nameless.yaml"
    path.write_text(yaml.safe_dump({**SERVICE, "metadata": metadata}))
    assert "corefit: " in run(_kind("Pod", TEMPLATE), options=("--service", str(path)))


def test_a_service_with_pods_of_its_own_is_not_put_into_others(run: Any, tmp_path: Path) -> None:
    """The label would have them selected by the Service, the PodDisruptionBudget and the operator of that resource."""
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({**SERVICE, "spec": {"model": {"uri": "http://models/digits.onnx"}}}))
    assert "only one of mode Sidecar" in run(_kind("Deployment", TEMPLATE), options=("--service", str(path)))


def test_a_name_that_is_no_label_is_found_by_its_label(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "dotted.yaml"
    path.write_text(yaml.safe_dump({**SERVICE, "metadata": {"name": DOTTED, "annotations": None}}))
    (found,) = run(_labelled(child_name(DOTTED)), options=("--service", str(path), "--runtime-image", "r:1"))
    assert SIDECAR in json.dumps(found)
    assert f"labelled {child_name(DOTTED)}" in run(_labelled(DOTTED), options=("--service", str(path)))


# --- from a cluster -------------------------------------------------------------------------------------------

KUBECTL = """#!/bin/sh
echo "$*" >> {folder}/asked
while [ "$1" != inferenceservices.serving.corefit.dev ]; do shift; done
case "$2" in --*) cat {folder}/all;; forbidden) echo no >&2; exit 1;; *) cat {folder}/"$2" 2>/dev/null;; esac
exit 0
"""
"""As kubectl answers with --ignore-not-found: nothing, and success, for a name that there is none of."""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What kubectl finds: `all`, or a file of the resource's name; `asked` has what it was asked, a line each."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL.format(folder=folder))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (folder / "all").write_text("")
    return folder


def _resource(name: str, **status: Any) -> str:
    return json.dumps({"metadata": {"name": name}, "status": status})


def test_without_a_file_the_cluster_is_asked(run: Any, cluster: Path) -> None:
    (cluster / "digits").write_text(_resource("digits", sidecar=RENDERED))
    (found,) = run(_labelled("digits"), options=("--context", "here", "--namespace", "n"))
    assert SIDECAR in json.dumps(found)
    asked = "get inferenceservices.serving.corefit.dev digits --ignore-not-found --output json"
    assert (cluster / "asked").read_text() == f"--context here --namespace n {asked}\n"


def test_what_the_cluster_has_under_another_name_is_found_by_its_label(run: Any, cluster: Path) -> None:
    found = f"{_resource('digits', sidecar=RENDERED)}, {_resource(DOTTED, sidecar=RENDERED)}"
    (cluster / "all").write_text(f'{{"items": [{found}]}}')
    (made,) = run(_labelled(child_name(DOTTED)), options=())
    assert SIDECAR in json.dumps(made)
    (cluster / DOTTED).write_text(_resource(DOTTED, sidecar=RENDERED))
    assert f"labelled {child_name(DOTTED)}" in run(_labelled(DOTTED), options=())


def test_what_the_cluster_can_not_give_is_said(run: Any, cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cluster / "digits").write_text(_resource("digits"))
    (cluster / "garbled").write_bytes(b'{"metadata": {"name": "\xff"}}')
    for name, says in (
        ("digits", "not of mode Sidecar"),
        ("other", "no InferenceService other"),
        ("garbled", "can't be read"),
        ("forbidden", "no InferenceService: no"),
    ):
        assert says in run(_labelled(name), options=())
    (cluster / "all").write_text('{"items": []}')
    assert "no InferenceService other" in run(_labelled("other"), options=())
    monkeypatch.setenv("PATH", str(cluster))
    assert "--service" in run(_labelled("digits"), options=())
