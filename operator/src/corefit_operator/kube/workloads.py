"""The parts of children that the operator reads, and of workloads: Deployments and StatefulSets.

Decoded from the API server's JSON; unknown fields are ignored. May not decide anything.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from corefit_core.naming import ANNOTATION_OWNER
from corefit_operator.kube.managed_fields import applied_fields
from corefit_operator.kube.metadata import ChildMeta, Decoded, ObjectCondition, controller, without_unread


class RollingUpdate(Decoded, frozen=True, kw_only=True):
    """Of a StatefulSet: pods with a lower ordinal than the partition keep the old template."""

    partition: int = 0


class UpdateStrategy(Decoded, frozen=True, kw_only=True):
    """Of a StatefulSet."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate = RollingUpdate()


class TemplateMeta(Decoded, frozen=True, kw_only=True):
    """Metadata of a pod template."""

    labels: dict[str, str] = msgspec.field(default_factory=dict)


class Template(Decoded, frozen=True, kw_only=True):
    """What pods are made from."""

    metadata: TemplateMeta = TemplateMeta()


class DeploymentSpec(Decoded, frozen=True, kw_only=True):
    """The spec of a Deployment or StatefulSet; absent replicas are 1, as in apps/v1."""

    replicas: int = 1
    update_strategy: UpdateStrategy = UpdateStrategy()
    template: Template = Template()


class DeploymentStatus(Decoded, frozen=True, kw_only=True):
    """What the Deployment's controller says."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    conditions: tuple[ObjectCondition, ...] = ()


class Child(Decoded, frozen=True, kw_only=True):
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


class _Partial(Decoded, frozen=True, kw_only=True):
    """A child without spec and status."""

    metadata: ChildMeta


def decode_child(kind: str, raw: Mapping[str, Any]) -> Child:
    """A child from the API server's JSON, which leaves the kind out of the items of a list."""
    whole = kind in ("Deployment", "StatefulSet")
    found = (
        msgspec.convert(dict(raw), Child) if whole else Child(metadata=msgspec.convert(dict(raw), _Partial).metadata)
    )
    metadata = msgspec.structs.replace(without_unread(found.metadata), applied_fields=applied_fields(raw))
    return msgspec.structs.replace(found, kind=kind, metadata=metadata)


def with_replicas(deployment: Child, replicas: int, version: str) -> Child:
    """The Deployment as our own write left it, until the watch says the same: or the next look would write again."""
    metadata, spec = deployment.metadata, msgspec.structs.replace(deployment.spec, replicas=replicas)
    metadata = msgspec.structs.replace(metadata, resource_version=version, generation=metadata.generation + 1)
    return msgspec.structs.replace(deployment, metadata=metadata, spec=spec)
