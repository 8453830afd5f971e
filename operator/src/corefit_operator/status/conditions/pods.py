"""Ready, Progressing and Injectable: whether pods serve and a rollout goes on. The kind of workload says it. Pure."""

from typing import Final

from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.diagnosis.problem import printable
from corefit_operator.status.conditions.condition_type import ConditionType
from corefit_operator.status.outcome import Outcome
from corefit_operator.workload import kinds
from corefit_operator.workload.interface import Situation

_NOTE_MAX: Final = 400


def _ready(_: ServingSpec, outcome: Outcome) -> ConditionValue:
    return outcome.observed.workload.ready(_situation(outcome))


def _progressing(_: ServingSpec, outcome: Outcome) -> ConditionValue:
    return outcome.observed.workload.progressing(_situation(outcome))


def _injectable(_: ServingSpec, outcome: Outcome) -> ConditionValue | None:
    return outcome.observed.workload.injectable()


def _situation(outcome: Outcome) -> Situation:
    return Situation(
        present=len(outcome.observed.pods),
        ready=outcome.observed.ready,
        desired=outcome.scaled.desired,
        problem=outcome.problem,
        refused=outcome.refused is not None,
        upgrade_waits=outcome.children.upgrade_waits,
        outputs_note=_outputs_note(outcome),
    )


def _outputs_note(outcome: Outcome) -> str:
    """Outputs that the model has and answers don't, as the first pod that reports any says it."""
    notes = (report.notes.get("outputs", "") for report in outcome.observed.reports.values())
    note = next(filter(None, notes), "")
    return f" Some outputs are {printable(note)[:_NOTE_MAX]}." if note else ""


READY: Final = ConditionType(
    type="Ready",
    value=_ready,
    reasons=kinds.reasons("Ready"),
    from_problems=True,
    unreadable=True,
    announced=True,
    remembered=True,
)
PROGRESSING: Final = ConditionType(
    type="Progressing",
    value=_progressing,
    reasons=kinds.reasons("Progressing"),
    from_problems=True,
    unreadable=True,
    announced=True,
)
INJECTABLE: Final = ConditionType(type="Injectable", value=_injectable, reasons=kinds.reasons("Injectable"))
