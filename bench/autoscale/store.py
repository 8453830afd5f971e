"""What was simulated, a line each case: a run that was interrupted goes on where it was. May not simulate."""

from pathlib import Path
from typing import Final

import msgspec

from corefit.simulate.outcome import Outcome

RESULTS: Final = Path(__file__).parents[1] / "results" / "autoscale"
CASES: Final = RESULTS / "cases.jsonl"


class Row(msgspec.Struct, frozen=True, array_like=True):
    """What came of one policy: core-hours, shares of requests in time and turned away, changes of replicas."""

    core_hours: float
    attainment: float
    shed: float
    changes: int


class Case(msgspec.Struct, frozen=True):
    """One trace in one cell: what came of each policy."""

    cell: str
    trace: str
    rows: dict[str, Row]

    @property
    def key(self) -> str:
        """Its name among all."""
        return f"{self.trace} {self.cell}"


def row(outcome: Outcome) -> Row:
    """The outcome, to a hundredth of what is judged."""
    return Row(
        round(outcome.core_hours, 4), round(outcome.attainment, 6), round(outcome.shed, 6), outcome.scale_changes
    )


def load(path: Path = CASES) -> dict[str, Case]:
    """The cases by their keys; a later line adds to an earlier one, or replaces its rows."""
    known: dict[str, Case] = {}
    if path.exists():
        for case in map(msgspec.json.Decoder(Case).decode, path.read_bytes().splitlines()):
            before = known[case.key].rows if case.key in known else {}
            known[case.key] = Case(case.cell, case.trace, before | case.rows)
    return known


def append(case: Case, path: Path = CASES) -> None:
    """One line more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(case) + b"\n")


def compact(path: Path = CASES) -> None:
    """A line each case, by its key."""
    known = load(path)
    path.write_bytes(b"".join(msgspec.json.encode(known[key]) + b"\n" for key in sorted(known)))
