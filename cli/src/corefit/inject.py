"""`corefit inject`: puts the runtime into manifests, where a cluster can't do it at admission.

What is put in is what the operator keeps in the resource's status (asked for through kubectl), or what an
InferenceService in a file comes to. The rest of a document stays as it is; comments don't survive YAML's parsing.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import yaml

from corefit_core import sidecar
from corefit_core.errors import InvalidInput
from corefit_core.naming import LABEL_INJECT
from corefit_core.service import decode

DEFAULT_IMAGE: Final = "corefit/runtime:0.1.0"
PATHS: Final[dict[str, tuple[str, ...]]] = {
    "Pod": (),
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"), ("spec", "template")),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Where each kind has its pod template."""
KUBECTL_TIMEOUT_S: Final = 30

Source = Callable[[str, str], dict[str, Any]]
"""What is put into pods, by namespace (empty for kubectl's own) and name of the InferenceService."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "inject",
        help="put the runtime as a sidecar into manifests",
        description=f"Puts the runtime beside the containers of every pod template that is labelled {LABEL_INJECT}: "
        "NAME, and prints all documents. For clusters that can't do so at admission (before Kubernetes 1.36).",
    )
    parser.add_argument("-f", "--filename", action="append", required=True, help="manifests in YAML; - for stdin")
    parser.add_argument("--service", help="an InferenceService in a file, instead of what the cluster has of that name")
    parser.add_argument("--runtime-image", default=DEFAULT_IMAGE, help="with --service, where it names none")
    parser.add_argument("--namespace", "-n", default="", help="of the InferenceService, where a document names none")
    parser.add_argument("--context", default="", help="of kubectl")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    source = _from_file(options.service, options.runtime_image) if options.service else _from_cluster(options.context)
    documents = [doc for name in options.filename for doc in yaml.safe_load_all(_text(name)) if doc is not None]
    injected = [_document(doc, source, options.namespace) for doc in documents]
    yaml.safe_dump_all(injected, sys.stdout, sort_keys=False, width=116, allow_unicode=True)
    return 0


def _text(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text()
    except OSError as error:
        raise InvalidInput(f"{name} can't be read: {error.strerror}") from error


def _document(document: Any, source: Source, namespace: str) -> Any:
    """One document, injected where it asks for it."""
    if not isinstance(document, dict):
        raise InvalidInput("a document is no Kubernetes object")
    if document.get("kind") == "List":
        return {**document, "items": [_document(item, source, namespace) for item in document.get("items", ())]}
    path = PATHS.get(str(document.get("kind")))
    if path is None:
        return document
    template = document
    for key in path:
        template = template.get(key) or {}
    name = (template.get("metadata", {}).get("labels") or {}).get(LABEL_INJECT)
    if name is None:
        return document
    where = str(document.get("metadata", {}).get("namespace") or namespace)
    try:
        return _replaced(document, path, sidecar.injected(template, source(where, str(name))))
    except InvalidInput as error:
        raise InvalidInput(f"{document['kind']} {document.get('metadata', {}).get('name')}: {error}") from error


def _replaced(document: dict[str, Any], path: Sequence[str], template: dict[str, Any]) -> dict[str, Any]:
    if not path:
        return template
    return {**document, path[0]: _replaced(document[path[0]], path[1:], template)}


def _from_file(name: str, image: str) -> Source:
    services = list(_services(name))

    def source(_namespace: str, wanted: str) -> dict[str, Any]:
        for service in services:
            if service.child_name == wanted:
                return sidecar.stamped(sidecar.rendered(service, image), version("corefit"))
        raise InvalidInput(f"{name} has no InferenceService named {wanted}")

    return source


def _services(name: str) -> Iterator[Any]:
    for document in yaml.safe_load_all(_text(name)):
        if isinstance(document, dict) and document.get("kind") == "InferenceService":
            yield decode(document)


def _from_cluster(context: str) -> Source:
    options = ["--context", context] if context else []

    def source(namespace: str, wanted: str) -> dict[str, Any]:
        within = ["--namespace", namespace] if namespace else []
        command = ["kubectl", *options, *within, "get", "inferenceservice", wanted, "--output", "json"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=KUBECTL_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InvalidInput(f"kubectl can't be asked ({error}): give the InferenceService by --service") from error
        if done.returncode:
            raise InvalidInput(f"kubectl found no InferenceService {wanted}: {done.stderr.strip()}")
        template: dict[str, Any] | None = json.loads(done.stdout).get("status", {}).get("sidecar")
        if template is None:
            raise InvalidInput(f"InferenceService {wanted} is not of mode Sidecar, or the operator has not seen it yet")
        return template

    return source
