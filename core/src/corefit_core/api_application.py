"""The part of an InferenceService that is an application beside the runtime. May not decide anything."""

from typing import Annotated

from msgspec import Meta

from corefit_core import naming
from corefit_core.api_part import Opaque, Part, keyed, rules


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
                    f"!(self in [{naming.SIDECAR_PORT_HTTP}, {naming.SIDECAR_PORT_ADMIN}])",
                    f"the ports {naming.SIDECAR_PORT_HTTP} and {naming.SIDECAR_PORT_ADMIN} are the runtime's own",
                )
            ),
        ),
    ] = naming.PORT_HTTP
    termination_grace_period_seconds: Annotated[
        int,
        Meta(ge=1, le=3600, description="Seconds from SIGTERM within which the application and the runtime end."),
    ] = 40
