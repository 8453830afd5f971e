"""`corefit inject`: which documents it changes, and where it takes what it puts in."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from corefit.main import main
from corefit_core import sidecar
from corefit_core.naming import ANNOTATION_INJECTED, LABEL_INJECT, SIDECAR
from corefit_core.service import decode

SERVICE = {
    "apiVersion": "serving.corefit.dev/v1alpha1",
    "kind": "InferenceService",
    "metadata": {"name": "digits"},
    "spec": {"mode": "Sidecar", "model": {"uri": "http://models/digits.onnx"}},
}
TEMPLATE = {"metadata": {"labels": {LABEL_INJECT: "digits"}}, "spec": {"containers": [{"name": "web", "image": "w"}]}}


def _kind(kind: str, template: dict[str, Any]) -> dict[str, Any]:
    if kind == "Pod":
        return {"kind": kind, **template}
    spec = {"jobTemplate": {"spec": {"template": template}}} if kind == "CronJob" else {"template": template}
    return {"kind": kind, "metadata": {"name": "a"}, "spec": spec}


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """The documents that come out, or what was said on stderr."""
    service = tmp_path / "service.yaml"
    service.write_text(yaml.safe_dump(SERVICE))

    def call(*documents: Any, options: tuple[str, ...] = ("--service", str(service))) -> Any:
        given = tmp_path / "given.yaml"
        given.write_text(yaml.safe_dump_all(documents))
        status = main(["inject", "-f", str(given), *options])
        said = capsys.readouterr()
        return list(yaml.safe_load_all(said.out)) if status == 0 else said.err

    return call


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
    other = {**TEMPLATE, "metadata": {"labels": {LABEL_INJECT: "other"}}}
    assert "no InferenceService named other" in run(_kind("Deployment", other))
    taken = {**TEMPLATE, "spec": {"containers": [{"name": SIDECAR}]}}
    assert "Deployment a: a container is named" in run(_kind("Deployment", taken))
    assert "can't be read" in run(options=("--service", str(tmp_path / "none.yaml")))
    assert "no Kubernetes object" in run("text")


def test_without_a_file_the_cluster_is_asked(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = tmp_path / "asked", tmp_path / "answer"
    rendered = sidecar.rendered(decode(SERVICE), "i")
    answer.write_text(json.dumps({"status": {"sidecar": rendered}}))
    fake = tmp_path / "kubectl"
    fake.write_text(f'#!/bin/sh\necho "$@" > {asked}\ncase "$*" in *digits*) cat {answer};; *) exit 1;; esac\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (found,) = run(_kind("Deployment", TEMPLATE), options=("--context", "here", "--namespace", "n"))
    assert SIDECAR in json.dumps(found)
    assert asked.read_text().strip() == "--context here --namespace n get inferenceservice digits --output json"
    answer.write_text(json.dumps({"status": {}}))
    assert "not of mode Sidecar" in run(_kind("Deployment", TEMPLATE), options=())
    other = {**TEMPLATE, "metadata": {"labels": {LABEL_INJECT: "other"}}}
    assert "no InferenceService other" in run(_kind("Deployment", other), options=())
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert "--service" in run(_kind("Deployment", TEMPLATE), options=())
