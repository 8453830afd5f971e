"""The parts of pods that the operator reads.

Decoded from the API server's JSON; unknown fields are ignored. May not decide anything.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from corefit_core.naming import (
    ANNOTATION_ADMIN_PORT,
    ANNOTATION_MODEL,
    ANNOTATION_REVISION,
    PORT_ADMIN,
    PORT_NAME,
)
from corefit_operator.kube.metadata import Decoded, Meta, ObjectCondition, controller, without_unread

_PORT_MAX: Final = 65535
_PORT_DIGITS: Final = 5


class WaitingOrTerminated(Decoded, frozen=True, kw_only=True):
    """Why a container does not run."""

    reason: str = ""
    message: str = ""
    exit_code: int = 0


class ContainerState(Decoded, frozen=True, kw_only=True):
    """What a container does."""

    waiting: WaitingOrTerminated | None = None
    terminated: WaitingOrTerminated | None = None


class ContainerResources(Decoded, frozen=True, kw_only=True):
    """Requests and limits of a container, as quantities."""

    requests: dict[str, int | float | str] = msgspec.field(default_factory=dict)
    limits: dict[str, int | float | str] = msgspec.field(default_factory=dict)


class ContainerPort(Decoded, frozen=True, kw_only=True):
    """A port that a container declares."""

    name: str = ""


class Container(Decoded, frozen=True, kw_only=True):
    """The spec of a container."""

    name: str = ""
    restart_policy: str = ""
    ports: tuple[ContainerPort, ...] = ()
    resources: ContainerResources = ContainerResources()


class PodSpec(Decoded, frozen=True, kw_only=True):
    """The spec of a pod; the node is empty until it is scheduled."""

    node_name: str = ""
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    overhead: dict[str, int | float | str] = msgspec.field(default_factory=dict)


class ContainerStatus(Decoded, frozen=True, kw_only=True):
    """What the kubelet says of a container."""

    name: str = ""
    restart_count: int = 0
    resources: ContainerResources | None = None
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodStatus(Decoded, frozen=True, kw_only=True):
    """What the kubelet says of a pod."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    conditions: tuple[ObjectCondition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Decoded, frozen=True, kw_only=True):
    """A runtime pod."""

    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def live(self) -> bool:
        """Neither being deleted nor over (evicted, preempted)."""
        return self.metadata.deletion_timestamp is None and self.status.phase not in ("Failed", "Succeeded")

    @property
    def admin_port(self) -> int:
        """Where the runtime in it has its admin port."""
        said = self.metadata.annotations.get(ANNOTATION_ADMIN_PORT, "")
        port = int(said) if said.isdecimal() and len(said) <= _PORT_DIGITS else 0
        return port if 0 < port <= _PORT_MAX else PORT_ADMIN

    def made_by(self, deployment: str) -> bool:
        """Whether a ReplicaSet of the Deployment of this name manages it; a label alone anybody can give a pod."""
        owner = controller(self.metadata.owner_references)
        return owner.kind == "ReplicaSet" and owner.name.rpartition("-")[0] == deployment

    @property
    def unscheduled(self) -> str:
        """Why the scheduler found no node for it, in its words; empty where it did, or has not tried."""
        said = (c.message for c in self.status.conditions if c.type == "PodScheduled" and c.status == "False")
        return next(said, "") if self.live else ""

    @property
    def model_uri(self) -> str:
        """spec.model.uri that it was made from; empty for a pod of an operator that didn't say it."""
        return self.metadata.annotations.get(ANNOTATION_MODEL, "")

    @property
    def model_revision(self) -> str:
        """spec.model.revision that it was made from; empty when there was none."""
        return self.metadata.annotations.get(ANNOTATION_REVISION, "")

    @property
    def names_its_port(self) -> bool:
        """Whether the Service finds the port in it by name."""
        return any(port.name == PORT_NAME for container in self.spec.containers for port in container.ports)

    @property
    def ready(self) -> bool:
        """The Ready condition."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)


def decode_pod(raw: Mapping[str, Any]) -> Pod:
    """A pod from the API server's JSON."""
    found = msgspec.convert(dict(raw), Pod)
    return msgspec.structs.replace(found, metadata=without_unread(found.metadata))
