"""The account of which of an object's fields are ours by server-side apply. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from corefit_core.manifest import fingerprint
from corefit_core.naming import FIELD_MANAGER


class _Read(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Immutable, camelCase on the wire."""


class _ManagedFields(_Read, frozen=True, kw_only=True):
    """Which fields a manager owns, by the API server's account of server-side apply."""

    manager: str = ""
    operation: str = ""
    subresource: str = ""
    fields_v1: dict[str, Any] = msgspec.field(default_factory=dict, name="fieldsV1")


class _Account(_Read, frozen=True, kw_only=True):
    """Who owns which field of an object."""

    managed_fields: tuple[_ManagedFields, ...] = ()


class _Owned(_Read, frozen=True, kw_only=True):
    """An object of which only that account is wanted."""

    metadata: _Account


def applied_fields(raw: Mapping[str, Any]) -> str:
    """A hash of which fields are ours by our applies."""
    ours = (FIELD_MANAGER, "Apply", "")
    for entry in msgspec.convert(dict(raw), _Owned).metadata.managed_fields:
        if (entry.manager, entry.operation, entry.subresource) == ours:
            return fingerprint(entry.fields_v1)
    return ""
