"""What is read of the pods of a node: what they request, of up to a megabyte that each may have. Pure."""

from typing import Any

import msgspec

Resources = dict[str, Any]


class _Read(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """camelCase on the wire."""


class Requests(_Read, frozen=True, kw_only=True):
    """Resources of a container or a pod."""

    requests: Resources = {}


class Container(_Read, frozen=True, kw_only=True):
    """A container, or a step of the initialisation."""

    name: str = ""
    restart_policy: str = ""
    resources: Requests = Requests()


class Spec(_Read, frozen=True, kw_only=True):
    """What the pod requests, container by container."""

    containers: list[Container] = []
    init_containers: list[Container] = []
    resources: Requests = Requests()
    overhead: Resources = {}


class ContainerStatus(_Read, frozen=True, kw_only=True):
    """What the kubelet holds for a container."""

    name: str = ""
    allocated_resources: Resources = {}


class Status(_Read, frozen=True, kw_only=True):
    """What the kubelet says."""

    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []


class Pod(_Read, frozen=True, kw_only=True):
    """A pod."""

    spec: Spec = Spec()
    status: Status = Status()


class Pods(_Read, frozen=True, kw_only=True):
    """A list of pods."""

    items: list[Pod] = []
