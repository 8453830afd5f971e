"""The metadata of Kubernetes objects as far as the operator reads it: 5,000 pods stay a few MB.

Decoded from the API server's JSON; unknown fields are ignored. May not decide anything.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from corefit_core.naming import (
    ANNOTATION_ADMIN_PORT,
    ANNOTATION_APPLIED,
    ANNOTATION_INJECTED,
    ANNOTATION_MODEL,
    ANNOTATION_OWNER,
    ANNOTATION_REVISION,
    ANNOTATION_SCALED_BY,
    ANNOTATION_SPEC_HASH,
    LABEL_SERVICE,
)

LOG: Final = logging.getLogger(__name__)
OF_OBJECTS: Final = (
    ANNOTATION_ADMIN_PORT,
    ANNOTATION_APPLIED,
    ANNOTATION_INJECTED,
    ANNOTATION_MODEL,
    ANNOTATION_OWNER,
    ANNOTATION_REVISION,
    ANNOTATION_SCALED_BY,
    ANNOTATION_SPEC_HASH,
)
"""The annotations of children, pods and workloads that are looked at."""
ANNOTATION_MAX: Final = 2048
"""Characters of one: the longest, of the model's URI, has as many at most. Nobody of ours has written a longer one."""
T = TypeVar("T")


class Decoded(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Immutable, camelCase on the wire."""


class OwnerReference(Decoded, frozen=True, kw_only=True):
    """Who owns an object."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


def controller(owners: tuple[OwnerReference, ...]) -> OwnerReference:
    """The one that manages an object; an empty reference when none does."""
    return next((owner for owner in owners if owner.controller), OwnerReference())


class Meta(Decoded, frozen=True, kw_only=True):
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


class ObjectCondition(Decoded, frozen=True, kw_only=True):
    """A condition of a pod or a Deployment."""

    type: str
    status: str = ""
    reason: str = ""
    message: str = ""


def decoded_or_none(read: Callable[[Mapping[str, Any]], T], raw: Mapping[str, Any]) -> T | None:
    """What `read` makes of an object; None of one that it can't read, which is no trouble of any other object's."""
    try:
        return read(raw)
    except (msgspec.ValidationError, KeyError, TypeError) as error:
        found = raw.get("metadata") or {}
        LOG.warning("object %s/%s can't be read: %s", found.get("namespace"), found.get("name"), error)
        return None


def without_unread(meta: M) -> M:
    """Metadata with the labels and annotations that are looked at, of up to 256 KiB that there may be."""
    labels = {key: value for key, value in meta.labels.items() if key == LABEL_SERVICE}
    return msgspec.structs.replace(meta, labels=labels, annotations=read_annotations(meta.annotations, OF_OBJECTS))


def read_annotations(found: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Of the annotations of an object those of these names that may be Corefit's: whoever may write it adds more."""
    return {name: found[name] for name in names if len(found.get(name, "")) <= ANNOTATION_MAX and name in found}


def decode_meta(raw: Mapping[str, Any]) -> Meta:
    """The metadata of any object from the API server's JSON."""
    return msgspec.convert(raw["metadata"], Meta)
