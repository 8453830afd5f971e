"""The small parts of the recommender, each by itself: service model, cost, room of nodes, stabilization."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core.defaults import DOWN_STABILIZATION_S
from corefit_core.recommender import (
    Observation,
    PodObservation,
    Policy,
    cost,
    node_room,
    service_model,
    stabilization,
)
from corefit_core.recommender.capacity import Demand
from corefit_core.recommender.counters import Totals
from corefit_core.recommender.measurement import Measured
from corefit_core.recommender.node_room import Granted
from corefit_core.recommender.predictors import Sample
from corefit_core.recommender.service_model import ServiceState, Waits
from corefit_core.recommender.stabilization import Outcome, Situation, WindowState
from corefit_core.recommender.transients import Transients
from corefit_core.sizing import ASSUMED_SERVICE_SHARE


def measured(erlangs: float | None = 1.0, ready: int = 2, missing: int = 0, **fields: object) -> Measured:
    """One round of so many pods with one worker each."""
    known: dict[str, object] = {
        "pods": (),
        "erlangs": erlangs,
        "ceiling": 0.0,
        "arriving": 0.0,
        "waiting": 0,
        "workers": 1.0,
        "slowdown": 1.0,
        "capacity": float(ready),
        "threads": 1.0,
        "ready": ready,
        "missing": missing,
        "invalid": 0,
        "delta": Totals(),
        "run_s": None,
        "startup_s": None,
        "total": (),
    }
    return Measured(**{**known, **fields})  # type: ignore[arg-type]


# --- service model --------------------------------------------------------------------------------------------


def test_service_times_are_learned_and_the_old_ones_fade() -> None:
    state = ServiceState()
    for work_s in (0.1, 0.3):
        for _ in range(1000):
            delta = Totals(answered=10.0, served_s=10 * work_s, served_sq_s2=10 * work_s**2)
            state = service_model.with_times(state, measured(delta=delta), 2.0)
    assert service_model.mean_s(Policy(), state) == pytest.approx(0.3, rel=0.02)
    assert state.times.scv < 0.05


@given(st.floats(0.0, 1e9), st.floats(0.1, 60.0))
def test_no_start_up_is_planned_for_that_is_longer_than_ten_minutes(startup_s: float, round_s: float) -> None:
    state, policy = ServiceState(startup_s=startup_s), Policy(round_s=round_s)
    assert round_s <= service_model.horizon_s(policy, state) <= service_model.MAX_STARTUP_S + round_s
    assert service_model.window_s(policy, state) >= DOWN_STABILIZATION_S
    assert service_model.window_s(Policy(down_window_s=0.0), state) == 0.0


def test_an_objective_that_no_pods_keep_is_replaced_by_one_that_they_can_keep() -> None:
    policy = Policy()
    kept = service_model.model(policy, ServiceState(), measured(), unreachable=False)
    none = service_model.model(policy, ServiceState(), measured(slowdown=4.0), unreachable=True)
    assert kept.latency_s == policy.objective.latency_s < none.latency_s


# --- cost -----------------------------------------------------------------------------------------------------

pods = st.lists(st.integers(100, 8000), max_size=10).map(
    lambda sizes: tuple(PodObservation(uid=str(n), ready=True, millicores=m) for n, m in enumerate(sizes))
)


@given(pods, st.integers(0, 20), st.integers(0, 20))
def test_more_pods_cost_no_less(there: tuple[PodObservation, ...], fewer: int, more: int) -> None:
    seen = Observation(pods=there, replicas=len(there))
    fewer, more = sorted((fewer, more))
    assert cost.per_hour(Policy(), seen, fewer, {}) <= cost.per_hour(Policy(), seen, more, {}) + 1e-12


@given(pods)
def test_pods_cost_what_they_are_granted(there: tuple[PodObservation, ...]) -> None:
    policy, seen = Policy(), Observation(pods=there, replicas=len(there))
    grants = {pod.uid: 2 * pod.millicores for pod in there}
    memory = policy.price.per_hour(0, len(there) * policy.memory_bytes_per_pod)
    now, then = (cost.per_hour(policy, seen, len(there), g) for g in ({}, grants))
    assert then - memory == pytest.approx(2 * (now - memory))


def test_the_baseline_stays_within_the_same_bounds() -> None:
    policy = Policy(min_replicas=2, max_replicas=4)
    one = policy.price.per_hour(policy.millicores_per_pod, policy.memory_bytes_per_pod)
    assert cost.naive_per_hour(policy, 0.0, 1.0) == 2 * one
    assert cost.naive_per_hour(policy, 1000.0, 1.0) == 4 * one


# --- room of nodes --------------------------------------------------------------------------------------------

SIZES = (500, 1000, 2000, 4000)
placed = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(SIZES)), max_size=6).map(
    lambda found: [Granted(node, str(n), size) for n, (node, size) in enumerate(found)]
)


@given(
    placed,
    st.dictionaries(st.sampled_from("ab"), st.integers(-500, 9000)),
    st.sampled_from(SIZES),
    st.sets(st.just("0")),
)
def test_pods_grow_no_further_than_their_nodes_room(
    there: list[Granted], room: dict[str, int], wanted: int, stuck: set[str]
) -> None:
    found = node_room.grants(there, room, stuck, SIZES, wanted)
    assert found.keys() == {pod.uid for pod in there}
    for node in "ab":
        grown = sum(max(0, found[pod.uid] - pod.millicores) for pod in there if pod.node == node)
        assert grown <= max(0, room.get(node, 0))
    for pod in there:
        assert found[pod.uid] <= max(wanted, pod.millicores)
        assert pod.uid not in stuck or found[pod.uid] <= pod.millicores


# --- stabilization --------------------------------------------------------------------------------------------


def stabilized(needs: list[int], window_s: float, most: int = 20) -> list[Outcome]:
    """What is done with such needs, one each 2 s, from one replica on."""
    replicas, state, found, policy = 1, WindowState(), [], Policy(max_replicas=most)
    for number, need in enumerate(needs):
        here = Situation(
            policy=policy,
            seen=Observation(pods=(), replicas=replicas),
            measured=measured(),
            samples=(Sample(at=2.0 * number, erlangs=0.1, ceiling=0.1),),
            window_s=window_s,
            horizon_s=20.0,
        )
        outcome, state = stabilization.stabilized(here, state, Demand(need, need, need, 1.0), Transients())
        replicas = outcome.replicas
        found.append(outcome)
    return found


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(0, 20))
def test_replicas_are_the_most_that_was_needed_within_the_window(needs: list[int], rounds: int) -> None:
    found = [outcome.replicas for outcome in stabilized(needs, 2.0 * rounds)]
    for index, replicas in enumerate(found):
        least = min(20, max(needs[min(index, max(0, index - rounds + 1)) : index + 1]))
        assert replicas >= least
        if index >= rounds:
            assert replicas == least, "the window is full"


def test_what_is_not_known_holds() -> None:
    seen = Observation(pods=(), replicas=3)
    assert stabilization.ignorance(seen, measured(None)) == "NoReports"
    assert stabilization.ignorance(seen, measured(missing=2, ready=3)) == "StaleReports"
    assert stabilization.ignorance(Observation(pods=(), replicas=3, rollout=True), measured()) == "RolloutInProgress"
    assert stabilization.ignorance(seen, measured()) is None


def test_an_objective_in_reach_of_no_pods_is_a_run_over_the_share_that_sizing_assumes() -> None:
    none = service_model.model(Policy(), ServiceState(), measured(slowdown=4.0), unreachable=True)
    run_s = service_model.mean_s(Policy(), ServiceState())
    assert none.latency_s == pytest.approx(4.0 * run_s / ASSUMED_SERVICE_SHARE)


def test_the_time_of_workers_is_that_of_the_pods_that_report() -> None:
    seen = measured(ready=3, missing=1, workers=2.0, slowdown=1.5, delta=Totals(answered=5.0, waited=2.0, held_s=1.0))
    waits = service_model.with_pooling(ServiceState(), seen, 4.0).waits
    assert waits == Waits(answered=5.0, waited=2.0, held_s=1.0, worker_s=4.0 * 2 * 2.0 * 1.5)
    assert service_model.with_pooling(ServiceState(waits=waits), seen, 4.0).waits.answered == 10.0
    enough = Waits(answered=service_model.POOLING_REQUESTS, worker_s=9.0)
    assert service_model.with_pooling(ServiceState(waits=enough), seen, 4.0).waits == waits, "begun anew"


@given(st.floats(0.3, 0.9), st.floats(0.0, 1.0))
def test_pods_whose_requests_wait_less_share_their_load_more(rho: float, pooling: float) -> None:
    """Only half busy or so tells; where none waits, one queue serves all, and where all wait, each pod has its own."""
    begun = ServiceState(pooling=pooling)

    def after(waited: float, rho: float = rho) -> float:
        delta = Totals(answered=100.0, waited=waited, held_s=rho * 8.0)
        return service_model.with_pooling(begun, measured(ready=4, delta=delta), 2.0).pooling

    assert after(0.0) == pytest.approx(0.9 * pooling + 0.1, abs=2e-3)
    assert after(100.0) == pytest.approx(0.9 * pooling, abs=2e-3)
    assert after(0.0, rho=0.1) == after(0.0, rho=0.97) == pooling


# --- the CPU that nodes have left -----------------------------------------------------------------------------

granted = st.lists(
    st.builds(Granted, st.sampled_from("ab"), st.uuids().map(str), st.integers(1, 30).map(lambda n: 100 * n)),
    max_size=8,
    unique_by=lambda pod: pod.uid,
)
SIZES = tuple(range(100, 3001, 100))


@given(granted, st.dictionaries(st.sampled_from("ab"), st.integers(0, 5000)), st.sampled_from(SIZES), st.data())
def test_pods_grow_into_what_their_node_has_left_and_no_further(
    pods: list[Granted], room: dict[str, int], wanted: int, data: st.DataObject
) -> None:
    stuck = data.draw(st.sets(st.sampled_from([pod.uid for pod in pods]) if pods else st.nothing()))
    found = node_room.grants(pods, room, stuck, SIZES, wanted)
    assert found.keys() == {pod.uid for pod in pods}
    for pod in pods:
        assert min(pod.millicores, wanted) <= found[pod.uid] <= wanted
        assert pod.uid not in stuck or found[pod.uid] == min(pod.millicores, wanted)
    for node in "ab":
        here = [pod for pod in pods if pod.node == node]
        assert sum(max(0, found[pod.uid] - pod.millicores) for pod in here) <= room.get(node, 0)
    plenty = node_room.grants(pods, {"a": 30_000, "b": 30_000}, (), SIZES, wanted)
    assert set(plenty.values()) <= {wanted}


def test_on_a_node_without_room_for_the_size_all_grow_to_the_largest_that_fits() -> None:
    pods = [Granted("a", "small", 500), Granted("a", "large", 1500), Granted("b", "far", 500)]
    found = node_room.grants(pods, {"a": 500}, (), (500, 1000, 1500, 2000), 2000)
    assert found == {"small": 1000, "large": 1500, "far": 500}
