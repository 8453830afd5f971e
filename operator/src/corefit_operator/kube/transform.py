"""What is kept of an InferenceService, and how much one resource and one namespace may cost. Pure.

The API server takes 1.5 MB of a resource, most of it in parts that are passed through to pods unseen. As Python objects
that is up to 30 MB, times each copy. So the account of managed fields and what others annotate is not kept at all, and
a resource that is too large keeps its metadata alone, with the reason in place of its spec.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any, Final

import msgspec

from corefit_core.naming import ANNOTATION_PAUSED
from corefit_operator.kube.metadata import read_annotations

RESOURCE_MAX: Final = 512 * 1024
"""Of `weight`: an application of ten containers with a hundred variables each has a third of it."""
NAMESPACE_MAX: Final = 64 * 1024 * 1024
"""Of `weight`, all resources of a namespace together: 8,000 small ones."""
BASE: Final = 8 * 1024
"""What is remembered of each resource besides its spec, bytes."""
PART: Final = 48
"""What each part of a list or an object takes in memory beyond its text, bytes."""
WIDEST: Final = 5
"""Bytes of a character of a text that has one beyond ASCII: Python makes all as wide as the widest, up to four bytes,
and keeps the UTF-8 as well once it was encoded."""
DEPTH_MAX: Final = 100
"""Levels of lists and objects in a spec: those of core/v1 have about twenty."""
TOO_LARGE: Final = "tooLarge"
"""In a resource as it is kept: why its spec is not."""


class _Meta(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The metadata that is kept."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    annotations: dict[str, str] | None = None


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A resource in an answer of the API server."""

    metadata: _Meta
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    status: dict[str, Any] | None = None


_META: Final = msgspec.structs.fields(_Meta)
_DECODER: Final = msgspec.json.Decoder(_Stored)


def parsed(data: bytes | msgspec.Raw) -> dict[str, Any]:
    """A resource from JSON, as `slim`; a spec that is too large is not even decoded."""
    stored = _DECODER.decode(data)
    found: dict[str, Any] = {"metadata": msgspec.to_builtins(stored.metadata)}
    if stored.status is not None:
        found["status"] = stored.status
    own = weight_of_text(stored.spec)
    if own > RESOURCE_MAX:
        return slim({**found, TOO_LARGE: _too_large(own)})
    return slim({**found, "spec": msgspec.json.decode(stored.spec)})


def weight(raw: Mapping[str, Any]) -> int:
    """What a resource costs in memory, about, in bytes of one copy."""
    return weight_of_text(msgspec.json.encode(raw.get("spec")))


def weight_of_text(spec: bytes | msgspec.Raw) -> int:
    """The same from its spec as JSON."""
    text = bytes(spec)
    size = len(text) if text.isascii() else WIDEST * len(text)
    return BASE + size + PART * sum(map(text.count, (b",", b"{", b"[")))


def annotations(raw: Mapping[str, Any]) -> dict[str, str]:
    """The annotations of a resource that are looked at."""
    return read_annotations(raw["metadata"].get("annotations") or {}, (ANNOTATION_PAUSED,))


def slim(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A resource without what nobody here reads."""
    kept = (field.encode_name for field in _META)
    metadata: dict[str, Any] = {key: raw["metadata"][key] for key in kept if key in raw["metadata"]}
    metadata["annotations"] = annotations(raw)
    return {"metadata": metadata, **{key: raw[key] for key in ("spec", "status", TOO_LARGE) if key in raw}}


def without_spec(raw: Mapping[str, Any], why: str) -> dict[str, Any]:
    """A resource whose spec is not kept, and why."""
    return {**{key: value for key, value in raw.items() if key != "spec"}, TOO_LARGE: why}


_FULL: Final = (
    f"the InferenceServices of this namespace would together take more than {NAMESPACE_MAX // 2**20} MiB of the "
    "operator's memory: delete some, or create this one in another namespace"
)


def is_waiting(kept: Mapping[str, Any]) -> bool:
    """Whether there was only no room for a resource in its namespace, and may be some by now."""
    return kept.get(TOO_LARGE) == _FULL


class Budget:
    """What the resources of each namespace weigh."""

    def __init__(self) -> None:
        self._weights: dict[tuple[str, str], int] = {}
        self._totals: dict[str, int] = {}

    def admitted(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The resource as it is to be kept: whole, or without its spec where it or its namespace would be too large."""
        found = slim(raw)
        meta = found["metadata"]
        namespace, id_ = meta.get("namespace", ""), (meta.get("namespace", ""), meta["name"])
        self.forget(*id_)
        if TOO_LARGE in found:
            return found
        own = weight(found)
        if own > RESOURCE_MAX:
            return without_spec(found, _too_large(own))
        if _too_deep(found.get("spec")):
            return without_spec(found, f"spec nests lists and objects more than {DEPTH_MAX} levels deep")
        together = self._totals.get(namespace, 0) + own
        if together > NAMESPACE_MAX:
            return without_spec(found, _FULL)
        self._weights[id_], self._totals[namespace] = own, together
        return found

    def totals(self) -> Mapping[str, int]:
        """What the resources of each namespace weigh together."""
        return self._totals

    def forget(self, namespace: str, name: str) -> None:
        """The resource is gone."""
        own = self._weights.pop((namespace, name), 0)
        left = self._totals.get(namespace, 0) - own
        if left > 0:
            self._totals[namespace] = left
        else:
            self._totals.pop(namespace, None)


def _too_deep(spec: Any) -> bool:
    """Whether functions that go down a spec level by level could run out of stack."""
    level = [spec]
    for _ in range(DEPTH_MAX):
        inner = [part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list)]
        level = list(chain.from_iterable(inner))
        if not level:
            return False
    return True


def _too_large(found: int) -> str:
    return f"spec would take about {found // 1024} KiB of the operator's memory, and may take {RESOURCE_MAX // 1024}"
