"""Rules of a resource that need more than one field, or that a resource may be older than. May not do I/O."""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import UNSET

from corefit_core import naming
from corefit_core.api import gateway, routing
from corefit_core.api import inference_service as api
from corefit_core.errors import InvalidInput
from corefit_core.spec.field import field

_MOUNT_PATH: Final = re.compile(api.MOUNT_PATH.removesuffix("$"))
_RESERVED_MOUNT: Final = re.compile(api.RESERVED_MOUNT)


def check(spec: api.InferenceServiceSpec, template: api.PodTemplate) -> None:
    """Raises what is wrong with pod template and application.

    Raises:
        InvalidInput: a field makes no sense; the message names it.
    """
    field("spec.template.labels", _own_keys, template.labels)
    field("spec.template.annotations", _own_keys, template.annotations)
    _check_mounts(template)
    _check_variables(template)
    _check_application_mounts(spec)
    _check_routing(spec)


def _check_routing(spec: api.InferenceServiceSpec) -> None:
    if spec.routing.balancing == "Queue" and (spec.mode == "Sidecar" or spec.application is not UNSET):
        raise InvalidInput(f"spec.routing: {routing.QUEUE_MESSAGE}")
    if spec.routing.gateway is not UNSET and spec.mode == "Sidecar":
        raise InvalidInput(f"spec.routing: {gateway.SIDECAR_MESSAGE}")


def _check_mounts(template: api.PodTemplate) -> None:
    """Each mount is of a volume that the resource itself declares, where it replaces no file of the runtime."""
    declared = {str(volume.get("name")) for volume in template.volumes}
    for mount in template.volume_mounts:
        path = str(mount.get("mountPath"))
        if not _MOUNT_PATH.fullmatch(path) or _RESERVED_MOUNT.match(path):
            raise InvalidInput(f"spec.template.volumeMounts: {path!r}: {api.MOUNT_RULE}")
        if str(mount.get("name")) not in declared:  # The schema leaves its type to the API server.
            raise InvalidInput(
                f"spec.template.volumeMounts: {mount.get('mountPath')} mounts the volume {mount.get('name')!r}, which "
                "is not in spec.template.volumes. The runtime mounts no other volume of the pod: declare it there"
            )


def _check_variables(template: api.PodTemplate) -> None:
    """No variable comes from a file in a volume: in a pod of others that could be a volume of theirs."""
    for variable in template.env:
        source = variable.get("valueFrom")
        if isinstance(source, Mapping) and source.get("fileKeyRef") is not None:
            raise InvalidInput(
                f"spec.template.env[{variable.get('name')}]: valueFrom.fileKeyRef is not supported: use value or "
                "valueFrom.configMapKeyRef"
            )


def _check_application_mounts(spec: api.InferenceServiceSpec) -> None:
    """The application mounts no volume of the runtime's: one of them may hold the model server's credentials."""
    for container in () if spec.application is UNSET else spec.application.containers:
        for kind in ("volumeMounts", "volumeDevices"):
            mounts = container.get(kind)
            found = [m.get("name") for m in mounts if isinstance(m, dict)] if isinstance(mounts, list | tuple) else []
            for name in found:
                if str(name).startswith("corefit-"):
                    raise InvalidInput(
                        f"spec.application.containers[{container.get('name')}].{kind}: the volume {name} is the "
                        "runtime's own: use one of spec.application.volumes"
                    )


def _own_keys(found: Mapping[str, str]) -> None:
    taken = next((key for key in found if key.startswith(f"{naming.GROUP}/")), None)
    if taken is not None:
        raise InvalidInput(f"{taken[:80]}: keys that begin with {naming.GROUP}/ are Corefit's own")
