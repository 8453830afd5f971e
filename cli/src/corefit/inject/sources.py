"""Reads the InferenceService that `corefit inject` goes by: from a file, or from the cluster by kubectl."""

import logging
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, Final, TypeVar

import msgspec

from corefit.inject import documents
from corefit.inject.documents import Source
from corefit_core import naming
from corefit_core.errors import InvalidInput
from corefit_core.manifest import Manifest
from corefit_core.pods import sidecar
from corefit_core.spec.decode import decode
from corefit_core.spec.serving_spec import ServingSpec

KUBECTL_TIMEOUT_S: Final = 30
RESOURCE: Final = f"{naming.PLURAL}.{naming.GROUP}"
"""In full: KServe has InferenceServices too."""
UNPUBLISHED: Final = "corefit.local/runtime:0.1.0"
"""The image as the devcluster builds it. No registry serves that name: a cluster that lacks it says so."""
log: Final = logging.getLogger(__name__)
_T = TypeVar("_T")


class _Named(msgspec.Struct, frozen=True):
    name: str


class _Status(msgspec.Struct, frozen=True):
    sidecar: dict[str, Any] | None = None


class _Resource(msgspec.Struct, frozen=True):
    metadata: _Named
    status: _Status = _Status()


class _Resources(msgspec.Struct, frozen=True):
    items: list[_Resource]


def from_file(name: str, image: str) -> Source:
    """What the file's InferenceServices come to; `image` for one that names none.

    Raises:
        InvalidInput: the file can't be read. The source raises it for a name that the file hasn't in mode Sidecar.
    """
    services = {spec.child_name: spec for spec in _services(name)}

    def source(_namespace: str, wanted: str) -> Manifest:
        spec = services.get(wanted)
        if spec is None:
            raise InvalidInput(f"{name} has no InferenceService named {wanted}{_hint(wanted)}")
        if not spec.injected:
            raise InvalidInput(
                f"InferenceService {wanted} is of mode Service and has pods of its own, for which others with its "
                "label would be taken: only one of mode Sidecar can be put into them"
            )
        if not (spec.image or image):
            log.warning(
                "InferenceService %s names no image: the manifests get %s, the name that `make images` gives. Name the "
                "one in your registry by --runtime-image",
                wanted,
                UNPUBLISHED,
            )
        return sidecar.stamped(sidecar.rendered(spec, image or UNPUBLISHED), version("corefit"))

    return source


def from_cluster(context: str) -> Source:
    """What the operator has put into the status of the cluster's InferenceServices; kubectl's own context when empty.

    The source raises InvalidInput for a name that the cluster hasn't in mode Sidecar.
    """

    def source(namespace: str, wanted: str) -> Manifest:
        found = _read_resource(context, namespace, wanted)
        if found is None:
            raise InvalidInput(f"kubectl found no InferenceService {wanted}{_hint(wanted)}")
        if found.status.sidecar is None:
            raise InvalidInput(f"InferenceService {wanted} is not of mode Sidecar, or the operator has not seen it yet")
        return found.status.sidecar

    return source


def _services(name: str) -> Iterator[ServingSpec]:
    for document in (each.value for each in documents.read(name)):
        if not isinstance(document, dict) or document.get("kind") != naming.KIND:
            continue
        if not documents.metadata(document).name:
            raise InvalidInput(f"{name}: an InferenceService has no name")
        told = {key: value for key, value in document["metadata"].items() if value is not None}
        yield decode({**document, "metadata": told})


def _hint(wanted: str) -> str:
    """What a name is labelled as that can't be a label as it is."""
    label = naming.label_value(wanted)
    return "" if label == wanted else f"; one of that name is labelled {label}"


def _read_resource(context: str, namespace: str, wanted: str) -> _Resource | None:
    """The resource that is labelled so: of that name, or, where its name is no label, of one that comes to it."""
    if naming.label_value(wanted) != wanted:
        return None
    if answer := _kubectl(context, namespace, wanted):
        return _decoded(answer, _Resource)
    answer = _kubectl(context, namespace)
    listed = _decoded(answer, _Resources).items if answer else []
    return next((each for each in listed if naming.label_value(each.metadata.name) == wanted), None)


def _kubectl(context: str, namespace: str, *name: str) -> bytes:
    """JSON of the resource of that name, or of all when no name is given; nothing when there is none."""
    options = [*(("--context", context) if context else ()), *(("--namespace", namespace) if namespace else ())]
    command = ["kubectl", *options, "get", RESOURCE, *name, "--ignore-not-found", "--output", "json"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=KUBECTL_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidInput(f"kubectl can't be asked ({error}): give the InferenceService by --service") from error
    if done.returncode:
        raise InvalidInput(f"kubectl found no InferenceService: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _decoded(answer: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"kubectl's answer can't be read: {error}") from error
