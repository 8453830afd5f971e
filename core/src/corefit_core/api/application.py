"""The parts of an InferenceService that put the runtime beside an application. May not decide anything."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from corefit_core import naming
from corefit_core.api.part import ObjectName, Opaque, Part, keyed, rules
from corefit_core.environment import Variable

_RUNTIME_PORTS: Final = (naming.SIDECAR_PORT_HTTP, naming.SIDECAR_PORT_ADMIN, naming.SIDECAR_PORT_CONTROL)


class Application(Part, frozen=True, kw_only=True):
    """Your application in the pods of the service, with the runtime as its native sidecar."""

    containers: Annotated[
        tuple[Opaque, ...],
        keyed(
            "name",
            f"Containers of the application (core/v1). They find the runtime by {Variable.URL} and {Variable.SOCKET}.",
            (
                f"self.all(c, c.name != '{naming.SIDECAR}')",
                f"the container {naming.SIDECAR} is Corefit's own: choose another name",
            ),
            ("self.size() > 0", "containers must hold at least one container"),
        ),
    ]
    volumes: Annotated[
        tuple[Opaque, ...],
        keyed(
            "name",
            "Volumes of these containers (core/v1).",
            ("self.all(v, !v.name.startsWith('corefit-'))", "volumes named corefit-... are Corefit's own"),
        ),
    ] = ()
    port: Annotated[
        int,
        Meta(
            ge=1,
            le=65535,
            description="The application's port. The Service routes to it.",
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
        Meta(ge=1, le=3600, description="How many seconds the application and the runtime have to end after SIGTERM."),
    ] = 40


ServiceMode = Literal["Service", "Sidecar"]
SERVICE_MODE: Final = Meta(
    description="Service: Corefit creates the pods. Sidecar: Corefit creates no pods, and adds the runtime as a "
    f"sidecar to your pods that have the label {naming.LABEL_INJECT}: NAME. Immutable.",
    extra_json_schema=rules(("self == oldSelf", "mode can't be changed: delete the resource and create it anew")),
)
MODE_RULES: Final = (
    (
        "self.mode == 'Service' || !has(self.application)",
        "application is for mode Service only: in mode Sidecar your own Deployment holds the application",
    ),
    ("self.mode == 'Sidecar' || !has(self.scaling.targetRef)", "scaling.targetRef is for mode Sidecar only"),
)
"""Of the whole spec: (expression that must hold, message when it doesn't)."""


class TargetRef(Part, frozen=True, kw_only=True):
    """The workload that Corefit scales."""

    api_version: Annotated[Literal["apps/v1"], Meta(description="The API version of the workload.")] = "apps/v1"
    kind: Annotated[Literal["Deployment", "StatefulSet"], Meta(description="The kind of the workload.")]
    name: Annotated[ObjectName, Meta(description="The name of the workload, in this namespace.")]
