"""Whatever happens to a resource on the way, in the end there is what it asks for last."""

import os
from collections import Counter
from collections.abc import Sequence

import pytest
from faults.arena import Arena
from faults.sequences import OPTIONS, Sequences
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

pytestmark = pytest.mark.cluster
SEQUENCES = int(os.environ.get("SEQUENCES", "60"))
STEPS = 25
"""Of one sequence."""


def _run(arena: Arena, sequences: int, *, repeatable: bool) -> Counter[str]:
    with arena.lane("reference", *OPTIONS, at_once=True) as reference:
        machine = type("Run", (Sequences,), {"arena": arena, "reference": reference, "done": Counter[str]()})
        limits = settings(
            max_examples=sequences,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=repeatable,
            database=None,
            # A sequence takes seconds, and what it meets depends on time: to make one smaller would take hours.
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            print_blob=not repeatable,
        )
        run_state_machine_as_test(machine, settings=limits)
    done: Counter[str] = machine.done
    return done


def few(arena: Arena, _: Sequence[str]) -> Counter[str]:
    """The same draws each time."""
    return _run(arena, 6, repeatable=True)


def many(arena: Arena, _: Sequence[str]) -> Counter[str]:
    """New ones each time."""
    return _run(arena, SEQUENCES, repeatable=False)


@pytest.mark.begun(prepare=few)
def test_what_is_asked_for_last_is_what_there_is(outcomes: Counter[str]) -> None:
    assert _transitions(outcomes) >= 100


@pytest.mark.nightly
@pytest.mark.begun(prepare=many)
@pytest.mark.timeout(7200)
def test_what_is_asked_for_last_is_what_there_is_after_a_thousand_transitions(outcomes: Counter[str]) -> None:
    assert _transitions(outcomes) >= 1000 * SEQUENCES / 60


def _transitions(done: Counter[str]) -> int:
    compared = done.pop("compared")
    print(f"\n{done.total()} transitions in {compared} sequences: {dict(done.most_common())}")
    return done.total()
