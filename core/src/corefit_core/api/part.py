"""The base class of the API's structs, and the types of fields that they share. May not do anything else."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import NODEFAULT, UNSET, Meta

from corefit_core.naming import GROUP, OBJECT_NAME, OBJECT_NAME_MAX

Opaque = dict[str, Any]
"""A core/v1 type that is passed through to the pod; the API server validates it in the Deployment."""


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What all parts share: immutable, camelCase on the wire."""


EMPTIED: Final = {"nullable": True}
"""Of an optional object. Server-side apply makes null of one whose last field it takes away, and the API server then
refuses that unless the schema lets it. A default would do as well, and be written into every resource."""


def emptied(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A part as it is stored, without the nulls that stand for nothing."""
    return {name: value for name, value in stored.items() if value is not None}


def explicit_fields(part: Part) -> dict[str, Any]:
    """The fields of a part that differ from their defaults, the same whether a default was written out or not.

    By value: msgspec's own `omit_defaults` goes by identity, so that a "1" which one JSON decoder made is left out and
    that of another is not. A number without a fraction is an int, whether it was written as 95 or 95.0.
    """
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(part):
        value = getattr(part, field.name)
        default = field.default if field.default_factory is NODEFAULT else field.default_factory()
        if value is UNSET or value == default:
            continue
        plain = explicit_fields(value) if isinstance(value, Part) else msgspec.to_builtins(value)
        plain = int(plain) if isinstance(plain, float) and plain.is_integer() else plain
        if plain != {}:
            found[field.encode_name] = plain
    return found


def own_keys(what: str) -> dict[str, Any]:
    """A map that may be emptied, and holds no keys of Corefit's: they say whose a pod is."""
    prefix = f"{GROUP}/"
    rule = (f"self.all(key, !key.startsWith('{prefix}'))", f"{what} that begin with {prefix} are Corefit's own")
    return EMPTIED | rules(rule)


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules as the schema's extension: (expression that must hold, message when it doesn't)."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def keyed(key: str, description: str, *checks: tuple[str, str]) -> Meta:
    """A list that server-side apply merges by `key`, whose items are passed through."""
    extra = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return Meta(description=description, max_length=64, extra_json_schema=extra | (rules(*checks) if checks else {}))


def matching(pattern: str, message: str, *, most: int, least: int = 1, never: str = "", description: str = "") -> Meta:
    """A text of `least` to `most` characters that matches one pattern, and `never` another.

    Args:
        pattern: from `^` to `$`.
        message: what is right, for whoever broke it.
        most: characters.
        least: likewise.
        never: a pattern that only the API server looks at.
        description: of the field.
    """
    rule = f"self.matches('{pattern}')" + (f" && !self.matches('{never}')" if never else "")
    return Meta(
        description=description or None,
        min_length=least,
        max_length=most,
        # For decoding. The schema has the rule instead, whose message says what is right.
        pattern=rf"{pattern[:-1]}\Z",
        extra_json_schema=rules((rule, message)),
    )


ObjectName = Annotated[
    str,
    matching(
        OBJECT_NAME,
        "must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.' between them",
        most=OBJECT_NAME_MAX,
    ),
]
"""The name of an object that the resource refers to. Names become parts of API paths, so nothing else may pass."""
