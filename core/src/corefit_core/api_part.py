"""What the structs of the API share. May not do anything else."""

from typing import Any

import msgspec


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What all parts share: immutable, camelCase on the wire."""


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules as the schema's extension: (expression that must hold, message when it doesn't)."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}
