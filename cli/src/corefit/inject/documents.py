"""Kubernetes documents in YAML, and the sidecar in those that ask for it. May not know where the sidecar comes from.

They were written by hand and no API server has seen them: whatever has another shape than it should is refused.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from corefit.inject import kubernetes_yaml
from corefit.inject.kubernetes_yaml import Document
from corefit_core.errors import InvalidInput
from corefit_core.manifest import Manifest
from corefit_core.naming import LABEL_INJECT
from corefit_core.pods import sidecar

PATHS: Final[dict[str, tuple[str, ...]]] = {
    "Pod": (),
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"), ("spec", "template")),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Where each kind has its pod template."""

Source = Callable[[str, str], Manifest]
"""What is put into pods, by namespace (empty for kubectl's own) and name of the InferenceService, as it is labelled."""
_T = TypeVar("_T")


class Metadata(msgspec.Struct, frozen=True):
    """As far as it is looked at; null is what YAML has for a key without a value."""

    name: str | None = None
    namespace: str | None = None
    labels: dict[str, Any] | None = None
    annotations: dict[str, Any] | None = None


class _PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    containers: list[dict[str, Any]]
    init_containers: list[dict[str, Any]] | None = None
    volumes: list[dict[str, Any]] | None = None


def read(name: str) -> list[Document]:
    """The documents of a file, or of standard input for `-`.

    Raises:
        InvalidInput: it can't be read, or isn't YAML.
    """
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return list(kubernetes_yaml.documents(raw.decode("utf-8-sig")))
    except OSError as error:
        raise InvalidInput(f"{name} can't be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a number that is none
        raise InvalidInput(f"{name} is no YAML: {error}") from error


def metadata(document: Manifest) -> Metadata:
    """What it says of itself.

    Raises:
        InvalidInput: it can't be read.
    """
    return _read("metadata", document.get("metadata") or {}, Metadata)


def injected(document: Any, source: Source, namespace: str) -> Any:
    """The document, with the sidecar where it asks for it.

    Raises:
        InvalidInput: it is no Kubernetes object, can't have the sidecar, or the source has none for it.
    """
    if not isinstance(document, dict):
        raise InvalidInput("a document is no Kubernetes object")
    kind = str(document.get("kind"))
    if kind == "List":
        items = _read("items", document.get("items") or [], list[dict[str, Any]])
        return {**document, "items": [injected(item, source, namespace) for item in items]}
    if kind not in PATHS:
        return document
    try:
        return _injected(document, PATHS[kind], source, namespace)
    except InvalidInput as error:
        raise InvalidInput(f"{kind} {_name(document)}: {error}") from error


def _injected(document: Manifest, path: Sequence[str], source: Source, namespace: str) -> Manifest:
    template = document
    for key in path:
        template = _read(key, template.get(key) or {}, dict[str, Any])
    name = (metadata(template).labels or {}).get(LABEL_INJECT)
    if name is None:
        return document
    _read("the pod's spec", template.get("spec"), _PodSpec)
    found = source(metadata(document).namespace or namespace, str(name))
    return _replaced(document, path, sidecar.injected(template, found))


def _replaced(document: Manifest, path: Sequence[str], template: Manifest) -> Manifest:
    if not path:
        return template
    return {**document, path[0]: _replaced(document[path[0]], path[1:], template)}


def _name(document: Manifest) -> Any:
    told = document.get("metadata")
    return told.get("name") if isinstance(told, dict) else None


def _read(what: str, value: Any, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{what} can't be read: {error}") from error
