"""The parts of an InferenceService that put the runtime beside an application. May not decide anything."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from corefit_core import naming
from corefit_core.api_part import ObjectName, Opaque, Part, keyed, rules

_RUNTIME_PORTS: Final = (naming.SIDECAR_PORT_HTTP, naming.SIDECAR_PORT_ADMIN, naming.SIDECAR_PORT_CONTROL)


class Application(Part, frozen=True, kw_only=True):
    """An application of yours in the pods of the service, with the runtime as its native sidecar."""

    containers: Annotated[
        tuple[Opaque, ...],
        keyed(
            "name",
            "core/v1 containers. They find the runtime by COREFIT_URL and COREFIT_SOCKET in their environment.",
            (
                f"self.all(c, c.name != '{naming.SIDECAR}')",
                f"the container {naming.SIDECAR} is Corefit's own: choose another name",
            ),
            ("self.size() > 0", "containers must hold one at least"),
        ),
    ]
    volumes: Annotated[
        tuple[Opaque, ...],
        keyed(
            "name",
            "core/v1 volumes of these containers.",
            ("self.all(v, !v.name.startsWith('corefit-'))", "volumes named corefit-... are Corefit's own"),
        ),
    ] = ()
    port: Annotated[
        int,
        Meta(
            ge=1,
            le=65535,
            description="Port of the application that the Service routes to.",
            extra_json_schema=rules(
                (
                    f"!(self in {list(_RUNTIME_PORTS)!r})",
                    f"the ports {', '.join(map(str, _RUNTIME_PORTS))} are the runtime's own",
                )
            ),
        ),
    ] = naming.PORT_HTTP
    termination_grace_period_seconds: Annotated[
        int,
        Meta(ge=1, le=3600, description="Seconds from SIGTERM within which the application and the runtime end."),
    ] = 40


ServiceMode = Literal["Service", "Sidecar"]
SERVICE_MODE: Final = Meta(
    description="Service: pods, and what belongs to them, are made. Sidecar: none are; pods of yours that are labelled "
    f"{naming.LABEL_INJECT}: NAME get the runtime as a sidecar. It can't be changed.",
    extra_json_schema=rules(("self == oldSelf", "mode can't be changed: delete the resource and create it anew")),
)
MODE_RULES: Final = (
    ("self.mode == 'Service' || !has(self.application)", "application and mode Sidecar exclude each other"),
    ("self.mode == 'Sidecar' || !has(self.scaling.targetRef)", "scaling.targetRef is for mode Sidecar only"),
)
"""Of the whole spec: (expression that must hold, message when it doesn't)."""


class TargetRef(Part, frozen=True, kw_only=True):
    """A workload of yours that is to be scaled."""

    api_version: Annotated[Literal["apps/v1"], Meta(description="Its API.")] = "apps/v1"
    kind: Annotated[Literal["Deployment", "StatefulSet"], Meta(description="Its kind.")]
    name: Annotated[ObjectName, Meta(description="Its name, in this namespace.")]
