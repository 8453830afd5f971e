"""How long replicas stay after load has fallen: the stabilization window and a few rounds, or a reason and an end."""

import re
from collections.abc import Iterator
from itertools import pairwise, takewhile
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from corefit.load import Step, intended_times
from corefit.simulate.corefit import Corefit
from corefit.simulate.fleet import Fleet
from corefit.simulate.requests import Requests, services
from corefit.simulate.scalers import View
from corefit.simulate.service import Service
from corefit_core.histogram import Histogram
from corefit_core.recommender import (
    Decision,
    Observation,
    PodObservation,
    Policy,
    State,
    decide,
    error_budget,
    prediction_errors,
    queueing,
    service_model,
    spans,
)
from corefit_core.report import Counters, ModelIdentity, PlanInForce, Report
from corefit_core.sizing import Objective

ROUND_S = 2.0
ROUNDS = 3
BASE, PEAK = 8.0, 32.0
FELL_S = 105.0


class Round(NamedTuple):
    """One decision of a replay."""

    at: float
    replicas: int
    decision: Decision


def replay(seed: int, startup_s: float, work_s: float, window_s: float = 30.0) -> list[Round]:
    """The demo's load on the demo's pods: 8/s, 32/s for 75 s, 8/s; a quarter of a core, p95 within a second."""
    steps = (Step(rate=BASE, duration_s=30), Step(rate=PEAK, duration_s=75), Step(rate=BASE, duration_s=150))
    arrivals = np.array(list(intended_times(steps, seed=seed)))
    objective = Objective(percentile=95.0, latency_s=1.0)
    service = Service(
        service_s=work_s,
        workers=1,
        worker_millicores=250,
        startup_s=startup_s,
        objective=objective,
        balancing="random",
    )
    policy = Policy(objective=objective, max_replicas=4, millicores_per_pod=250, down_window_s=window_s)
    fleet = Fleet(service, Requests(arrivals, services(len(arrivals), work_s, 0.3, seed), 255.0, "random"), 1)
    corefit, rounds, now = Corefit(policy, seed=seed), [], ROUND_S * (seed % 10) / 10
    fleet.advance(0.0, now)
    while now < 255.0:
        replicas = corefit.replicas(View(fleet, now))
        rounds.append(Round(now, replicas, corefit.decisions[-1]))
        fleet.scale(replicas, now)
        fleet.advance(now, now + ROUND_S)
        now += ROUND_S
    return rounds


@pytest.mark.parametrize("work_s", [0.010, 0.014, 0.016])
@pytest.mark.parametrize("startup_s", [3.0, 8.0])
def test_what_people_set_as_thirty_seconds_is_thirty_seconds(work_s: float, startup_s: float) -> None:
    """Replicas once stayed for 150 s: a mean of 15 minutes was chosen that had seen two, most of them the peak.

    With 16 ms of CPU a request one pod is 51 % busy after the fall. Chance raises the mean of 5 s by up to a third.
    A quarter more than that, and a standard error more still, held the second pod for 53 s.
    """
    for seed in range(10):
        rounds = replay(seed, startup_s, work_s)
        assert max(r.replicas for r in rounds) > 1
        after = [r for r in rounds if r.at > FELL_S + 30.0 + ROUNDS * ROUND_S + ROUND_S]
        assert after[0].replicas == 1, (seed, after[0].decision)
        held = {r.decision.reason for r in rounds if r.at > FELL_S and r.replicas > 1}
        assert "Holding" not in held


def test_replicas_that_an_overspent_error_budget_holds_have_a_reason_of_their_own() -> None:
    """One pod is 64 % busy after the fall: the second stayed for 82 s, for a window of 30 s as status had it."""
    held = []
    for seed in range(10):
        rounds = [r for r in replay(seed, startup_s=8.0, work_s=0.020) if r.at > FELL_S]
        later = [r for r in rounds if r.at > FELL_S + 30.0 + ROUNDS * ROUND_S + ROUND_S and r.replicas > 1]
        spent = [r.decision.message for r in later if r.decision.reason == "ErrorBudgetSpent"]
        assert len(later) - len(spent) <= ROUNDS, (seed, later)
        held += spent
    assert held
    for message in held:
        assert "late or refused in the last hour, so 2 replicas are kept although 1 would do now" in message
        assert "at most if the objective is kept from now on" in message


def test_an_overload_is_neither_held_for_nor_said_a_minute_after_it_has_ended() -> None:
    """Four pods stayed 97 s, `because 60 % of the last minute's requests were late`, of which hardly any was."""
    for seed in range(5):
        rounds = replay(seed, startup_s=8.0, work_s=0.014)
        assert max(r.decision.missed or 0.0 for r in rounds) > 0.25
        fallen = [r for r in rounds if r.at > FELL_S + 30.0 + ROUNDS * ROUND_S + ROUND_S]
        assert {r.replicas for r in fallen} == {1}, (seed, fallen)
        later = [r.decision for r in rounds if r.at > FELL_S + spans.SLOW_S + ROUNDS * ROUND_S]
        assert {d.missed for d in later} == {0.0}
        assert not [d.message for d in later if "late" in d.message or "refused" in d.message]


# --- for any load that is constant from some moment on ---------------------------------------------------------

SERVICE_S, WORKERS = 0.05, 2
OBJECTIVE = Objective(percentile=99.0, latency_s=0.15)


class World:
    """Pods that carry a load in Erlangs evenly, and an operator that follows each decision at once."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.replicas, self.state, self.now = policy, 1, State(), 0.0
        self.served: list[float] = []
        self.rejected: list[float] = []

    def run(self, erlangs: float, seconds: float) -> Iterator[Decision]:
        until = self.now + seconds
        while self.now < until:
            yield self.tick(erlangs)

    def tick(self, erlangs: float) -> Decision:
        self.now += ROUND_S
        rate, most = erlangs / SERVICE_S / self.replicas, WORKERS / SERVICE_S
        self.served = [*self.served, *[0.0] * self.replicas][: self.replicas]
        self.rejected = [*self.rejected, *[0.0] * self.replicas][: self.replicas]
        self.served = [count + min(rate, most) * ROUND_S for count in self.served]
        self.rejected = [count + max(0.0, rate - most) * ROUND_S for count in self.rejected]
        pods = tuple(PodObservation(uid=str(n), ready=True, report=self.report(n)) for n in range(self.replicas))
        decision, self.state = decide(self.policy, self.state, Observation(pods=pods, replicas=self.replicas), self.now)
        self.replicas = decision.replicas
        return decision

    def report(self, pod: int) -> Report:
        served, rejected = int(self.served[pod]), int(self.rejected[pod])
        counts = (*[0] * 30, served)
        times = Histogram(counts=counts, sum_s=served * SERVICE_S, sum_sq_s2=served * SERVICE_S**2)
        return Report(
            boot_id="b",
            state="Ready",
            model=ModelIdentity(name="m"),
            plan=PlanInForce(grant_millicores=1000 * WORKERS, workers=WORKERS, threads_per_worker=1, queue_depth=4),
            clock_s=self.now,
            startup_s=10.0,
            counters=Counters(
                arrivals=served + rejected,
                admitted=served,
                completed=served,
                rejected={"queue_full": rejected},
                busy_worker_seconds=self.served[pod] * SERVICE_S,
            ),
            service_time=times,
            total=times,
        )

    def most(self, erlangs: float) -> int:
        """The most pods that a load may have for good: those of a quarter more."""
        service = queueing.Service(
            service_s=service_model.mean_s(self.policy, self.state.service),
            scv=self.state.service.times.scv,
            latency_s=OBJECTIVE.latency_s,
            workers=WORKERS,
            pooling=self.state.service.pooling,
        )
        # Whole requests are counted, so that a load wavers by one a round and pod.
        erlangs += self.replicas * SERVICE_S / ROUND_S
        highest = prediction_errors.BEYOND * erlangs
        allowed = error_budget.allowed(self.policy)
        return queueing.pods_needed(highest, ((1.0, 1.0),), service, allowed, 100)


HOLDS = {"Holding", "ErrorBudgetSpent"}
segments = st.tuples(st.floats(0.0, 20.0), st.floats(10.0, 200.0))
crowds = st.tuples(st.floats(0.2, 3.0), st.floats(2.0, 8.0), st.integers(1, 5), st.floats(40.0, 150.0)).map(
    lambda c: [(c[0] * c[1] if n % 2 else c[0], c[3]) for n in range(2 * c[2])]
)


def test_an_error_budget_that_is_spent_holds_no_longer_than_status_says() -> None:
    """Twice what the pods can do for a minute, then a load that one can do: two stayed for two hours, as `Steady`."""
    world = World(Policy(objective=OBJECTIVE, max_replicas=2, down_window_s=10.0))
    for erlangs, seconds in ((8.0, 60.0), (0.9, spans.SLOW_S)):
        for _ in world.run(erlangs, seconds):
            pass
    first = world.tick(0.9)
    assert first.reason == "ErrorBudgetSpent", first
    bound = re.search(r"2 replicas are kept although 1 would do now; for (\d+) (min|h) at most", first.message)
    assert bound is not None, first.message
    bound_s = float(bound[1]) * (60 if bound[2] == "min" else 3600)
    held = list(takewhile(lambda d: d.replicas == 2, world.run(0.9, bound_s + ROUNDS * ROUND_S)))
    assert {d.reason for d in held} == {"ErrorBudgetSpent"}
    assert 300 < len(held) * ROUND_S < bound_s


@given(st.one_of(st.lists(segments, max_size=6), crowds), st.floats(0.0, 10.0), st.floats(0.0, 120.0))
@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_load_that_is_constant_from_some_moment_on_gets_its_replicas_within_a_stated_time(
    past: list[tuple[float, float]], erlangs: float, window_s: float
) -> None:
    """Within the window and three rounds, or else status says why, and for how long.

    `Holding` ends within a quarter of an hour and a window, and `ErrorBudgetSpent` once the objective was kept
    for long enough. What was missed may ask for a replica late, since it counts the more the longer it is known.
    """
    world = World(Policy(objective=OBJECTIVE, max_replicas=50, down_window_s=window_s))
    for each, seconds in past:
        for _ in world.run(each, seconds):
            pass
    soon_s = max(window_s, spans.RECENT_S) + ROUNDS * ROUND_S
    held_at = -1000.0
    for decision in world.run(erlangs, soon_s):
        held_at = world.now if decision.reason in HOLDS else held_at
    end_s = spans.LONGEST_S + soon_s
    for decision in world.run(erlangs, end_s):
        if decision.reason in HOLDS:
            assert " at most" in decision.message
            held_at = world.now
        # What was held is let go a window after its reason has gone, as any load that has fallen is.
        # A round in which replicas come or go says that; what stays for the budget is said from the next one on.
        let_go = world.now - held_at <= soon_s or decision.reason in {"LoadUp", "LoadDown"}
        assert decision.replicas <= world.most(erlangs) or let_go, decision
    assert decision.reason != "Holding"
    assert world.replicas <= world.most(erlangs) or decision.reason == "ErrorBudgetSpent"


@given(st.lists(segments, max_size=4), st.floats(0.0, 10.0), st.one_of(st.just(0.0), st.floats(0.0, 60.0)))
@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@example([(11.51, 10.0), (1.63, 2.0)], 4.99, 0.0)
@example([(0.53, 10.0), (2.85, 10.0), (8.94, 10.0)], 5.04, 0.0)
@example([(10.45, 60.0), (5.39, 2.0)], 7.86, 0.0)
def test_a_fall_is_not_undone_in_the_next_rounds_by_the_same_load(
    past: list[tuple[float, float]], erlangs: float, window_s: float
) -> None:
    """Without a window replicas went by one measure, and came back by another in the next round."""
    world = World(Policy(objective=OBJECTIVE, max_replicas=50, down_window_s=window_s))
    for each, seconds in past:
        for _ in world.run(each, seconds):
            pass
    decisions = list(world.run(erlangs, 240.0))
    for index, (earlier, fallen) in enumerate(pairwise(decisions), 1):
        if fallen.replicas >= earlier.replicas:
            continue
        back = [d for d in decisions[index + 1 : index + 1 + ROUNDS] if d.replicas > fallen.replicas]
        # A forecast that has filled with the load since may ask for more, and so may a trial of pods without idle time.
        assert [d for d in back if d.reason != "Saturated" and "if the load reaches" not in d.message] == []


@pytest.mark.parametrize("window_s", [0.0, 2.0, 10.0])
def test_load_that_ends_takes_its_replicas_with_it_for_good(window_s: float) -> None:
    """`load up and down` of `tests/faults/test_crash_points.py`."""
    world = World(Policy(objective=OBJECTIVE, max_replicas=2, down_window_s=window_s))
    assert [d.replicas for d in world.run(1.9, 60.0)][-1] == 2
    replicas = [d.replicas for d in world.run(0.0, 240.0)]
    assert replicas == sorted(replicas, reverse=True)
    assert replicas[-1] == 1


def test_crowds_that_came_back_are_held_for_and_status_says_why_and_until_when() -> None:
    """Not before the load has come back twice; not for longer than a quarter of an hour and the window."""
    world = World(Policy(objective=OBJECTIVE, max_replicas=50, down_window_s=30.0))
    held: list[list[Decision]] = []
    for _ in range(4):
        for _ in world.run(8.0, 120):
            pass
        held.append([d for d in world.run(1.0, 120) if d.reason == "Holding"])
    assert [bool(each) for each in held] == [False, False, True, True]
    message = held[2][-1].message
    assert "crowds of up to 8 cores came back 2 times in the last hour" in message
    assert "5 replicas are kept although 1 would do now; for 14 min at most" in message
    for _ in world.run(1.0, spans.LONGEST_S + 30.0 + ROUND_S):
        pass
    assert world.replicas == 1
