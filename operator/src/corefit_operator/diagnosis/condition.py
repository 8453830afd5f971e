"""One condition of a resource, before it gets its time of transition. Pure."""

from typing import Literal, NamedTuple

Status = Literal["True", "False", "Unknown"]


class ConditionValue(NamedTuple):
    """Type, status, reason and message, as the Kubernetes API conventions have them."""

    type: str
    status: Status
    reason: str
    message: str
