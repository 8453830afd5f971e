"""What may follow on a connection's phase, and that nothing else does."""

import itertools

import pytest

from corefit_runtime.http.phase import NEXT, Phase, PhaseError, step


@pytest.mark.parametrize(("now", "following"), list(itertools.product(Phase, Phase)))
def test_a_step_that_is_not_foreseen_is_a_fault(now: Phase, following: Phase) -> None:
    if following in NEXT[now]:
        assert step(now, following) is following
    else:
        with pytest.raises(PhaseError, match=f"from {now.name} to {following.name}"):
            step(now, following)


def test_from_each_phase_the_connection_can_be_lost_and_then_nothing_follows() -> None:
    assert all(Phase.LOST in NEXT[now] for now in Phase if now is not Phase.LOST)
    assert not NEXT[Phase.LOST]


def test_who_was_refused_gets_no_other_answer() -> None:
    assert NEXT[Phase.REFUSED] == (Phase.LOST,)
