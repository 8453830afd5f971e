"""The parts of Kubernetes objects that the operator reads, and nothing else: 5,000 pods stay a few MB.

Decoded from the API server's JSON; unknown fields are ignored. May not decide anything.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from corefit_core.naming import (
    ANNOTATION_ADMIN_PORT,
    ANNOTATION_MODEL,
    ANNOTATION_OWNER,
    ANNOTATION_REVISION,
    GROUP,
    LABEL_SERVICE,
    PORT_ADMIN,
    PORT_NAME,
)
from corefit_operator.field_account import applied_fields

LOG: Final = logging.getLogger(__name__)
_PORT_MAX: Final = 65535
_PORT_DIGITS: Final = 5
Read = TypeVar("Read")


class _Read(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Immutable, camelCase on the wire."""


class OwnerReference(_Read, frozen=True, kw_only=True):
    """Who owns an object."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


def controller(owners: tuple[OwnerReference, ...]) -> OwnerReference:
    """The one that manages an object; an empty reference when none does."""
    return next((owner for owner in owners if owner.controller), OwnerReference())


class Meta(_Read, frozen=True, kw_only=True):
    """Object metadata."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    deletion_timestamp: str | None = None
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()

    @property
    def owner_label(self) -> str:
        """The value of the label that says whose child it is."""
        return self.labels.get(LABEL_SERVICE, "")


M = TypeVar("M", bound=Meta)


class ChildMeta(Meta, frozen=True, kw_only=True):
    """Object metadata with a hash of the account of the fields that we applied; empty when there is none."""

    applied_fields: str = ""


class ObjectCondition(_Read, frozen=True, kw_only=True):
    """A condition of a pod or a Deployment."""

    type: str
    status: str = ""
    reason: str = ""
    message: str = ""


class WaitingOrTerminated(_Read, frozen=True, kw_only=True):
    """Why a container does not run."""

    reason: str = ""
    message: str = ""
    exit_code: int = 0


class ContainerState(_Read, frozen=True, kw_only=True):
    """What a container does."""

    waiting: WaitingOrTerminated | None = None
    terminated: WaitingOrTerminated | None = None


class ContainerResources(_Read, frozen=True, kw_only=True):
    """Requests and limits of a container, as quantities."""

    requests: dict[str, int | float | str] = msgspec.field(default_factory=dict)
    limits: dict[str, int | float | str] = msgspec.field(default_factory=dict)


class ContainerPort(_Read, frozen=True, kw_only=True):
    """A port that a container declares."""

    name: str = ""


class Container(_Read, frozen=True, kw_only=True):
    """What is asked for a container."""

    name: str = ""
    ports: tuple[ContainerPort, ...] = ()
    resources: ContainerResources = ContainerResources()


class PodSpec(_Read, frozen=True, kw_only=True):
    """What is asked for a pod; the node is empty until it is scheduled."""

    node_name: str = ""
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()


class ContainerStatus(_Read, frozen=True, kw_only=True):
    """What the kubelet says of a container."""

    name: str = ""
    restart_count: int = 0
    resources: ContainerResources | None = None
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodStatus(_Read, frozen=True, kw_only=True):
    """What the kubelet says of a pod."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    conditions: tuple[ObjectCondition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(_Read, frozen=True, kw_only=True):
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


class RollingUpdate(_Read, frozen=True, kw_only=True):
    """Of a StatefulSet: pods with a lower ordinal than the partition keep the old template."""

    partition: int = 0


class UpdateStrategy(_Read, frozen=True, kw_only=True):
    """Of a StatefulSet."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate = RollingUpdate()


class TemplateMeta(_Read, frozen=True, kw_only=True):
    """Metadata of a pod template."""

    labels: dict[str, str] = msgspec.field(default_factory=dict)


class Template(_Read, frozen=True, kw_only=True):
    """What pods are made from."""

    metadata: TemplateMeta = TemplateMeta()


class DeploymentSpec(_Read, frozen=True, kw_only=True):
    """What the Deployment or StatefulSet was asked for; absent replicas are 1, as in apps/v1."""

    replicas: int = 1
    update_strategy: UpdateStrategy = UpdateStrategy()
    template: Template = Template()


class DeploymentStatus(_Read, frozen=True, kw_only=True):
    """What the Deployment's controller says."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    conditions: tuple[ObjectCondition, ...] = ()


class Child(_Read, frozen=True, kw_only=True):
    """A child of a resource, or a workload that one names; `spec` and `status` are a workload's, else empty."""

    kind: str = ""
    metadata: ChildMeta
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()

    @property
    def controller_uid(self) -> str:
        """The uid of its controller; empty when it has none."""
        return controller(self.metadata.owner_references).uid

    def owned_by(self, uid: str) -> bool:
        """Whether it is the child of the resource of this uid; one made for it may have lost its owner by hand."""
        return bool(uid) and (self.controller_uid or self.metadata.annotations.get(ANNOTATION_OWNER)) == uid

    @property
    def rolling_out(self) -> bool:
        """Whether pods of an older template are still there, or the Deployment's controller hasn't looked yet.

        One that the controller has never looked at is new, and has no pods of an older template.
        """
        status, strategy = self.status, self.spec.update_strategy
        if status.observed_generation == 0:
            return False
        if status.observed_generation < self.metadata.generation:
            return True
        # What is held back by partition, or until somebody deletes it, stays: waiting for it would be for ever.
        held = status.replicas if strategy.type == "OnDelete" else strategy.rolling_update.partition
        updated = min(status.replicas, status.updated_replicas + held)
        return updated < min(self.spec.replicas, status.replicas) or status.replicas > updated

    @property
    def complete(self) -> bool:
        """Whether every replica of a Deployment is of its newest template and available."""
        return not self.rolling_out and self.status.available_replicas >= self.spec.replicas


class _Partial(_Read, frozen=True, kw_only=True):
    """A child without spec and status."""

    metadata: ChildMeta


def readable(read: Callable[[Mapping[str, Any]], Read], raw: Mapping[str, Any]) -> Read | None:
    """What `read` makes of an object; None of one that it can't read, which is no trouble of any other object's."""
    try:
        return read(raw)
    except (msgspec.ValidationError, KeyError, TypeError) as error:
        found = raw.get("metadata") or {}
        LOG.warning("object %s/%s can't be read: %s", found.get("namespace"), found.get("name"), error)
        return None


def pod(raw: Mapping[str, Any]) -> Pod:
    """A pod from the API server's JSON."""
    found = msgspec.convert(dict(raw), Pod)
    return msgspec.structs.replace(found, metadata=_kept(found.metadata))


def child(kind: str, raw: Mapping[str, Any]) -> Child:
    """A child from the API server's JSON, which leaves the kind out of the items of a list."""
    whole = kind in ("Deployment", "StatefulSet")
    found = (
        msgspec.convert(dict(raw), Child) if whole else Child(metadata=msgspec.convert(dict(raw), _Partial).metadata)
    )
    metadata = msgspec.structs.replace(_kept(found.metadata), applied_fields=applied_fields(raw))
    return msgspec.structs.replace(found, kind=kind, metadata=metadata)


def _kept(meta: M) -> M:
    """Metadata with the labels and annotations that are looked at, of up to 256 KiB that there may be."""
    labels = {key: value for key, value in meta.labels.items() if key == LABEL_SERVICE}
    annotations = {key: value for key, value in meta.annotations.items() if key.startswith(f"{GROUP}/")}
    return msgspec.structs.replace(meta, labels=labels, annotations=annotations)


def meta(raw: Mapping[str, Any]) -> Meta:
    """The metadata of any object from the API server's JSON."""
    return msgspec.convert(raw["metadata"], Meta)


def rescaled(deployment: Child, replicas: int, version: str) -> Child:
    """The Deployment as our own write left it, until the watch says the same: or the next look would write again."""
    metadata, spec = deployment.metadata, msgspec.structs.replace(deployment.spec, replicas=replicas)
    metadata = msgspec.structs.replace(metadata, resource_version=version, generation=metadata.generation + 1)
    return msgspec.structs.replace(deployment, metadata=metadata, spec=spec)
