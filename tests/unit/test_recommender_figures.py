"""Cost, quota, the last minute and saturation, each by itself and in figures that can be worked out by hand."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.test_recommender_parts import measured

from corefit_core.histogram import Histogram, bucket
from corefit_core.recommender import (
    Observation,
    PodObservation,
    Policy,
    Price,
    cost,
    last_minute,
    quota,
    saturation,
    slo,
)
from corefit_core.recommender.counters import Totals
from corefit_core.recommender.error_budget import Served
from corefit_core.recommender.last_minute import Slot
from corefit_core.recommender.predictors import Sample
from corefit_core.recommender.saturation import There, Trial, Work
from corefit_core.report import PlanInForce

GIB = 2**30

# --- cost -----------------------------------------------------------------------------------------------------

POLICY = Policy(
    millicores_per_pod=1000, memory_bytes_per_pod=GIB, price=Price(core_hour=1.0, gib_hour=0.1), max_replicas=5
)


def _seen(*millicores: int) -> Observation:
    pods = tuple(PodObservation(uid=f"p{n}", ready=True, millicores=each) for n, each in enumerate(millicores))
    return Observation(pods=pods, replicas=len(pods))


def test_an_hour_costs_what_cores_and_memory_cost_each_for_itself() -> None:
    assert Price(core_hour=2.0, gib_hour=0.5).per_hour(1500, 3 * GIB) == pytest.approx(4.5)


def test_pods_cost_what_they_are_granted_and_new_ones_what_they_begin_with() -> None:
    assert cost.per_hour(POLICY, _seen(2000, 500), 2, {}) == pytest.approx(2.7)
    assert cost.per_hour(POLICY, _seen(2000, 0), 2, {}) == pytest.approx(3.2), "0: nothing is known of its grant"
    assert cost.per_hour(POLICY, _seen(2000, 500), 4, {}) == pytest.approx(4.9)
    assert cost.per_hour(POLICY, _seen(), 2, {}) == pytest.approx(2.2)


def test_pods_that_are_resized_cost_what_they_are_resized_to() -> None:
    assert cost.per_hour(POLICY, _seen(2000, 500), 2, {"p1": 1500}) == pytest.approx(3.7)


def test_of_pods_that_go_the_dearest_go_first() -> None:
    assert cost.per_hour(POLICY, _seen(2000, 500, 700), 2, {}) == pytest.approx(1.4)


def test_the_baseline_is_unsized_pods_at_the_target_of_their_autoscaler_within_the_same_bounds() -> None:
    """Half the throughput at 70 %: 1.4 Erlangs fill four pods of one worker."""
    policy = msgspec.structs.replace(POLICY, naive_throughput=0.5, naive_utilization=0.7, min_replicas=2)
    pods = {erlangs: cost.naive_per_hour(policy, erlangs, 1.0) / 1.1 for erlangs in (0.0, 0.8, 1.39, 1.41, 90.0)}
    assert list(pods.values()) == pytest.approx([2, 3, 4, 5, 5])
    assert cost.naive_per_hour(policy, 1.39, 2.0) == pytest.approx(2 * 1.1)


# --- quota ----------------------------------------------------------------------------------------------------


def _plan(millicores: int, workers: int = 1, threads: int = 1) -> PlanInForce:
    return PlanInForce(grant_millicores=millicores, workers=workers, threads_per_worker=threads, queue_depth=4)


@pytest.mark.parametrize(
    ("plan", "workers"),
    [
        (_plan(1500, 2), 1.5),
        (_plan(1500, 1, 2), 0.75),
        (_plan(2000, 2), 2),
        (_plan(3000, 2), 2),
        (_plan(2000, 1, 2), 1),
        (_plan(0, 2), 2),
        (_plan(500, 1, 0), 0.5),
    ],
)
def test_as_many_workers_compute_at_once_as_the_quota_has_cores_for(plan: PlanInForce, workers: float) -> None:
    assert quota.effective_workers(plan) == workers


def test_work_is_the_quotas_share_of_busy_time_or_the_cpu_where_that_is_more() -> None:
    delta = Totals(busy_s=4.0, cpu_s=1.0, answered=10.0, served_s=6.0, served_sq_s2=8.0, alone=3.0)
    idle_node = quota.at_full_speed(delta, _plan(500))
    assert (idle_node.busy_s, idle_node.served_s, idle_node.served_sq_s2) == (2.0, 3.0, 2.0)
    assert (idle_node.alone, idle_node.answered) == (0.0, 10.0)
    computing = quota.at_full_speed(msgspec.structs.replace(delta, cpu_s=3.0), _plan(500))
    assert (computing.busy_s, computing.served_s) == (3.0, 4.5)
    threads = quota.at_full_speed(msgspec.structs.replace(delta, cpu_s=6.0), _plan(500, 1, 2))
    assert threads.busy_s == 3.0


def test_where_nothing_was_done_there_is_no_work() -> None:
    nothing = Totals(busy_s=0.0, cpu_s=0.4, alone=1.0)
    assert quota.at_full_speed(nothing, _plan(500)) == nothing
    unserved = quota.at_full_speed(Totals(busy_s=1.0, served_s=0.0), _plan(500))
    assert (unserved.busy_s, unserved.served_sq_s2) == (0.5, 0.0)


# --- last minute ----------------------------------------------------------------------------------------------


def _round(answered: float = 0.0, late: float = 0.0, turned_away: float = 0.0, total: tuple[int, ...] = ()) -> object:
    return measured(delta=Totals(answered=answered, late=late, turned_away=turned_away), total=total)


def test_refused_requests_are_requests_that_missed() -> None:
    slots = last_minute.with_round((), _round(8.0, 1.0, 2.0), 1.0, 100.0)  # type: ignore[arg-type]
    assert last_minute.requests(slots) == 10
    assert last_minute.missed(slots) == pytest.approx(0.3)
    assert last_minute.unwaited(slots) == pytest.approx(0.1)


def test_rounds_share_a_slot_of_ten_seconds_and_a_slot_goes_as_a_whole() -> None:
    slots: tuple[Slot, ...] = ()
    for now in range(100, 171, 2):
        slots = last_minute.with_round(slots, _round(1.0), 0.0, float(now))  # type: ignore[arg-type]
    assert [slot.begin for slot in slots] == [120.0, 130.0, 140.0, 150.0, 160.0, 170.0]
    assert [slot.requests for slot in slots] == [5.0] * 5 + [1.0]


def test_a_minute_of_which_nothing_is_known_has_no_share() -> None:
    assert (last_minute.requests(()), last_minute.missed(()), last_minute.unwaited(())) == (0, None, 0.0)
    assert last_minute.latency_s((), 99.0) is None
    assert last_minute.missed((Slot(begin=0.0),)) is None


def test_latencies_of_pods_of_different_lengths_are_added_up() -> None:
    short, long = [0] * (bucket(0.01) + 1), [0] * (bucket(1.0) + 1)
    short[-1], long[-1] = 90, 10
    slots = last_minute.with_round((), _round(90.0, total=tuple(short)), 0.0, 0.0)  # type: ignore[arg-type]
    slots = last_minute.with_round(slots, _round(10.0, total=tuple(long)), 0.0, 20.0)  # type: ignore[arg-type]
    assert last_minute.latency_s(slots, 50.0) == pytest.approx(0.01, rel=0.2)
    assert last_minute.latency_s(slots, 99.0) == pytest.approx(1.0, rel=0.2)
    both = [a + b for a, b in itertools.zip_longest(short, long, fillvalue=0)]
    for percent in (50, 90, 99):
        assert last_minute.latency_s(slots, percent) == Histogram(counts=tuple(both)).quantile_s(percent / 100)


# --- objective ------------------------------------------------------------------------------------------------


def test_of_what_was_counted_half_is_left_after_an_hour_and_of_what_had_not_waited_after_five_minutes() -> None:
    known = Served(requests=1000.0, missed=4.0, seconds=60.0)
    before = slo.SloState(objective=POLICY.objective, served=known, alone=known)
    seen = measured(delta=Totals(answered=10.0, late=3.0, waited=1.0, turned_away=2.0))
    hour = slo.counted(POLICY, before, seen, 3600.0, 0.0)  # type: ignore[arg-type]
    assert hour.served == Served(requests=512.0, missed=7.0, seconds=3630.0)
    minutes = slo.counted(POLICY, before, seen, 300.0, 0.0)  # type: ignore[arg-type]
    assert minutes.alone == Served(requests=510.0, missed=4.0)


def test_how_another_objective_was_kept_says_nothing() -> None:
    other = msgspec.structs.replace(POLICY.objective, latency_s=9.0)
    before = slo.SloState(objective=other, served=Served(requests=1000.0, missed=500.0))
    after = slo.counted(POLICY, before, measured(delta=Totals(answered=10.0)), 2.0, 0.0)  # type: ignore[arg-type]
    assert (after.objective, after.served.requests, after.served.missed) == (POLICY.objective, 10.0, 0.0)


# --- saturation -----------------------------------------------------------------------------------------------


def _there(*erlangs: float, ready: int = 2, replicas: int = 2, missing: int = 0, every_s: float = 2.0) -> There:
    """Rounds with these loads, the last one at 1000 s, on pods of one worker each."""
    times = [1000.0 - every_s * n for n in reversed(range(len(erlangs)))]
    samples = [Sample(at=at, erlangs=each, ceiling=each) for at, each in zip(times, erlangs, strict=True)]
    return There(samples, Observation(pods=(), replicas=replicas), measured(ready=ready, missing=missing))


FULL = (2.0,) * 8


def test_pods_are_full_that_have_had_no_idle_time_for_fifteen_seconds() -> None:
    assert saturation.full(_there(*FULL))
    assert saturation.full(_there(*(0.5,) * 3, *FULL)), "what was before counts no more"
    assert not saturation.full(_there(*(2.0,) * 7, 1.8))
    assert not saturation.full(_there(2.0, 1.8, *(2.0,) * 6))


def test_few_rounds_or_a_short_time_do_not_tell() -> None:
    assert not saturation.full(_there(2.0, 2.0, 2.0))
    assert not saturation.full(_there(2.0, 2.0, every_s=9.0))
    assert saturation.full(_there(2.0, 2.0, 2.0, every_s=5.0))


def test_all_replicas_must_be_there_and_must_report() -> None:
    assert not saturation.full(_there(*FULL, ready=1))
    assert not saturation.full(_there(*FULL, replicas=3))
    assert not saturation.full(_there(*FULL, missing=1))
    assert not saturation.full(_there(*(0.0,) * 8, ready=0, replicas=0))


def test_pods_are_busy_at_95_percent_and_large_ones_with_half_a_worker_idle() -> None:
    busy = _there(*FULL).busy
    assert busy(Sample(at=0.0, erlangs=1.9, ceiling=1.9))
    assert not busy(Sample(at=0.0, erlangs=1.89, ceiling=1.89))
    many = There([], Observation(pods=(), replicas=2), measured(capacity=100.0)).busy
    assert many(Sample(at=0.0, erlangs=99.5, ceiling=99.5))
    assert not many(Sample(at=0.0, erlangs=99.4, ceiling=99.4))


def test_one_more_is_tried_where_full_pods_are_all_that_the_load_needs() -> None:
    there = _there(*FULL)
    assert saturation.tried(POLICY, None, None, there, 2) == Trial(1000.0, 2.0, 3)
    assert saturation.tried(POLICY, None, None, there, 3) is None, "more are coming anyhow"
    at_most = msgspec.structs.replace(POLICY, max_replicas=2)
    assert saturation.tried(at_most, None, None, there, 2) is None
    assert saturation.tried(POLICY, None, None, _there(*(1.0,) * 8), 2) is None


@pytest.mark.parametrize("known", [Trial(900.0, 1.9, 3), Work(900.0, 1.9)])
def test_a_trial_is_not_repeated_at_that_load_for_two_hours(known: Trial | Work) -> None:
    def trial(known: Trial | Work) -> Trial | None:
        last, fell = (known, None) if isinstance(known, Trial) else (None, known)
        found = saturation.tried(POLICY, last, fell, _there(*FULL), 2)
        return None if found is last else found

    replace = msgspec.structs.replace
    assert trial(known) is None
    assert trial(replace(known, erlangs=2.0 / 1.11)) is not None, "a tenth more work"
    assert trial(replace(known, erlangs=2.0 / 1.09)) is None
    assert trial(replace(known, at=1000.0 - 7199)) is None
    assert trial(replace(known, at=1000.0 - 7200)) is not None


def test_a_trial_goes_on_until_its_replica_has_come_and_worked_for_fifteen_seconds() -> None:
    there = _there(*FULL)
    assert saturation.goes_on(Trial(1000.0 - 20 - 14, 2.0, 3), there, 20.0)
    assert not saturation.goes_on(Trial(1000.0 - 20 - 15, 2.0, 3), there, 20.0)
    assert not saturation.goes_on(None, there, 20.0)


def test_a_trial_ends_once_the_work_is_a_tenth_below_the_one_that_it_began_with() -> None:
    trial = Trial(990.0, 2.2, 3)
    assert saturation.goes_on(trial, _there(*(2.01,) * 8), 20.0)
    assert not saturation.goes_on(trial, _there(*(1.99,) * 8), 20.0)


def test_what_was_done_before_pods_went_is_known_as_long_as_those_that_stay_are_full() -> None:
    before, idle = Work(990.0, 1.5), _there(*(1.0,) * 8)
    assert saturation.fallen(None, idle, 1) == Work(1000.0, 1.0)
    assert saturation.fallen(before, _there(*FULL), 1) == before
    assert saturation.fallen(before, idle, 2) == before
    assert saturation.fallen(Work(985.0, 1.5), idle, 2) is None, "what fills them now is other load"
    assert saturation.fallen(None, idle, 2) is None


@given(st.floats(0.0, 3.0))
def test_work_is_the_mean_of_the_last_fifteen_seconds(erlangs: float) -> None:
    assert _there(*(9.0,) * 5, *(erlangs,) * 8).work == pytest.approx(erlangs)
