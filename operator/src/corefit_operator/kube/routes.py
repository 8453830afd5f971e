"""The parts of an HTTPRoute that the operator reads: what the controllers of Gateways say of it.

Decoded from the API server's JSON; unknown fields are ignored. May not decide anything.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from corefit_operator.kube.metadata import Decoded, ObjectCondition


class ParentRef(Decoded, frozen=True, kw_only=True):
    """A Gateway, or a listener of one, as the route names it."""

    name: str = ""
    namespace: str = ""
    section_name: str = ""
    port: int = 0


class RouteCondition(ObjectCondition, frozen=True, kw_only=True):
    """A condition, of a generation of the route."""

    observed_generation: int = 0


class RouteParent(Decoded, frozen=True, kw_only=True):
    """What one controller says of one Gateway."""

    parent_ref: ParentRef = ParentRef()
    conditions: tuple[RouteCondition, ...] = ()


class RouteStatus(Decoded, frozen=True, kw_only=True):
    """What all say."""

    parents: tuple[RouteParent, ...] = ()


class _Route(Decoded, frozen=True, kw_only=True):
    status: RouteStatus = RouteStatus()


def decode_status(raw: Mapping[str, Any]) -> RouteStatus:
    """The status of an HTTPRoute; an empty one where it can't be read, since controllers write what they like."""
    try:
        return msgspec.convert(dict(raw), _Route).status
    except msgspec.ValidationError:
        return RouteStatus()
