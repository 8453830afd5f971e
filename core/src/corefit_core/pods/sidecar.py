"""The runtime beside an application: what is put into a pod, and the putting in. May not do I/O.

`rendered` is a pod template whose only init container is the runtime, and whose only container stands for each of
the application's: its variables and its mount are what those get. The operator keeps it in the resource's status, from
which the admission policy of the chart copies; `injected` does the same to a template at hand. Both leave alone what is
there already: a variable or a mount of the same name is the application's word.
"""

from collections.abc import Mapping
from typing import Any, Final

from corefit_core import naming
from corefit_core.environment import Variable
from corefit_core.errors import InvalidInput
from corefit_core.manifest import Manifest, fingerprint
from corefit_core.pods import container
from corefit_core.pods.container import AS_SIDECAR
from corefit_core.spec.serving_spec import ServingSpec

APPLICATION: Final = "application"
"""The name of the container that stands for the application's."""
URL: Final = f"http://127.0.0.1:{naming.SIDECAR_PORT_HTTP}"


def rendered(spec: ServingSpec, image: str, *, link_local: bool = False) -> Manifest:
    """What goes into a pod of the application; `image` and `link_local` as for `container.sidecar`."""
    application = {
        "name": APPLICATION,
        # Required, and never run: the template is only ever copied from.
        "image": spec.image or image,
        "env": [
            {"name": Variable.URL.value, "value": URL},
            {"name": Variable.SOCKET.value, "value": naming.SOCKET},
        ],
        "volumeMounts": [{"name": AS_SIDECAR.volume("socket"), "mountPath": naming.SOCKET_DIR, "readOnly": True}],
    }
    return {
        "metadata": {
            "labels": naming.selector(spec.name),
            "annotations": {
                naming.ANNOTATION_ADMIN_PORT: str(AS_SIDECAR.admin_port),
                **naming.model_annotations(spec.model.source_uri, spec.model.revision),
            },
        },
        "spec": {
            "initContainers": [container.sidecar(spec, image, link_local=link_local)],
            "containers": [application],
            "volumes": container.volumes(spec, AS_SIDECAR),
        },
    }


def stamped(template: Manifest, version: str) -> Manifest:
    """The rendered template with its version and hash, by which pods that were injected from another are known."""
    stamp = f"{version}-{fingerprint(template)}"
    metadata = template["metadata"]
    annotations = {**metadata["annotations"], naming.ANNOTATION_INJECTED: stamp}
    return {**template, "metadata": {**metadata, "annotations": annotations}}


def stamp_of(template: Manifest) -> str:
    """The stamp that `stamped` has put on a template; empty on another."""
    return str(template["metadata"]["annotations"].get(naming.ANNOTATION_INJECTED, ""))


def injected(template: Mapping[str, Any], source: Mapping[str, Any]) -> Manifest:
    """A pod template with what `source`, a rendered template, holds for it; unchanged when it has it already.

    Raises:
        InvalidInput: a container of the sidecar's name is there that isn't one, or one that can't be read.
    """
    spec = template.get("spec", {})
    taken = [c for c in _all_containers(spec) if c.get("name") == naming.SIDECAR]
    if any(c.get("restartPolicy") != "Always" for c in taken):
        raise InvalidInput(f"a container is named {naming.SIDECAR}, as the sidecar would be: rename it")
    if taken:
        return dict(template)
    given = source["spec"]
    stands_for = given["containers"][0]
    return {
        **template,
        "metadata": _labelled(template.get("metadata") or {}, source["metadata"]),
        "spec": {
            **spec,
            "initContainers": [*(spec.get("initContainers") or ()), *given["initContainers"]],
            "containers": [_wired(c, stands_for) for c in spec.get("containers") or ()],
            "volumes": [*(spec.get("volumes") or ()), *given["volumes"]],
        },
    }


def _all_containers(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def _labelled(metadata: Mapping[str, Any], source: Mapping[str, Any]) -> Manifest:
    merged = {key: {**(metadata.get(key) or {}), **source[key]} for key in ("labels", "annotations")}
    return {**metadata, **merged}


def _wired(theirs: Mapping[str, Any], stands_for: Mapping[str, Any]) -> Manifest:
    """A container of the application with what it finds the runtime by, and nothing else changed."""
    return {
        **theirs,
        "env": _added(theirs, "env", stands_for, "name"),
        "volumeMounts": _added(theirs, "volumeMounts", stands_for, "mountPath"),
    }


def _added(container: Mapping[str, Any], field: str, stands_for: Mapping[str, Any], key: str) -> list[Manifest]:
    theirs = container.get(field) or []
    # The CRD leaves what containers hold to the API server, which sees it only in the Deployment.
    if not isinstance(theirs, list | tuple) or not all(isinstance(item, Mapping) for item in theirs):
        raise InvalidInput(f"container {container.get('name')}: {field} must be a list of objects with a {key}")
    known = [item.get(key) for item in theirs]  # The schema leaves their types to the API server.
    return [*theirs, *(item for item in stands_for[field] if item[key] not in known)]
