"""What the operator believes the cluster to be: the newest state of each object that it has seen.

A cache that may lag, and is treated so: a decision taken from it is written with a precondition, or is one that
the API server finds to change nothing. May not do I/O.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from corefit_core.naming import child_name
from corefit_operator.kube.metadata import Meta
from corefit_operator.kube.pods import Pod
from corefit_operator.kube.transform import Budget, annotations, is_waiting
from corefit_operator.kube.workloads import Child


class Key(NamedTuple):
    """An InferenceService by namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class View:
    """Services, their children and their pods, by the service that they belong to."""

    def __init__(self) -> None:
        self._services: dict[Key, Mapping[str, Any]] = {}
        self._owners: dict[tuple[str, str], dict[Key, None]] = {}
        self._children: dict[tuple[str, str], dict[tuple[str, str], Child]] = {}
        self._pods: dict[tuple[str, str], dict[str, Pod]] = {}
        self._budget = Budget()
        self._modes: dict[Key, str] = {}
        self._of_mode: dict[str, frozenset[Key]] = {}

    def size(self) -> int:
        """Objects of all kinds."""
        children = sum(len(siblings) for siblings in self._children.values())
        return len(self._services) + children + sum(len(pods) for pods in self._pods.values())

    def service(self, key: Key) -> Mapping[str, Any] | None:
        """The resource as the API server stores it, None when there is none."""
        return self._services.get(key)

    def services(self) -> tuple[Key, ...]:
        """All resources."""
        return tuple(self._services)

    def children(self, key: Key) -> Mapping[tuple[str, str], Child]:
        """The children of a resource, by kind and name; an object of others that bears its label is none."""
        uid = _uid(self._services[key]) if key in self._services else ""
        found = self._children.get(_bucket(key), {})
        return {id_: child for id_, child in found.items() if child.owned_by(uid)}

    def pods(self, key: Key) -> tuple[Pod, ...]:
        """The pods of a resource, oldest name first, so that what is derived from them does not flicker."""
        if self.holder(key) not in (key, None):
            return ()
        return tuple(sorted(self._pods.get(_bucket(key), {}).values(), key=lambda p: p.metadata.name))

    def holder(self, key: Key) -> Key | None:
        """The resource that has the name of the children of `key`: nearly always itself.

        A resource may be called what the children of another are. Whoever has children by that name keeps it, else
        whoever came first: the other one has neither children nor pods.
        """
        return self._holder(_bucket(key))

    def owner(self, meta: Meta) -> Key | None:
        """Whose child an object is by its label; None when that resource is not known."""
        return self._holder((meta.namespace, meta.owner_label))

    def _holder(self, bucket: tuple[str, str]) -> Key | None:
        rivals = self._owners.get(bucket, {})
        if len(rivals) <= 1:
            return next(iter(rivals), None)
        owners = {child.controller_uid for child in self._children.get(bucket, {}).values()}
        by_age = sorted(rivals, key=lambda key: _age(self._services[key]))
        return next((key for key in by_age if _uid(self._services[key]) in owners), by_age[0])

    @staticmethod
    def key(raw: Mapping[str, Any]) -> Key:
        """The key of a resource."""
        return Key(raw["metadata"].get("namespace", ""), raw["metadata"]["name"])

    def put_service(self, raw: Mapping[str, Any]) -> Key:
        """Takes a resource in, as far as it may cost, unless a newer state of it is known."""
        key = self.key(raw)
        known = self._services.get(key)
        if known is not None and _same(raw, known) and not is_waiting(known):
            return key
        if known is None or _newer(_version(raw), _version(known)):
            kept = self._services[key] = self._budget.admitted(raw)
            self._owners.setdefault(_bucket(key), {})[key] = None
            mode = kept.get("spec", {}).get("mode")
            self._note_mode(key, mode if isinstance(mode, str) else None)
        return key

    def put_status(self, raw: Mapping[str, Any], version: str, status: Mapping[str, Any]) -> None:
        """Takes in what a write of the status of a resource has made of it.

        Args:
            raw: the resource that the status is of.
            version: of the resource after the write.
            status: that was written.
        """
        meta = {**raw["metadata"], "resourceVersion": version}
        self.put_service({**raw, "metadata": meta, "status": status})

    def drop_service(self, raw: Mapping[str, Any]) -> Key:
        """Forgets a resource, unless another one of the same name has taken its place."""
        key = self.key(raw)
        known = self._services.get(key)
        if known is not None and _uid(known) == _uid(raw):
            del self._services[key]
            self._budget.forget(*key)
            rivals = self._owners[_bucket(key)]
            del rivals[key]
            if not rivals:
                del self._owners[_bucket(key)]
            self._note_mode(key, None)
        return key

    def of_mode(self, mode: str) -> frozenset[Key]:
        """The resources of a mode: another object when there are others, the same one as long as not."""
        return self._of_mode.setdefault(mode, frozenset())

    def _note_mode(self, key: Key, mode: str | None) -> None:
        before = self._modes.pop(key, None)
        if mode is not None:
            self._modes[key] = mode
        for changed in (before, mode):
            if changed is not None and before != mode:
                self._of_mode[changed] = self.of_mode(changed) ^ {key}

    def put_child(self, child: Child) -> bool:
        """Takes a child in, unless a newer state of it is known; whether that changed anything."""
        meta = child.metadata
        siblings = self._children.setdefault((meta.namespace, meta.owner_label), {})
        known = siblings.get((child.kind, meta.name))
        if known is None or known.metadata.uid != meta.uid or _newer_meta(meta, known.metadata):
            siblings[(child.kind, meta.name)] = child
            return known is None or known.metadata.resource_version != meta.resource_version
        return False

    def drop_child(self, child: Child) -> None:
        """Forgets a child, unless another of the same name has taken its place."""
        bucket = (child.metadata.namespace, child.metadata.owner_label)
        siblings = self._children.get(bucket, {})
        known = siblings.get((child.kind, child.metadata.name))
        if known is not None and known.metadata.uid == child.metadata.uid:
            del siblings[(child.kind, child.metadata.name)]
        if not siblings:
            self._children.pop(bucket, None)

    def put_pod(self, pod: Pod) -> bool:
        """Takes a pod in, unless a newer state of it is known; whether that changed anything."""
        pods = self._pods.setdefault((pod.metadata.namespace, pod.metadata.owner_label), {})
        known = pods.get(pod.metadata.uid)
        if known is None or _newer_meta(pod.metadata, known.metadata):
            pods[pod.metadata.uid] = pod
            return known is None or known.metadata.resource_version != pod.metadata.resource_version
        return False

    def drop_pod(self, pod: Pod) -> None:
        """Forgets a pod."""
        bucket = (pod.metadata.namespace, pod.metadata.owner_label)
        pods = self._pods.get(bucket, {})
        pods.pop(pod.metadata.uid, None)
        if not pods:
            self._pods.pop(bucket, None)

    def all_children(self, kind: str) -> Iterable[Child]:
        """Every child of one kind."""
        return [c for siblings in self._children.values() for (k, _), c in siblings.items() if k == kind]

    def all_pods(self) -> Iterable[Pod]:
        """Every pod."""
        return [p for pods in self._pods.values() for p in pods.values()]


def spec_version(raw: Mapping[str, Any]) -> tuple[object, ...]:
    """Changes when the spec, our annotations or the deletion change: a write of the status leaves it as it is."""
    meta = raw["metadata"]
    return (meta.get("uid"), meta.get("generation"), annotations(raw), meta.get("deletionTimestamp"))


def _bucket(key: Key) -> tuple[str, str]:
    return key.namespace, child_name(key.name)


def _uid(raw: Mapping[str, Any]) -> str:
    return str(raw["metadata"].get("uid", ""))


def _same(raw: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether nothing has happened to a resource: each event is handed on twice, and lists repeat what is known."""
    return bool(_version(raw)) and (_uid(raw), _version(raw)) == (_uid(known), _version(known))


def _age(raw: Mapping[str, Any]) -> tuple[str, str]:
    return str(raw["metadata"].get("creationTimestamp", "")), _uid(raw)


def _version(raw: Mapping[str, Any]) -> str:
    return str(raw["metadata"].get("resourceVersion", ""))


def _newer_meta(new: Meta, known: Meta) -> bool:
    return _newer(new.resource_version, known.resource_version)


def _newer(new: str, known: str) -> bool:
    """Resource versions of one resource type compare as integers (KEP-5504); what doesn't parse counts as newer."""
    return not (new.isdecimal() and known.isdecimal()) or int(new) >= int(known)
