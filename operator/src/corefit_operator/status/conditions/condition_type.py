"""The description of a type of condition: its reasons, its value, how it is published. Pure."""

from collections.abc import Callable, Mapping

import msgspec

from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.status.outcome import Outcome


class ConditionType(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table.

    Attributes:
        type: its name.
        value: what it says after a reconcile; None where it says nothing.
        reasons: its reasons, and when each is said.
        from_problems: its reason may be that of a problem too (`diagnosis`).
        from_decisions: its reason may be that of a decision too (`core`'s recommender).
        unreadable: whether it says so where the spec can't be read.
        announced: whether a change of it is an Event.
        remembered: a resource whose spec can't be read has it as before: it says what the operator has made.
        follows_measurements: its message has figures in it, and its reason goes to and fro with the load.
    """

    type: str
    value: Callable[[ServingSpec, Outcome], ConditionValue | None]
    reasons: Mapping[str, str]
    from_problems: bool = False
    from_decisions: bool = False
    unreadable: bool = False
    announced: bool = False
    remembered: bool = False
    follows_measurements: bool = False
