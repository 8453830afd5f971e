"""From reports to load, in figures: which differences are believed, and what silent pods count for."""

import msgspec
import pytest

from corefit_core.histogram import Histogram, bucket
from corefit_core.recommender import Observation, PodObservation, Policy, counters, measurement
from corefit_core.recommender.counters import Moments, Totals
from corefit_core.recommender.measurement import Measured, PodsState
from corefit_core.report import Computed, Counters, Gauges, ModelIdentity, PlanInForce, Report, ServiceTime
from corefit_core.sizing import Objective

RUN_S = 0.05
POLICY = Policy(objective=Objective(percentile=99, latency_s=0.2), round_s=2.0)
TIMES = Moments(count=10, sum_s=10 * RUN_S, sum_sq_s2=10 * RUN_S**2)


def _report(clock_s: float, busy_s: float, *, arrivals: int = 0, refused: int = 0, **fields: object) -> Report:
    """A pod of two workers on two cores that has been busy for so long."""
    known: dict[str, object] = {
        "boot_id": "b",
        "state": "Ready",
        "model": ModelIdentity(name="m"),
        "plan": PlanInForce(grant_millicores=2000, workers=2, threads_per_worker=1, queue_depth=8),
        "clock_s": clock_s,
        "counters": Counters(arrivals=arrivals, busy_worker_seconds=busy_s, rejected={"queue_full": refused}),
    }
    return Report(**{**known, **fields})  # type: ignore[arg-type]


def _pod(report: Report | None, uid: str = "p", *, ready: bool = True, age_s: float = 0.0) -> PodObservation:
    return PodObservation(uid=uid, ready=ready, report=report, age_s=age_s)


def _measure(before: PodsState, now: float, *pods: PodObservation, policy: Policy = POLICY) -> Measured:
    return measurement.measure(policy, before, TIMES, Observation(pods=pods, replicas=len(pods)), now)


def _after(first: Report, then: Report, *, elapsed_s: float = 2.0, policy: Policy = POLICY) -> Measured:
    """The second of two rounds of one pod."""
    begun = _measure(PodsState(), 100.0, _pod(first))
    state = PodsState(at=100.0, counters=begun.pods)
    return _measure(state, 100.0 + elapsed_s, _pod(then), policy=policy)


def test_load_is_busy_workers_and_what_was_refused_times_the_service_time() -> None:
    found = _after(_report(10, 5.0), _report(12, 8.0, arrivals=80, refused=8))
    assert found.erlangs == pytest.approx((3.0 + 8 * RUN_S) / 2)
    assert found.arriving == pytest.approx(80 * RUN_S / 2)
    assert (found.workers, found.capacity, found.ready, found.missing, found.invalid) == (2, 2, 1, 0, 0)


def test_an_operator_that_has_just_started_takes_the_counters_for_its_baseline() -> None:
    found = _measure(PodsState(), 100.0, _pod(_report(1000, 900.0, arrivals=10_000)))
    assert (found.erlangs, found.ceiling, found.missing, found.invalid) == (None, 2.0, 1, 0)
    assert [pod.totals.busy_s for pod in found.pods] == [900.0]


def test_a_process_that_was_not_there_at_the_last_round_did_all_since_then() -> None:
    before = PodsState(at=100.0)
    assert _measure(before, 104.0, _pod(_report(3, 2.0))).erlangs == pytest.approx(0.5)
    assert _measure(before, 131.0, _pod(_report(3, 2.0))).erlangs is None, (
        "nobody looked for longer than a report lives"
    )


def test_a_restarted_process_is_counted_from_zero() -> None:
    again = _report(1, 1.0, boot_id="c")
    assert _after(_report(500, 400.0), again).erlangs == pytest.approx(0.5)


def test_counters_that_go_backwards_or_exceed_the_workers_are_left_out() -> None:
    """Two workers do two seconds a second; half as much again is for runs that end in a round and began before it."""
    backwards = _after(_report(10, 5.0), _report(12, 4.0))
    assert (backwards.erlangs, backwards.invalid, backwards.missing) == (None, 1, 1)
    most = 1.5 * 2 * (2.0 + RUN_S)
    assert _after(_report(10, 5.0), _report(12, 5.0 + most - 0.001)).invalid == 0
    assert _after(_report(10, 5.0), _report(12, 5.0 + most + 0.001)).invalid == 1
    same_clock = _after(_report(10, 5.0), _report(9.5, 5.0))
    assert (same_clock.erlangs, same_clock.invalid) == (None, 1)


def test_a_report_that_follows_another_at_once_is_left_for_the_next_round() -> None:
    soon = _after(_report(10, 5.0), _report(10.9, 5.9))
    assert soon.erlangs is None
    assert [pod.clock_s for pod in soon.pods] == [10.0]
    assert _after(_report(10, 5.0), _report(11, 5.5)).erlangs == pytest.approx(0.5)


@pytest.mark.parametrize(("age_s", "known"), [(0.0, True), (30.0, True), (30.1, False), (-0.1, False)])
def test_a_report_counts_as_long_as_it_is_fresh(age_s: float, known: bool) -> None:
    found = _measure(PodsState(at=100.0), 102.0, _pod(_report(3, 1.0), age_s=age_s))
    assert (found.erlangs is not None) is known
    assert found.missing == (0 if known else 1)


def test_a_silent_pod_carries_what_the_others_do_for_scaling_up_and_is_full_for_scaling_down() -> None:
    pods = (_pod(_report(3, 1.0), "a"), _pod(_report(3, 2.0), "b"), _pod(None, "c"))
    found = _measure(PodsState(at=100.0), 102.0, *pods)
    assert found.erlangs == pytest.approx(1.5 * 1.5)
    assert found.ceiling == pytest.approx(1.5 + 2)
    assert (found.ready, found.missing, found.capacity) == (3, 1, 6)


def test_a_pod_that_is_not_ready_works_and_has_no_capacity() -> None:
    found = _measure(PodsState(at=100.0), 102.0, _pod(_report(3, 1.0), "a"), _pod(_report(3, 1.0), "b", ready=False))
    assert (found.erlangs, found.ready, found.capacity) == (pytest.approx(1.0), 1, 2)


def test_workers_are_those_of_the_reports_and_before_one_those_of_the_policy() -> None:
    three = msgspec.structs.replace(POLICY, workers_per_pod=3)
    nothing = _measure(PodsState(), 0.0, _pod(None), policy=three)
    assert (nothing.workers, nothing.capacity, nothing.threads, nothing.slowdown) == (3, 3, 1.0, 1.0)
    plan = PlanInForce(grant_millicores=1500, workers=2, threads_per_worker=1, queue_depth=4)
    quota = _measure(PodsState(), 0.0, _pod(_report(1, 0.0, plan=plan)))
    assert (quota.workers, quota.capacity, quota.slowdown) == (1.5, 1.5, pytest.approx(4 / 3))
    one, two = (PlanInForce(grant_millicores=8000, workers=w, threads_per_worker=w, queue_depth=4) for w in (1, 2))
    mixed = _measure(PodsState(), 0.0, _pod(_report(1, 0.0, plan=one), "a"), _pod(_report(1, 0.0, plan=two), "b"))
    assert (mixed.workers, mixed.capacity, mixed.threads) == (2, 3, 1.5)


def test_a_plan_of_more_workers_than_any_machine_has_is_left_out() -> None:
    def invalid(workers: int) -> int:
        plan = PlanInForce(grant_millicores=10**9, workers=workers, threads_per_worker=1, queue_depth=4)
        return _measure(PodsState(), 0.0, _pod(_report(1, 0.0, plan=plan))).invalid

    assert (invalid(4096), invalid(4097)) == (0, 1)


def test_a_queue_waits_where_it_is_long_or_refuses_and_holds_no_more_than_it_can() -> None:
    def waiting(queued: int, wait_s: float, refused: int = 0) -> int:
        gauges = Gauges(queued=queued, wait_seconds=wait_s)
        return _after(_report(10, 5.0), _report(12, 6.0, refused=refused, gauges=gauges)).waiting

    assert waiting(5, 0.1) == 0
    assert waiting(5, 0.11) == 5
    assert waiting(5, 0.0, refused=1) == 5
    assert waiting(50, 0.11) == 8


def test_what_was_late_by_another_objective_is_not_late_by_this_one() -> None:
    answers = [0] * (bucket(0.5) + 1)
    answers[-1] = 10
    total = Histogram(counts=tuple(answers), sum_s=5.0)
    stricter = msgspec.structs.replace(POLICY, objective=Objective(percentile=99, latency_s=0.1))
    kept = _after(_report(10, 5.0), _report(12, 6.0, total=total))
    changed = _after(_report(10, 5.0), _report(12, 6.0, total=total), policy=stricter)
    assert (kept.delta.late, kept.delta.answered) == (10, 10)
    assert (changed.delta.late, changed.delta.answered) == (0, 10)


def test_a_calibrated_run_is_one_row_on_the_threads_of_a_worker() -> None:
    points = [(1, 1, 0.03), (1, 1, 0.02), (2, 1, 0.001), (1, 4, 0.004), (1, 1, 0.0)]
    profile = tuple(ServiceTime(threads=t, rows=r, seconds=s) for t, r, s in points)
    assert _measure(PodsState(), 0.0, _pod(_report(1, 0.0, profile=profile))).run_s == 0.02
    assert _measure(PodsState(), 0.0, _pod(_report(1, 0.0))).run_s is None


def test_the_longest_start_up_is_the_one_to_wait_for() -> None:
    pods = (_pod(_report(1, 0.0, startup_s=4.0), "a"), _pod(_report(1, 0.0, startup_s=9.0), "b"))
    assert _measure(PodsState(), 0.0, *pods).startup_s == 9.0
    assert _measure(PodsState(), 0.0, _pod(_report(1, 0.0))).startup_s is None


def test_parts_of_a_request_that_is_split_run_at_once_so_none_is_late_by_itself() -> None:
    runs = [0] * (bucket(0.5) + 1)
    runs[-1] = 10
    served = Histogram(counts=tuple(runs), sum_s=5.0)
    split = PlanInForce(grant_millicores=2000, workers=2, threads_per_worker=1, queue_depth=8, chunk_rows=4)
    assert _after(_report(10, 5.0), _report(12, 6.0, service_time=served)).delta.alone == 10
    assert _after(_report(10, 5.0), _report(12, 6.0, service_time=served, plan=split)).delta.alone == 0


# --- counters -------------------------------------------------------------------------------------------------

FIELDS = Totals.__struct_fields__
LATER = Totals(*(float(10 + n) for n in range(len(FIELDS))))
EARLIER = Totals(*(float(n) / 2 for n in range(len(FIELDS))))


@pytest.mark.parametrize("field", [field for field in FIELDS if field != "held_s"])
def test_each_counter_is_a_difference_and_none_may_go_backwards(field: str) -> None:
    found = LATER.since(EARLIER)
    assert found is not None
    assert getattr(found, field) == getattr(LATER, field) - getattr(EARLIER, field)
    beyond = msgspec.structs.replace(EARLIER, **{field: getattr(LATER, field) + 0.5})
    assert LATER.since(beyond) is None
    assert LATER.since(msgspec.structs.replace(EARLIER, **{field: getattr(LATER, field)})) is not None


def test_a_worker_is_held_for_as_long_as_it_is_busy() -> None:
    found = LATER.since(EARLIER)
    assert found is not None
    assert found.held_s == found.busy_s


def test_each_figure_of_a_report_is_counted_once() -> None:
    waits, answers = [0] * (bucket(0.2) + 1), [0] * (bucket(0.2) + 1)
    waits[0], waits[-1], answers[-1], answers[0] = 7, 3, 4, 6
    report = _report(
        12,
        0.0,
        counters=Counters(
            arrivals=30, rejected={"a": 2, "b": 3}, expired=4, busy_worker_seconds=1.5, cpu_seconds=2.5, cancelled=9
        ),
        queue_wait=Histogram(counts=tuple(waits), sum_s=1.0),
        service_time=Histogram(counts=tuple(answers), sum_s=0.7, sum_sq_s2=0.3),
        computed=Computed(sum_s=0.6, sum_sq_s2=0.2),
        total=Histogram(counts=tuple(answers), sum_s=2.0),
    )
    found = counters.totals(report, (bucket(0.2), 0.25))
    assert found is not None
    assert (found.arrivals, found.turned_away, found.busy_s, found.cpu_s) == (30, 9, 1.5, 2.5)
    assert (found.answered, found.served_s, found.served_sq_s2, found.waited) == (10, 0.7, 0.3, 3)
    assert (found.late, found.alone, found.computed_s, found.computed_sq_s2) == (3, 3, 0.6, 0.2)


def test_numbers_that_no_process_counts_are_refused() -> None:
    """Each fits the contract; together they are past what a double holds exactly."""
    half = 2**52
    fits = _report(0, 0.0, counters=Counters(arrivals=half, expired=half))
    assert counters.totals(fits, (0, 0.0)) is not None
    assert counters.totals(msgspec.structs.replace(fits, clock_s=2.0), (0, 0.0)) is None


def test_moments_say_the_mean_and_how_far_it_varies() -> None:
    assert (Moments().mean_s, Moments().scv) == (None, 0.0)
    assert Moments(count=4, sum_s=2.0, sum_sq_s2=1.25).mean_s == 0.5
    assert Moments(count=4, sum_s=2.0, sum_sq_s2=1.25).scv == pytest.approx(0.25)
    assert Moments(count=4, sum_s=2.0, sum_sq_s2=0.9).scv == 0.0
    assert Moments(count=4, sum_s=0.0).mean_s == 1e-6


def test_before_a_round_had_answers_refused_requests_count_by_all_that_the_processes_have_served() -> None:
    """Half a second of runs tells as much as a day of them; what no process can have counted tells nothing."""
    served = Histogram(counts=(5,), sum_s=0.5)
    huge = int(2 * counters.MAX_COUNT)
    for also in (served, Histogram(counts=(5,), sum_s=float(huge)), Histogram(counts=(huge,), sum_s=0.5)):
        pods = [
            _pod(_report(clock_s, busy_s, refused=refused, service_time=times), uid)
            for uid, times in (("p", served), ("q", also))
            for clock_s, busy_s, refused in ((10, 5.0, 0), (12, 8.0, 8))
        ]
        begun = _measure(PodsState(), 100.0, *pods[::2])
        seen = Observation(pods=tuple(pods[1::2]), replicas=2)
        found = measurement.measure(POLICY, PodsState(at=100.0, counters=begun.pods), Moments(), seen, 102.0)
        assert found.erlangs == pytest.approx(2 * (3.0 + 8 * 0.1) / 2)


def test_a_process_is_known_by_what_its_id_says() -> None:
    """Each report is decoded anew, and so is its id."""
    first, then = (_report(clock_s, clock_s / 2, boot_id=msgspec.json.decode('"boot-1"')) for clock_s in (10.0, 12.0))
    assert first.boot_id is not then.boot_id
    found = _after(first, then)
    assert (found.erlangs, found.invalid) == (pytest.approx(0.5), 0)
    assert _after(first, _report(12, 6.0, boot_id="boot-2")).erlangs == pytest.approx(3.0), "all of it since then"


def test_pods_that_say_nothing_have_no_start_up() -> None:
    assert _measure(PodsState(), 100.0, _pod(None)).startup_s is None
    assert _measure(PodsState(), 100.0, _pod(_report(1, 0.0))).startup_s is None


def test_a_report_counts_for_half_a_minute() -> None:
    begun = _measure(PodsState(), 100.0, _pod(_report(10, 5.0)))
    state = PodsState(at=100.0, counters=begun.pods)
    for age_s, missing in ((30.0, 0), (30.5, 1)):
        assert _measure(state, 102.0, _pod(_report(12, 6.0), age_s=age_s)).missing == missing
