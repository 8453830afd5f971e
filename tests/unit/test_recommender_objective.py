"""Objectives that no number of pods keeps: said with what would, and no pods are asked for it."""

import re
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corefit.simulate.corefit import Corefit
from corefit.simulate.fleet import Fleet
from corefit.simulate.requests import Requests, services
from corefit.simulate.scalers import View
from corefit.simulate.service import Service
from corefit_core.recommender import Decision, Observation, PodObservation, Policy, State, decide, explanation
from corefit_core.report import ModelIdentity, PlanInForce, Report, ServiceTime
from corefit_core.sizing import Objective

ROUND_S = 2.0
LASTS_S = 120.0


class Case(NamedTuple):
    """Requests a second, seconds of work, objective in seconds, CPU of a pod, and the most pods for it."""

    rate: float
    work_s: float
    objective_s: float
    millicores: int
    most: int


def run(case: Case) -> tuple[list[int], Decision]:
    """The replicas of each round, and the last decision."""
    random = np.random.default_rng(1)
    arrivals = np.sort(random.uniform(0, LASTS_S, random.poisson(case.rate * LASTS_S)))
    objective = Objective(percentile=99.0, latency_s=case.objective_s)
    service = Service(
        service_s=case.work_s,
        workers=1,
        worker_millicores=case.millicores,
        startup_s=3.0,
        objective=objective,
        balancing="random",
    )
    policy = Policy(objective=objective, max_replicas=10, millicores_per_pod=case.millicores)
    fleet = Fleet(service, Requests(arrivals, services(len(arrivals), case.work_s, 0.3, 1), LASTS_S, "random"), 1)
    corefit, replicas, now = Corefit(policy), [], 0.0
    while now < LASTS_S:
        replicas.append(corefit.replicas(View(fleet, now)))
        fleet.scale(replicas[-1], now)
        fleet.advance(now, now + ROUND_S)
        now += ROUND_S
    return replicas, corefit.decisions[-1]


@pytest.mark.parametrize(
    "case",
    [
        Case(50.0, 0.0003, 0.001, 250, 1),  # once 2 pods, and 4 on a cluster
        Case(50.0, 0.001, 0.001, 250, 1),  # once 3
        Case(30.0, 0.013, 0.005, 1000, 2),  # once 4
    ],
)
def test_no_pods_are_asked_for_an_objective_that_none_keep(case: Case) -> None:
    replicas, decision = run(case)
    assert max(replicas) <= case.most
    assert decision.missed is not None
    assert decision.missed > 0.01
    assert f"p99 within {1000 * case.objective_s:g} ms" in decision.unreachable
    assert "More replicas do not help" in decision.unreachable
    assert "spec.objective.latencyMilliseconds" in decision.unreachable
    assert ("spec.resources.cpu" in decision.unreachable) == (case.millicores < 1000)
    assert "keep" not in decision.message, "nobody keeps it"


def test_an_objective_that_is_kept_is_reachable() -> None:
    _, decision = run(Case(20.0, 0.013, 0.1, 1000, 1))
    assert (decision.unreachable, decision.missed) == ("", 0.0)


def test_an_overloaded_pod_says_nothing_of_what_more_pods_could_keep() -> None:
    """Its answers are late since they wait, or since the quota stops it: more pods mend both."""
    for case in (Case(120.0, 0.013, 0.1, 1000, 10), Case(60.0, 0.008, 0.2, 250, 10)):
        replicas, decision = run(case)
        assert decision.unreachable == ""
        assert max(replicas) > 1


def _calibrated(seconds: float, threads: int = 1) -> Observation:
    plan = PlanInForce(grant_millicores=1000, workers=1, threads_per_worker=threads, queue_depth=4)
    profile = (ServiceTime(threads=1, rows=1, seconds=seconds), ServiceTime(threads=2, rows=1, seconds=seconds / 2))
    report = Report(
        boot_id="b",
        state="Ready",
        model=ModelIdentity(name="m"),
        plan=plan,
        profile=profile,
        clock_s=1.0,
        startup_s=1.0,
    )
    return Observation(pods=(PodObservation(uid="p", ready=True, report=report),), replicas=1)


def test_the_calibration_says_at_once_that_a_run_is_longer_than_the_objective() -> None:
    policy = Policy(objective=Objective(latency_s=0.005))
    decision, _ = decide(policy, State(), _calibrated(0.013), 0.0)
    assert "One run of the model takes 13 ms, more than the 5 ms of the objective" in decision.unreachable
    assert "latencyMilliseconds to 20 or more" in decision.unreachable
    assert "of CPU, so" not in decision.unreachable, "a whole core stretches no run"
    two, _ = decide(
        msgspec.structs.replace(policy, objective=Objective(latency_s=0.007)), State(), _calibrated(0.013, 2), 0.0
    )
    assert two.unreachable == "", "on two threads it takes half as long"


@given(st.floats(1e-4, 10.0), st.floats(1e-4, 10.0))
@settings(max_examples=50, deadline=None)
def test_it_is_said_of_runs_longer_than_the_objective_and_of_no_others(run_s: float, latency_s: float) -> None:
    decision, _ = decide(Policy(objective=Objective(latency_s=latency_s)), State(), _calibrated(run_s), 0.0)
    assert bool(decision.unreachable) == (run_s > latency_s)


def test_the_advice_is_what_a_pod_without_load_reaches_and_no_latency_of_an_overload() -> None:
    """A model of 10.5 ms a run was said to need 3600 ms, the p99 of an overload."""
    replicas, decision = run(Case(300.0, 0.0105, 0.005, 1000, 10))
    assert max(replicas) > 1
    advised = re.search(r"latencyMilliseconds to (\d+) or more", decision.unreachable)
    assert advised, decision.unreachable
    assert 10.5 < int(advised[1]) < 60
    assert "Corefit adds replicas for load, and none for this objective" in decision.unreachable


def test_the_advice_names_the_quota_that_stretches_a_run_and_does_not_waver() -> None:
    """A run of 9.48 ms, an objective of 1 ms: `Set it to 57`, and half a minute later 68."""
    policy = Policy(objective=Objective(percentile=95.0, latency_s=0.001), millicores_per_pod=250)
    said = {explanation.unreachable(policy, 0.00948, reached_s, 4.0) for reached_s in (0.057, 0.06, 0.068)}
    assert len(said) == 1
    assert said.pop() == (
        "One run of the model takes 9.48 ms, more than the 1 ms of the objective; a pod has 250m of CPU, so under load "
        "a run takes up to 38 ms. More replicas do not help: Corefit adds replicas for load, and none for this "
        "objective. Set spec.objective.latencyMilliseconds to 70 or more, or give each pod more CPU "
        "(spec.resources.cpu), or use a faster model."
    )


@given(st.floats(1e-6, 1e3), st.floats(1.0, 1.2))
def test_what_is_advised_is_no_less_than_what_was_measured_and_at_most_half_as_much_again(
    reached_s: float, wavers: float
) -> None:
    policy = Policy(objective=Objective(latency_s=1e-7))
    found = [
        re.search(r"latencyMilliseconds to (\d+) or more", explanation.unreachable(policy, 1.0, each_s, 1.0))
        for each_s in (reached_s, wavers * reached_s)
    ]
    low, high = [int(each[1]) for each in found if each]
    assert 1000 * reached_s <= low * 1.001
    assert low <= max(1, 2.01 * 1000 * reached_s)
    assert low <= high


def test_a_few_requests_that_miss_it_without_waiting_are_said_with_what_to_do() -> None:
    """`1 replica keeps p99 within 1 ms` stood over 34 % that missed it, and nothing said what to do."""
    _, decision = run(Case(0.03, 0.02, 0.015, 1000, 1))
    assert decision.missed is not None
    assert decision.missed > 0.5
    assert decision.unreachable == "", "some requests prove nothing"
    assert "missed p99 within 15 ms although they did not wait" in decision.doubtful
    assert "Set spec.objective.latencyMilliseconds to" in decision.doubtful


def test_requests_that_are_late_since_they_wait_cast_no_doubt() -> None:
    for case in (Case(120.0, 0.013, 0.1, 1000, 10), Case(20.0, 0.013, 0.1, 1000, 1)):
        assert run(case)[1].doubtful == ""
