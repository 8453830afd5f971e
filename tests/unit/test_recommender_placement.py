"""CPU of each pod: grown first as far as the nodes have room, replicas where that is not enough or not granted."""

import itertools
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corefit_core import sizing
from corefit_core.histogram import Histogram
from corefit_core.histogram import bucket as bucket_of
from corefit_core.recommender import (
    CpuRange,
    Decision,
    Observation,
    PodObservation,
    Policy,
    State,
    decide,
    placement,
    queueing,
    sizes,
    surges,
)
from corefit_core.recommender.predictors import Sample
from corefit_core.report import Counters, ModelIdentity, PlanInForce, Report
from corefit_core.sizing import Objective

SERVICE_S = 0.05
POLICY = Policy(
    objective=Objective(percentile=99.0, latency_s=0.15),
    min_replicas=2,
    max_replicas=50,
    millicores_per_pod=1000,
    cpu_range=CpuRange(min_millicores=500, max_millicores=4000),
)


class Pod:
    """A pod that works as its CPU allows; a resize arrives at once, or never."""

    def __init__(self, uid: str, node: str, *, deaf: bool = False) -> None:
        self.uid, self.node, self.deaf = uid, node, deaf
        self.millicores, self.served, self.rejected = 1000, 0.0, 0.0

    @property
    def workers(self) -> int:
        return -(-self.millicores // 1000)

    def work(self, requests: float, seconds: float) -> None:
        able = self.millicores / 1000 * seconds / SERVICE_S
        self.served += min(requests, able)
        self.rejected += max(0.0, requests - able)

    def report(self, now: float) -> Report:
        served = int(self.served)
        counts = (*[0] * bucket_of(SERVICE_S), served)
        times = Histogram(counts=counts, sum_s=served * SERVICE_S, sum_sq_s2=served * SERVICE_S**2)
        return Report(
            boot_id=self.uid,
            state="Ready",
            model=ModelIdentity(name="m"),
            plan=PlanInForce(
                grant_millicores=self.millicores, workers=self.workers, threads_per_worker=1, queue_depth=4
            ),
            clock_s=now,
            startup_s=20.0,
            counters=Counters(
                arrivals=served + int(self.rejected),
                admitted=served,
                completed=served,
                rejected={"queue_full": int(self.rejected)},
                # Of begun requests as well, as a pod counts them: else a constant load would waver by a whole one.
                busy_worker_seconds=self.served * SERVICE_S,
                cpu_seconds=self.served * SERVICE_S,
            ),
            service_time=times,
            total=times,
        )


class World:
    """Pods on two nodes that share the load by their CPU; new pods never come, so that CPU alone must answer."""

    def __init__(self, pods: int = 2, policy: Policy = POLICY, *, deaf: bool = False) -> None:
        self.policy, self.state, self.now = policy, State(), 0.0
        self.pods = [Pod(str(i), "ab"[i % 2], deaf=deaf) for i in range(pods)]
        for pod in self.pods:
            pod.millicores = policy.millicores_per_pod

    def tick(self, erlangs: float, headroom: Mapping[str, int]) -> Decision:
        step = self.policy.round_s
        self.now += step
        total = sum(p.millicores for p in self.pods)
        for pod in self.pods:
            pod.work(erlangs / SERVICE_S * step * pod.millicores / total, step)
        seen = Observation(
            pods=tuple(
                PodObservation(uid=p.uid, ready=True, report=p.report(self.now), millicores=p.millicores, node=p.node)
                for p in self.pods
            ),
            replicas=len(self.pods),
            headroom_millicores=headroom,
        )
        decision, self.state = decide(self.policy, self.state, seen, self.now)
        for pod in self.pods:
            if not pod.deaf:
                pod.millicores = decision.grants.get(pod.uid, pod.millicores)
        return decision

    def run(self, erlangs: float, seconds: float, headroom: Mapping[str, int]) -> Decision:
        for _ in range(round(seconds / self.policy.round_s)):
            decision = self.tick(erlangs, headroom)
        return decision


ROOM = {"a": 8000, "b": 8000}


def test_a_surge_is_answered_by_cpu_at_once() -> None:
    world = World()
    world.run(0.8, 60, ROOM)
    world.tick(4.0, ROOM)
    decision = world.tick(4.0, ROOM)
    assert decision.millicores == 4000 or sum(p.millicores for p in world.pods) >= 5000
    assert decision.replicas <= 3, "what CPU carries needs pods when it has lasted: six of them"


def test_a_need_that_lasts_is_answered_by_the_fewest_pods_that_can_still_double() -> None:
    """Four workers busy at all times: two pods could just hold them, three at half of their four cores can for good."""
    world = World()
    world.run(0.8, 60, ROOM)
    assert world.run(4.0, 60, ROOM).replicas == 3


def test_a_pod_keeps_the_half_of_what_its_node_has_room_for() -> None:
    """As above, but the pods can be brought to three cores: half of that is less, and more of them are asked for."""
    world = World()
    world.run(0.8, 60, {"a": 2000, "b": 2000})
    room = {"a": 3000 - world.pods[0].millicores, "b": 3000 - world.pods[1].millicores}
    replicas = []
    for _ in range(30):
        before = [p.millicores for p in world.pods]
        replicas.append(world.tick(4.0, room).replicas)
        for pod, had in zip(world.pods, before, strict=True):
            room[pod.node] -= pod.millicores - had
    assert replicas[-1] >= 4


def test_pods_go_once_those_that_stay_have_the_cpu() -> None:
    """Six pods with little each carry a load that two carry with more: the two are grown first."""
    world, reasons = World(6), []
    for _ in range(300):
        had = sorted(p.millicores for p in world.pods)
        decision = world.tick(2.0, ROOM)
        reasons.append(decision.reason)
        if decision.replicas < 6:
            assert sum(had[: decision.replicas]) >= 2000
    assert reasons.index("GrowingFirst") < reasons.index("LoadDown")


def test_without_room_pods_are_asked_for_at_once() -> None:
    world = World()
    world.run(0.8, 60, {})
    world.tick(4.0, {})
    world.tick(4.0, {})
    decision = world.tick(4.0, {})
    assert decision.replicas >= 4
    assert all(p.millicores <= 1000 for p in world.pods)


def test_pods_that_cpu_could_not_replace_are_held_for_the_load_ahead() -> None:
    """Ten pods without room, and load ahead for fewer: as many as without a range, not none because ten suffice."""
    model = queueing.Service(service_s=0.05, scv=0.09, latency_s=0.15, workers=1.0, pooling=1.0)
    need = placement.Requirement(
        current=1.0,
        predicted=3.0,
        distribution=((0.5, 2.0),),
        silent=0.0,
        noise=0.0,
        miss_target=0.005,
        cpu_miss_target=0.005,
        at_resize=1.0,
        step=0.0,
        recent=1.0,
    )
    held = queueing.pods_needed(3.0, need.distribution, model, need.miss_target, 100)
    assert 2 < held < 10
    assert placement._ahead(10, sizes.Workers(10.0, 10), model, need, 100) == held
    assert placement._ahead(10, sizes.Workers(80.0, 80), model, need, 100) < held


def test_a_crowd_that_cpu_in_reach_cannot_carry_gets_its_pods_in_the_round_that_shows_it() -> None:
    """Ten Erlangs for the four cores that are there: pods came one by one, as the mean of 15 s filled with it."""
    world = World()
    world.run(0.8, 60, {})
    room = {"a": 1000, "b": 1000}
    world.tick(10.0, room)
    assert world.tick(10.0, room).replicas >= 6 + 2


SMALL = msgspec.structs.replace(
    POLICY, min_replicas=1, millicores_per_pod=100, cpu_range=CpuRange(min_millicores=100, max_millicores=1000)
)
"""A run of 50 ms takes ten times as long in a pod as it begins."""


def test_a_run_that_the_smallest_size_stretches_past_the_objective_is_what_cpu_is_for() -> None:
    """However little load: half a second at 100m, of 150 ms that are allowed, was put up with."""
    world = World(2, SMALL)
    world.run(0.02, 60, ROOM)
    assert all(SERVICE_S * 1000 / p.millicores <= SMALL.objective.latency_s for p in world.pods)
    world.run(0.0, 30, ROOM)
    assert {p.millicores for p in world.pods} == {100}, "where nothing comes nobody waits"


def test_pods_go_though_the_smallest_have_no_room_for_what_the_objective_takes() -> None:
    """Those that stay may be the small ones: what these can't keep is no reason to stay ten."""
    world, room = World(10, SMALL), {"a": 20_000}
    for _ in range(100):
        decision = world.tick(0.1, room)
        world.pods = world.pods[: decision.replicas]
    assert len(world.pods) <= 4


def test_small_new_pods_that_stretch_a_run_past_the_objective_are_not_asked_for_without_end() -> None:
    """More of them don't shorten it: for three Erlangs all fifty were asked for, and would have been were it more."""
    world = World(2, SMALL)
    world.run(0.5, 60, ROOM)
    room = {"a": 500, "b": 500}
    asked = max(world.tick(3.0, room).uncapped or 0 for _ in range(5))
    assert 4 <= asked <= 40


def test_room_on_one_node_is_used_by_its_pods_alone() -> None:
    world = World()
    world.run(0.8, 60, {"a": 3000})
    before = world.pods[1].millicores
    world.tick(4.0, {"a": 3000})
    decision = world.tick(4.0, {"a": 3000})
    assert decision.grants["0"] >= 3000 > before == world.pods[1].millicores


def test_resizes_that_do_not_arrive_fall_back_to_pods_and_are_tried_again() -> None:
    world = World(deaf=True)
    world.run(0.8, 60, ROOM)
    world.tick(3.0, ROOM)
    asked = world.tick(3.0, ROOM)
    assert asked.grants["0"] > 1000
    given_up = world.run(3.0, 14, ROOM)
    assert given_up.grants["0"] == 1000
    assert given_up.replicas >= 4
    again = [world.tick(3.0, ROOM).grants["0"] > 1000 for _ in range(40)]
    assert any(again)


def test_cpu_is_handed_back_when_the_crowd_is_gone() -> None:
    world = World()
    world.run(4.0, 30, ROOM)
    assert world.pods[0].millicores >= 2000
    world.run(0.4, 30, ROOM)
    assert world.pods[0].millicores <= 1000


def test_a_pod_that_shrank_is_not_taken_for_broken() -> None:
    """Its last five seconds were worked by four workers, and it has one by now."""
    world = World()
    world.run(6.0, 30, ROOM)
    for pod in world.pods:
        pod.work(6.0 / SERVICE_S / 2 * 2.0, 2.0)
        pod.millicores = 500
    assert world.tick(0.0, ROOM).invalid_reports == 0


def test_without_a_range_nothing_is_said_of_cpu() -> None:
    world = World(policy=msgspec.structs.replace(POLICY, cpu_range=None))
    decision = world.run(0.8, 60, ROOM)
    assert (decision.millicores, decision.grants) == (None, {})


def test_a_hold_keeps_the_cpu_as_it_is() -> None:
    decision, _ = decide(POLICY, State(), Observation(pods=(), replicas=2), 0.0)
    assert (decision.millicores, decision.grants) == (1000, {})


def test_a_fraction_that_would_be_rounded_down_is_not_worth_having() -> None:
    """With 10 ms of slack a stall of more than 5 ms is too much: most sizes between whole cores are left out."""
    tight = msgspec.structs.replace(POLICY, objective=Objective(percentile=99.0, latency_s=0.06))
    world = World(policy=tight)
    for erlangs in (0.5, 1.0, 1.5, 2.0, 3.0):
        world.run(erlangs, 30, ROOM)
        for pod in world.pods:
            cores, _ = sizing.whole_cores(pod.millicores, tight.objective.latency_s, SERVICE_S)
            assert cores == -(-pod.millicores // 1000)


def test_the_cost_counts_each_pod_by_its_size() -> None:
    world = World()
    decision = world.run(4.0, 30, ROOM)
    cores = sum(p.millicores for p in world.pods) + 1000 * (decision.replicas - 2)
    memory = decision.replicas * POLICY.memory_bytes_per_pod
    assert decision.cost_per_hour == pytest.approx(POLICY.price.per_hour(cores, memory), rel=0.01)


QUICK = queueing.Service(service_s=0.008, scv=0.01, latency_s=0.4, workers=0.25, pooling=1.0)


def _seen(*per_second: float) -> list[Sample]:
    """Rounds of a second, by the requests that came in each."""
    loads = [count * QUICK.service_s for count in per_second]
    return [Sample(at=float(at), erlangs=e, ceiling=e, arriving=e) for at, e in enumerate(loads)]


def _soon(*per_second: float, seconds: float = 2.0) -> float:
    """What is expected so many seconds after a surge in the last one, in requests a second."""
    samples = _seen(*per_second)
    return surges.at_resize(samples, QUICK, seconds, surges.step(samples, QUICK)) / QUICK.service_s


def test_one_noisy_second_after_a_step_is_not_drawn_out_to_a_line() -> None:
    """32 a second that came as 46 once made 70 of it, and a quarter of a core was grown to one and a half."""
    assert _soon(8, 8, 8, 8, 8, 32, 46) < 60
    assert _soon(8, 8, 8, 8, 8, 32, 30, 40) == pytest.approx(35), "the mean of what has come since"


def test_the_round_in_which_a_step_falls_counts_only_until_the_next() -> None:
    """Half of it was of before: as a part of the mean it left a crowd's pods a fifth too small for seconds."""
    assert _soon(8, 8, 8, 8, 8, 28) == pytest.approx(28)
    assert _soon(8, 8, 8, 8, 8, 28, 47, 49) == pytest.approx(48)


def test_a_second_of_noise_in_a_crowd_is_not_held_for_the_level() -> None:
    """One second of 63 between those of 48 once was the load for ten: the level is what has come since it rose."""
    assert _soon(12, 12, 12, 12, 12, 48, 50, 63) == pytest.approx(113 / 2)
    assert _soon(12, 12, 12, 12, 12, 48, 50, 63, 46, 48, 49) == pytest.approx(51.2)


def test_the_backlog_of_full_pods_is_not_taken_for_load_that_rises() -> None:
    """Two rounds in which 48 a second arrive: in one the pods are full, in the next they are grown and catch up."""
    worked = (12.0, 12.0, 12.0, 32.0, 66.0)
    arrived = (12.0, 12.0, 12.0, 48.0, 48.0)
    samples = [
        Sample(at=float(at), erlangs=w * QUICK.service_s, ceiling=0.0, arriving=a * QUICK.service_s)
        for at, (w, a) in enumerate(zip(worked, arrived, strict=True))
    ]
    seen = [samples[:n] for n in (4, 5)]
    found = [surges.at_resize(each, QUICK, 2.0, surges.step(each, QUICK)) / QUICK.service_s for each in seen]
    assert found == pytest.approx([48.0, 48.0])


def test_a_long_queue_is_caught_up_with_within_a_round() -> None:
    samples = _seen(12, 12, 12, 48, 48)
    assert surges.catching_up(samples, QUICK, 1.0) == 0.0
    behind = [*samples[:-1], msgspec.structs.replace(samples[-1], waiting=10)]
    assert surges.catching_up(behind, QUICK, 1.0) == pytest.approx(10 * QUICK.service_s)
    assert surges.catching_up(behind, QUICK, 2.0) == pytest.approx(5 * QUICK.service_s)


def test_the_first_request_after_a_quiet_while_is_no_surge() -> None:
    """Of 5 s each, it was taken for five Erlangs, and five pods were asked for; four within a second are no chance."""
    quiet = [0.0] * 20
    assert surges.step(_seen(*quiet, 1.0), QUICK) == 0.0
    assert surges.step(_seen(*quiet, 4.0), QUICK) == pytest.approx(4 * QUICK.service_s)


def test_a_request_that_outlasts_the_round_is_caught_up_with_by_one_worker() -> None:
    """Two that wait, of 5 s each, were ten Erlangs beside the load."""
    slow = msgspec.structs.replace(QUICK, service_s=5.0)
    behind = [*_seen(1, 1), Sample(at=2.0, erlangs=1.0, ceiling=1.0, arriving=1.0, waiting=2)]
    assert surges.catching_up(behind, slow, 1.0) == 2.0


def test_what_rises_twice_in_a_row_goes_on() -> None:
    assert _soon(20, 20, 60, 100) > 140
    assert _soon(20, 20, 60, 100, seconds=60) == pytest.approx(200), "but no further than twice"


# --- properties -----------------------------------------------------------------------------------------------

loads = st.lists(st.floats(0.0, 12.0), min_size=2, max_size=25)
rooms = st.dictionaries(st.sampled_from(["a", "b", ""]), st.integers(-1000, 20_000), max_size=3)
ranges = st.tuples(st.integers(1, 3000), st.integers(1, 20_000)).map(
    lambda pair: CpuRange(min_millicores=min(pair), max_millicores=max(pair))
)


@given(ranges, loads, rooms, st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_grants_stay_in_the_range_and_within_each_nodes_room(
    span: CpuRange, past: list[float], room: dict[str, int], pods: int
) -> None:
    world = World(pods, msgspec.structs.replace(POLICY, cpu_range=span))
    for erlangs in past:
        before = {p.uid: (p.node, p.millicores) for p in world.pods}
        decision = world.tick(erlangs, room)
        assert decision.millicores is not None
        used = dict.fromkeys("ab", 0)
        for uid, size in decision.grants.items():
            node, granted = before[uid]
            assert size <= max(span.max_millicores, granted)
            assert size >= min(span.min_millicores, granted)
            used[node] += max(0, size - granted)
        assert all(extra <= max(0, room.get(node, 0)) for node, extra in used.items())
        assert POLICY.min_replicas <= decision.replicas <= POLICY.max_replicas


@given(loads, st.floats(0.0, 10.0), st.floats(0.0, 10.0), rooms)
@settings(max_examples=40, deadline=None)
def test_more_load_never_gives_less_cpu_or_fewer_pods(
    past: list[float], load: float, more: float, room: dict[str, int]
) -> None:
    made = []
    for erlangs in (load, load + more):
        world = World(3)
        for before in past:
            world.tick(before, room)
        made.append(world.tick(erlangs, room))
    assert made[1].replicas >= made[0].replicas
    assert sum(made[1].grants.values()) >= sum(made[0].grants.values())


@given(loads, st.integers(0, 6000), st.integers(0, 6000))
@example([0.0, 4.0, 2.0], 0, 500)  # 1100m each, two workers that are stopped half of the time, were worse than one core
@settings(max_examples=40, deadline=None)
def test_more_room_never_asks_for_more_pods(past: list[float], room: int, more: int) -> None:
    """All else equal: the same past, then one round with more room."""
    made = []
    for given_room in (room, room + more):
        world = World(3)
        for before in past:
            world.tick(before, ROOM)
        made.append(world.tick(5.0, dict.fromkeys("ab", given_room)))
    assert made[1].replicas <= made[0].replicas
    # A size at which all nodes have room is enough where without it some pod had to be larger; at one size, none loses.
    sizes = [(decision.millicores or 0, -sum(decision.grants.values())) for decision in made]
    assert sizes[1] <= sizes[0]


@given(st.floats(0.1, 10.0), st.integers(1, 6))
@settings(max_examples=5, deadline=None)
def test_constant_load_settles(erlangs: float, pods: int) -> None:
    """An hour, in which the slack of an objective that is not missed is found and spent; then nothing changes."""
    world = World(pods)
    world.run(erlangs, 3600, ROOM)
    sizes = [p.millicores for p in world.pods]
    for _ in range(200):
        world.tick(erlangs, ROOM)
        assert [p.millicores for p in world.pods] == sizes


@given(st.floats(0.0, 1000.0), st.floats(1.0, 100.0), st.integers(0, 20))
@settings(max_examples=100, deadline=None)
def test_a_step_by_more_than_chance_is_answered_in_the_round_that_shows_it_and_as_high_as_it_is(
    rate: float, factor: float, rounds: int
) -> None:
    """Two rounds' counts differ by the root of their sum: by five times that of twice the lower one, never.

    Few differ by some more.
    """
    step = rate + surges.TAIL + 5 * (rate + 1) ** 0.5 * factor
    assert _soon(*[rate] * (rounds + 1), step) == pytest.approx(step)


@given(st.lists(st.floats(0.0, 1000.0), min_size=1, max_size=20), st.floats(0.0, 1000.0))
@settings(max_examples=200, deadline=None)
def test_what_is_expected_is_twice_what_came_last_at_most_or_what_came_before_and_more_for_more(
    past: list[float], more: float
) -> None:
    assert _soon(*past) <= max(2 * past[-1], *past) + 1e-6
    assert _soon(*past[:-1], past[-1] + more) >= _soon(*past) - 1e-6


@given(st.integers(1, 60_000), st.integers(1, 60_000))
def test_sizes_are_about_a_tenth_apart_and_readable(one: int, other: int) -> None:
    span = CpuRange(min_millicores=min(one, other), max_millicores=max(one, other))
    model = msgspec.structs.replace(QUICK, service_s=0.001)
    found = sizes.worth(POLICY, span, model, 1).millicores
    assert (found[0], found[-1]) == (span.min_millicores, span.max_millicores)
    assert all(size % 10 == 0 for size in found[1:-1])
    for below, above in itertools.pairwise(found):
        # A step is a tenth, ten millicores where that is more, or the fractions that a tight plan rounds down.
        assert above - below <= max(10, 0.1 * below) + 5 or above % 1000 == 0
        assert above - below >= 0.04 * below or above % 1000 == 0 or above == span.max_millicores or below % 10
