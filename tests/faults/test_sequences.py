"""Whatever happens to a resource on the way, in the end there is what it asks for last."""

import os
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from faults.arena import Arena
from faults.moves import KINDS
from faults.sequences import OPTIONS, Sequences
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider
from hypothesis.stateful import run_state_machine_as_test

pytestmark = pytest.mark.cluster
SEQUENCES = int(os.environ.get("SEQUENCES", "60"))
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 2**32)  # noqa: S311 - draws, no secrets
TRIES = 4
STEPS = 25
"""Of one sequence."""


AVAILABLE_PROVIDERS["each by itself"] = HypothesisProvider
"""Hypothesis' own choices under another name, by which each sequence is drawn for itself. Otherwise most are variations
of the one before, which find small examples sooner and are never as different: six changes in 639 transitions."""


def _run(arena: Arena, sequences: int, number: int) -> Counter[str]:
    """Sequences until each kind was compared: a resource ends as another kind than it began, if the draws say so."""
    with arena.lane("reference", *OPTIONS, at_once=True) as reference:
        machine = type("Run", (Sequences,), {"arena": arena, "reference": reference, "done": Counter[str]()})
        limits = settings(
            max_examples=sequences,
            stateful_step_count=STEPS,
            deadline=None,
            backend="each by itself",
            database=None,
            # A sequence takes seconds, and what it meets depends on time: to make one smaller would take hours.
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        for more in range(TRIES):
            run_state_machine_as_test(seed(number + more)(machine), settings=limits)
            if all(machine.done[f"compared, {kind}"] for kind in KINDS):
                break
    done: Counter[str] = machine.done
    return done


def few(arena: Arena, _: Sequence[str]) -> Counter[str]:
    """The same draws each time."""
    return _run(arena, 6, 4)


def many(arena: Arena, _: Sequence[str]) -> Counter[str]:
    """New ones each time."""
    print(f"\nSEED={SEED} makes these draws again")
    return _run(arena, SEQUENCES, SEED)


@pytest.mark.begun(prepare=few)
def test_what_is_asked_for_last_is_what_there_is(outcomes: Counter[str]) -> None:
    kinds = {what for what in outcomes if what.startswith("compared, ")}
    assert _transitions(outcomes) >= 100
    assert len(kinds) == len(KINDS), kinds


@pytest.mark.nightly
@pytest.mark.begun(prepare=many)
@pytest.mark.timeout(7200)
def test_what_is_asked_for_last_is_what_there_is_after_a_thousand_transitions(outcomes: Counter[str]) -> None:
    assert _transitions(outcomes) >= 1000 * SEQUENCES / 60


def _transitions(done: Counter[str]) -> int:
    compared, _ = done.pop("compared"), done.pop("begun")
    kinds = {kind: done.pop(f"compared, {kind}", 0) for kind in KINDS}
    print(f"\n{done.total()} transitions in {compared} sequences, {kinds}: {dict(done.most_common())}")
    return done.total()
