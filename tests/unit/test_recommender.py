"""`decide` by its properties: total, deterministic, bounded, never down from ignorance."""

from collections.abc import Iterator
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corefit.simulate import synthetic
from corefit.simulate.fleet import Fleet
from corefit.simulate.requests import Requests, services
from corefit.simulate.service import Service
from corefit_core.defaults import DOWN_STABILIZATION_S
from corefit_core.histogram import BOUNDS_S, Histogram, bucket
from corefit_core.recommender import Decision, Observation, PodObservation, Policy, State, decide, service_model
from corefit_core.recommender.service_model import ServiceState
from corefit_core.report import Counters, ModelIdentity, PlanInForce, Report
from corefit_core.sizing import Objective

WINDOW_S = 60.0
POLICY = Policy(objective=Objective(percentile=99.0, latency_s=0.15), max_replicas=50, down_window_s=WINDOW_S)
SERVICE_S = 0.05
TICK_S = 5.0


def make_report(
    *,
    clock_s: float = 0.0,
    boot_id: str = "b",
    workers: int = 2,
    served: int = 0,
    rejected: int = 0,
    service_s: float = SERVICE_S,
    busy_s: float | None = None,
) -> Report:
    """A process that has served and turned away so many requests since it began; busy with others as well, if told."""
    counts = [0] * (bucket(service_s) + 1)
    counts[-1] = served
    service = Histogram(counts=tuple(counts), sum_s=served * service_s, sum_sq_s2=served * service_s**2)
    return Report(
        boot_id=boot_id,
        state="Ready",
        model=ModelIdentity(name="m"),
        plan=PlanInForce(grant_millicores=1000 * workers, workers=workers, threads_per_worker=1, queue_depth=4),
        clock_s=clock_s,
        startup_s=10.0,
        counters=Counters(
            arrivals=served + rejected,
            admitted=served,
            completed=served,
            rejected={"queue_full": rejected} if rejected else {},
            busy_worker_seconds=served * service_s if busy_s is None else busy_s,
        ),
        service_time=service,
        total=service,
    )


class World:
    """Pods that carry a given load in Erlangs evenly, and an operator that follows every decision at once."""

    def __init__(self, policy: Policy = POLICY, replicas: int = 1, workers: int = 2) -> None:
        self.policy, self.replicas, self.workers = policy, replicas, workers
        self.state, self.now = State(), 0.0
        self.served: dict[int, float] = {}
        self.rejected: dict[int, float] = {}

    def tick(self, erlangs: float, *, silent: int = 0, rollout: bool = False, follow: bool = True) -> Decision:
        self.now += TICK_S
        rate = erlangs / SERVICE_S / self.replicas
        capacity = self.workers / SERVICE_S
        for pod in range(self.replicas):
            self.served[pod] = self.served.get(pod, 0) + min(rate, capacity) * TICK_S
            self.rejected[pod] = self.rejected.get(pod, 0) + max(0.0, rate - capacity) * TICK_S
        pods = tuple(
            PodObservation(uid=str(pod), ready=True, report=None if pod < silent else self.report(pod))
            for pod in range(self.replicas)
        )
        seen = Observation(pods=pods, replicas=self.replicas, rollout=rollout)
        decision, self.state = decide(self.policy, self.state, seen, self.now)
        if follow:
            self.replicas = decision.replicas
            self.served = {p: c for p, c in self.served.items() if p < self.replicas}
            self.rejected = {p: c for p, c in self.rejected.items() if p < self.replicas}
        return decision

    def report(self, pod: int) -> Report:
        # Busy with a request that has begun as well: else a constant load would waver by a whole one.
        return make_report(
            clock_s=self.now,
            workers=self.workers,
            served=int(self.served[pod]),
            rejected=int(self.rejected[pod]),
            busy_s=self.served[pod] * SERVICE_S,
        )

    def run(self, erlangs: float, seconds: float) -> list[Decision]:
        return [self.tick(erlangs) for _ in range(round(seconds / TICK_S))]


def test_the_offered_load_counts_what_was_turned_away() -> None:
    world = World()
    world.tick(6.0, follow=False)
    decision = world.tick(6.0, follow=False)
    assert decision.offered_erlangs == pytest.approx(6.0, rel=0.02)
    assert decision.utilization == pytest.approx(3.0, rel=0.02)
    assert decision.reason == "LoadUp"


def test_a_look_right_after_another_is_left_for_the_next_round_to_count() -> None:
    """In 30 ms a worker is busy or not: a load of a third of its two would be read as one and a half of them."""
    world = World()
    world.run(0.6, 120)
    before = world.state
    world.now += 0.03
    served = int(world.served[0])
    report = make_report(clock_s=world.now, served=served + 1, busy_s=world.served[0] * SERVICE_S + 0.045)
    seen = Observation(pods=(PodObservation(uid="0", ready=True, report=report),), replicas=1)
    decision, world.state = decide(world.policy, world.state, seen, world.now)
    assert decision.replicas == 1
    assert decision.offered_erlangs == pytest.approx(0.6, rel=0.05)
    assert world.state.pods.counters == before.pods.counters
    assert world.state.forecast.samples[-1].arriving == before.forecast.samples[-1].arriving > 0
    assert world.tick(0.6).offered_erlangs == pytest.approx(0.6, rel=0.05), "nothing of it is lost"


def test_more_load_is_answered_at_once() -> None:
    world = World()
    world.run(0.5, 60)
    assert world.replicas == 1
    world.run(8.0, 10)
    decision = world.tick(8.0)
    assert decision.replicas >= 4


def test_less_load_is_answered_after_the_window() -> None:
    world = World(replicas=1)
    world.run(10.0, 600)
    high = world.replicas
    before = world.run(1.0, WINDOW_S - TICK_S)
    assert {d.replicas for d in before} == {high}
    assert before[-1].reason in {"StabilizationWindow", "WindowFilling"}
    after = world.run(1.0, 60)
    assert after[-1].replicas < high


def test_a_pod_is_kept_for_a_start_up_after_it_has_come() -> None:
    """Asked for by a spike, it serves a start-up later; it is not taken away in the second in which it comes."""
    unset = msgspec.structs.replace(POLICY, down_window_s=None)
    assert service_model.window_s(unset, ServiceState(startup_s=60.0)) == 120.0
    assert service_model.window_s(unset, ServiceState(startup_s=20.0)) == DOWN_STABILIZATION_S
    assert service_model.window_s(POLICY, ServiceState(startup_s=60.0)) == WINDOW_S, "what was set is kept to"


def test_a_rollout_holds() -> None:
    world = World()
    world.run(1.0, 30)
    decision = world.tick(9.0, rollout=True)
    assert (decision.reason, decision.replicas) == ("RolloutInProgress", 1)


def test_a_restarted_operator_does_not_go_down_before_its_window_is_full() -> None:
    world = World(replicas=9)
    world.state = State()
    decisions = world.run(1.0, WINDOW_S)
    assert {d.replicas for d in decisions} == {9}
    assert world.run(1.0, 60)[-1].replicas < 9


def test_silent_pods_count_as_busy_for_going_down() -> None:
    world = World(replicas=9)
    world.run(1.0, 30)
    for _ in range(200):
        decision = world.tick(1.0, silent=4, follow=False)
    assert decision.replicas == 5
    assert decision.missing_reports == 4


def test_most_pods_silent_holds() -> None:
    world = World(replicas=9)
    world.run(1.0, 30)
    for _ in range(200):
        decision = world.tick(1.0, silent=6, follow=False)
    assert (decision.reason, decision.replicas) == ("StaleReports", 9)


def test_no_pods_holds_within_bounds() -> None:
    decision, _ = decide(POLICY, State(), Observation(pods=(), replicas=0), 0.0)
    assert (decision.reason, decision.replicas, decision.uncapped) == ("NoReports", 1, None)


def test_the_message_says_what_and_why() -> None:
    world = World()
    world.run(1.0, 10)
    decision = world.tick(9.0)
    assert decision.message.startswith("The load needs 9 cores of the 2 that the pods have; ")
    assert "replicas keep p99 within 150 ms" in decision.message


def test_the_cost_is_that_of_the_replicas() -> None:
    decision, _ = decide(POLICY, State(), Observation(pods=(), replicas=3), 0.0)
    per_pod = POLICY.price.per_hour(POLICY.millicores_per_pod, POLICY.memory_bytes_per_pod)
    assert decision.cost_per_hour == pytest.approx(3 * per_pod)


@pytest.mark.parametrize("break_it", ["backwards", "impossible", "infinite", "huge", "unlike"])
def test_impossible_counters_are_left_out_and_counted(break_it: str) -> None:
    first = make_report(clock_s=10, served=100)
    second = {
        "backwards": make_report(clock_s=20, served=50),
        "impossible": make_report(clock_s=20, served=10_000),
        "infinite": msgspec.structs.replace(make_report(clock_s=20, served=110), clock_s=float("inf")),
        "huge": make_report(clock_s=20, served=2**60, service_s=0.0),
        "unlike": msgspec.structs.replace(make_report(clock_s=20, served=110), total=Histogram(counts=(2**64,))),
    }[break_it]
    state, decision = State(), None
    for now, report in ((10.0, first), (20.0, second)):
        pods = (PodObservation(uid="a", ready=True, report=report),)
        decision, state = decide(POLICY, state, Observation(pods=pods, replicas=4), now)
    assert decision is not None
    assert decision.invalid_reports == 1
    assert decision.replicas == 4


def test_what_is_late_by_less_than_a_bucket_is_late() -> None:
    """A bounded queue lets in what is late by a little: most late answers share the objective's bucket."""
    service = Service(service_s=0.05, workers=2, objective=POLICY.objective)
    trace = synthetic.trace("constant", 0.9 * 12 / 0.05 / 0.6, duration_s=600)
    work = services(len(trace.arrivals), service.service_s, service.service_cv, seed=1)
    fleet = Fleet(service, Requests(trace.arrivals, work, trace.duration_s), 6)
    state = State()
    for now in (1.0, 600.0):
        fleet.advance(0.0 if now == 1.0 else 1.0, now)
        found = fleet.reports(now)
        pods = tuple(PodObservation(uid=uid, ready=True, report=report) for uid, report in found.items())
        policy = msgspec.structs.replace(POLICY, max_report_age_s=1000.0)
        _, state = decide(policy, state, Observation(pods=pods, replicas=6), now)
    answered = fleet.requests.load.latencies[np.isfinite(fleet.requests.load.latencies)]
    late = (answered > POLICY.objective.latency_s).sum()
    assert late > 1000
    assert sum(pod.totals.late for pod in state.pods.counters) == pytest.approx(late, rel=0.2)


# --- properties -----------------------------------------------------------------------------------------------

counts = st.integers(0, 2**70)
seconds = st.one_of(st.floats(0, 1e6), st.sampled_from([float("nan"), float("inf"), 1e300]))
histograms = st.builds(
    Histogram,
    counts=st.lists(counts, max_size=len(BOUNDS_S) + 1).map(tuple),
    sum_s=seconds,
    sum_sq_s2=seconds,
)
any_report = st.builds(
    Report,
    boot_id=st.sampled_from(["a", "b"]),
    state=st.sampled_from(["Loading", "Ready", "Draining", "Failed"]),
    model=st.just(ModelIdentity(name="m")),
    plan=st.builds(
        PlanInForce,
        grant_millicores=counts,
        workers=st.one_of(st.integers(0, 8), counts),
        threads_per_worker=counts,
        queue_depth=counts,
    ),
    clock_s=st.one_of(seconds, st.floats(0, 100)),
    startup_s=seconds,
    counters=st.builds(
        Counters,
        arrivals=counts,
        admitted=counts,
        expired=counts,
        busy_worker_seconds=seconds,
        rejected=st.dictionaries(st.sampled_from(["x", "y"]), counts),
    ),
    queue_wait=histograms,
    service_time=histograms,
    total=histograms,
)
sane_report = st.builds(
    make_report,
    clock_s=st.floats(0, 1000),
    boot_id=st.sampled_from(["a", "b"]),
    workers=st.integers(1, 8),
    served=st.integers(0, 100_000),
    rejected=st.integers(0, 100_000),
    service_s=st.floats(0.0, 100.0),
)
pods = st.builds(
    PodObservation,
    uid=st.sampled_from(["p", "q", "r"]),
    ready=st.booleans(),
    report=st.one_of(st.none(), any_report, sane_report),
    age_s=st.one_of(st.just(0.0), st.floats(-10, 100), st.just(float("nan"))),
)
observations = st.builds(
    Observation, pods=st.lists(pods, max_size=4).map(tuple), replicas=st.integers(0, 100), rollout=st.booleans()
)
policies = st.builds(
    Policy,
    objective=st.builds(Objective, percentile=st.floats(1, 100), latency_s=st.floats(0.001, 10)),
    min_replicas=st.integers(0, 5),
    max_replicas=st.integers(5, 60),
    workers_per_pod=st.integers(0, 8),
    down_window_s=st.floats(0, 600),
)
streams = st.lists(st.tuples(st.floats(-5, 400), observations), max_size=12)


def walk(
    policy: Policy, stream: list[tuple[float, Observation]]
) -> Iterator[tuple[Observation, Decision, State, float]]:
    state, now = State(), 0.0
    for step, seen in stream:
        now += step
        decision, state = decide(policy, state, seen, now)
        yield seen, decision, state, now


@given(policies, streams)
@settings(max_examples=300, deadline=None)
def test_total_deterministic_and_bounded(policy: Policy, stream: list[tuple[float, Observation]]) -> None:
    first = list(walk(policy, stream))
    assert repr(first) == repr(list(walk(policy, stream)))
    for _, decision, _, _ in first:
        assert policy.min_replicas <= decision.replicas <= policy.max_replicas
        assert decision.message


@given(policies, streams)
@settings(max_examples=200, deadline=None)
def test_the_state_survives_serialisation(policy: Policy, stream: list[tuple[float, Observation]]) -> None:
    for _, _, state, _ in walk(policy, stream):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=State) == state


@given(policies, streams)
@settings(max_examples=200, deadline=None)
def test_never_down_before_the_window_is_full(policy: Policy, stream: list[tuple[float, Observation]]) -> None:
    began: float | None = None
    last = 0.0
    for seen, decision, _, now in walk(policy, stream):
        if began is None or now < last:
            began = now
        last = now
        if now - began < (policy.down_window_s or 0.0):
            assert decision.replicas >= min(seen.replicas, policy.max_replicas)


@given(st.integers(1, 30), st.lists(st.floats(0.0, 30.0), max_size=20), st.floats(0.0, 30.0), st.floats(0.0, 30.0))
@settings(max_examples=100, deadline=None)
def test_more_load_never_gives_fewer_replicas(replicas: int, past: list[float], load: float, more: float) -> None:
    """All else equal: the same past, then one round with more load."""
    decisions = []
    for erlangs in (load, load + more):
        world = World(replicas=replicas)
        for before in (2.0, 2.0, *past):
            world.tick(before, follow=False)
        decisions.append(world.tick(erlangs, follow=False))
    assert decisions[1].replicas >= decisions[0].replicas


@given(st.floats(0.0, 40.0), st.integers(1, 40), st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_constant_load_settles_and_stays(erlangs: float, replicas: int, workers: int) -> None:
    """After an hour no pod comes back; one may still go. Pods without idle time are tried with one more, once."""
    world = World(replicas=replicas, workers=workers)
    world.run(erlangs, 3600)
    settled = world.run(erlangs, 900)
    rises = [later.reason for earlier, later in pairwise(settled) if later.replicas > earlier.replicas]
    assert rises in ([], ["Saturated"])


def test_many_workers_that_are_nearly_all_busy_are_not_taken_for_full() -> None:
    """37 Erlangs on 38 workers: one worker is idle on average, and nobody waits long behind one queue."""
    world = World(replicas=1, workers=2)
    assert not [d for d in world.run(37.0, 3600) if d.reason == "Saturated"]


@given(st.integers(2, 30), st.floats(0.0, 10.0))
@settings(max_examples=60, deadline=None)
def test_stale_reports_never_scale_down(replicas: int, erlangs: float) -> None:
    world = World(replicas=replicas)
    world.run(erlangs, 60)
    pods = tuple(
        PodObservation(uid=str(p), ready=True, report=world.report(p), age_s=POLICY.max_report_age_s + 1)
        for p in range(world.replicas)
    )
    for _ in range(200):
        world.now += TICK_S
        seen = Observation(pods=pods, replicas=world.replicas)
        decision, world.state = decide(POLICY, world.state, seen, world.now)
        assert decision.replicas == world.replicas
