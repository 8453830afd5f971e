"""The flash bench's figures: attainment, core-seconds, and when p99 is back."""

from collections.abc import Callable
from types import ModuleType

import pytest

from corefit.load import Kind
from corefit.load.record import Sample

OBJECTIVE_S = 0.4


@pytest.fixture
def figures(bench: Callable[[str], ModuleType]) -> ModuleType:
    """What is tested."""
    return bench("flash.figures")


def _samples(bad: Kind = Kind.OK, *, until_s: float = 0.0) -> list[Sample]:
    """A hundred a second from 10 to 30 s, all in time but those before `until_s`."""
    found = []
    for number in range(2000):
        at = 10 + number / 100
        late = at < until_s
        latency = 1.0 if late and bad is Kind.OK else 0.01
        kind = bad if late else Kind.OK
        found.append(Sample(intended_s=at, sent_s=at + 0.001, done_s=at + latency, kind=kind))
    return found


@pytest.mark.parametrize("bad", [Kind.OK, Kind.SHED, Kind.ERROR])
def test_what_is_late_refused_or_lost_has_missed(figures: ModuleType, bad: Kind) -> None:
    phase = figures.Phase(name="step", begin_s=10, end_s=30, step_s=10)
    found = figures.of(phase, _samples(bad, until_s=12), [(0.0, 0.5), (20.0, 1.5)], OBJECTIVE_S)
    assert (found.sent, found.attainment) == (2000, pytest.approx(0.9))
    assert (found.refused, found.lost) == ({Kind.SHED: 200}.get(bad, 0), {Kind.ERROR: 200}.get(bad, 0))
    assert found.core_seconds == pytest.approx(10 * 0.5 + 10 * 1.5)
    # 2 s, less the five late requests of five hundred that one in a hundred allows.
    assert found.back_s == found.stays_s == pytest.approx(1.95, abs=0.1)
    assert found.late_p99_s == pytest.approx(0.001)


def test_what_never_comes_back_has_no_time(figures: ModuleType) -> None:
    assert figures.recovery(_samples(until_s=30), OBJECTIVE_S, 10, 30) == (None, None)
    assert figures.recovery(_samples(), OBJECTIVE_S, 10, 30) == (0.0, 0.0)


def test_what_is_in_time_at_first_and_late_then_is_back_when_it_stays(figures: ModuleType) -> None:
    late = [s for s in _samples(until_s=22) if s.intended_s >= 20]
    first, stays = figures.recovery([s for s in _samples() if s.intended_s < 20] + late, OBJECTIVE_S, 10, 30)
    assert (first, stays) == (0.0, pytest.approx(11.95, abs=0.1))


def test_seconds_are_whole_and_cores_are_averaged(figures: ModuleType) -> None:
    found = figures.seconds(_samples(until_s=10.5), [(0.0, 0.5), (12.5, 1.5)], OBJECTIVE_S)
    assert (len(found), found[9].sent, found[10].sent, found[10].missed) == (30, 0, 100, 50)
    assert [s.cores for s in found[11:14]] == [0.5, 1.0, 1.5]
