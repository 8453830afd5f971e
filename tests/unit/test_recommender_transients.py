"""Bursts that end before a pod for them can serve get no pods, once two have; what lasts is answered all the same."""

from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit.simulate import traces
from corefit.simulate.corefit import Corefit, policy_of
from corefit.simulate.fleet import Fleet
from corefit.simulate.outcome import Setting
from corefit.simulate.requests import Requests, services
from corefit.simulate.run import simulate
from corefit.simulate.scalers import View
from corefit.simulate.service import Service
from corefit_core.recommender import Decision, State
from corefit_core.recommender.stabilization import WindowState
from corefit_core.recommender.transients import RECURS, Surge, Transient, Transients, begun, expected, followed

ROUND_S = 2.0
SERVICE = Service(service_s=0.05, workers=2, startup_s=20.0)
BATCH = 400.0
"""Requests of a burst: ten Erlangs for a round."""


class Round(NamedTuple):
    """One decision of a replay."""

    at: float
    before: int
    decision: Decision


def bursts(duration_s: int, width_s: int = 1, requests: float = BATCH, every_s: int = 300) -> np.ndarray:
    """Counts a second of so many requests in so many seconds, again and again, and none between."""
    seconds = np.arange(duration_s)
    return np.where((seconds - 30) % every_s < width_s, requests / width_s, 0.0) * (seconds >= 30)


def replay(counts: np.ndarray, service: Service = SERVICE) -> tuple[list[Round], State]:
    """Corefit on that load."""
    trace = traces.from_counts("counts", counts, 1)
    work = services(len(trace.arrivals), service.service_s, service.service_cv, 1)
    fleet = Fleet(service, Requests(trace.arrivals, work, trace.duration_s, service.balancing), 1)
    corefit, rounds, now = Corefit(policy_of(Setting(service=service))), [], 0.0
    while now < trace.duration_s:
        before = len(View(fleet, now).pods)
        replicas = corefit.replicas(View(fleet, now))
        rounds.append(Round(now, before, corefit.decisions[-1]))
        fleet.scale(replicas, now)
        fleet.advance(now, now + ROUND_S)
        now += ROUND_S
    return rounds, corefit.state


def ups(rounds: list[Round]) -> list[float]:
    """When replicas went up, seconds."""
    return [r.at for r in rounds if r.decision.replicas > r.before]


@pytest.mark.parametrize("width_s", [1, 4, 10])
def test_bursts_that_are_over_before_a_pod_serves_cost_no_more_than_with_hpa(width_s: int) -> None:
    """400 requests each five minutes once cost twice what HPA took, at the same attainment."""
    trace = traces.from_counts("batches", bursts(7200, width_s), 1)
    ours, hpa = (simulate(name, trace, Setting(service=SERVICE)) for name in ("corefit", "hpa:70"))
    assert ours.attainment >= hpa.attainment
    assert ours.core_hours <= 1.1 * hpa.core_hours


def test_after_two_short_bursts_the_next_one_gets_no_pods_and_status_says_why() -> None:
    rounds, _ = replay(bursts(1500))
    assert ups(rounds) == [32.0, 332.0]
    short = [r for r in rounds if r.decision.reason == "ShortBurst"]
    assert {300 * (r.at // 300) for r in short} == {600.0, 900.0, 1200.0}
    assert "the last 2 bursts ended within 2 s, before a new pod could serve" in short[0].decision.message
    assert "if this burst lasts longer, Corefit scales to 6 replicas" in short[0].decision.message


@pytest.mark.parametrize("width_s", [1, 4, 10])
def test_a_step_after_short_bursts_is_answered_once_it_has_outlasted_them(width_s: int) -> None:
    counts = bursts(1200, width_s)
    counts[630:] = 200.0
    rounds, state = replay(counts)
    answered = next(at for at in ups(rounds) if at > 600)
    assert answered <= 630 + width_s + 3 * ROUND_S
    assert rounds[-1].decision.replicas >= 6
    assert state.window.transients.ended == ()


def test_a_step_without_bursts_before_it_is_answered_in_its_first_round() -> None:
    counts = np.zeros(120)
    counts[60:] = 200.0
    assert ups(replay(counts)[0])[0] == 62.0


def test_a_burst_that_is_higher_than_the_earlier_ones_is_answered_at_once() -> None:
    counts = bursts(700)
    counts[630] = 2 * BATCH
    assert ups(replay(counts)[0])[-1] == 632.0


def test_bursts_that_come_while_the_pods_would_still_be_there_get_pods_again() -> None:
    """The fourth comes 40 s after the third: pods for the third would have served it."""
    counts = bursts(900)
    counts[670] = counts[710] = BATCH
    rounds, _ = replay(counts)
    assert [at for at in ups(rounds) if at > 600] == [672.0]


# --- the memory itself ----------------------------------------------------------------------------------------

loads = st.lists(st.floats(0.0, 100.0), min_size=1, max_size=200)


def states(erlangs: list[float], ahead_s: float, kept_s: float = 60.0) -> list[Transients]:
    """What is known after each round of that load, where each load of one Erlang or more needs more pods."""
    known, found = Transients(), []
    for number, each in enumerate(erlangs):
        now = ROUND_S * number
        known = followed(known, now, each, ahead_s)
        if known.surge is None and each >= 1:
            known = begun(known, Surge(now - ROUND_S, now, 0.0, each), kept_s)
        found.append(known)
    return found


@given(loads, st.floats(ROUND_S, 60.0))
def test_what_is_remembered_is_short_and_bounded(erlangs: list[float], ahead_s: float) -> None:
    for known in states(erlangs, ahead_s):
        assert len(known.ended) <= RECURS
        assert all(0 < each.lasted_s < ahead_s for each in known.ended)


@given(loads, st.floats(ROUND_S, 60.0), st.floats(1.0, 100.0))
def test_load_that_stays_is_waited_for_no_longer_than_a_start_up(
    erlangs: list[float], ahead_s: float, level: float
) -> None:
    """Whatever came before."""
    before = [*erlangs, 0.0, 0.0, 0.0]
    found = states([*before, *[level] * 40], ahead_s)[len(before) :]
    waited = [expected(known, ROUND_S) is not None for known in found]
    assert not any(waited[int(ahead_s / ROUND_S) + 1 :])


@given(loads, st.floats(ROUND_S, 60.0))
def test_the_memory_is_as_it_was_after_it_has_been_stored(erlangs: list[float], ahead_s: float) -> None:
    state = WindowState(transients=states(erlangs, ahead_s)[-1])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=WindowState) == state


def test_a_burst_is_forgotten_after_an_hour() -> None:
    known = Transients((Transient(0.0, 2.0, 5.0), Transient(1000.0, 2.0, 5.0)))
    assert followed(known, 3599.0, 0.0, 22.0) == known
    assert followed(known, 3600.0, 0.0, 22.0).ended == known.ended[1:]
