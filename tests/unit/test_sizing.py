import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_core import sizing
from corefit_core.errors import InvalidInput
from corefit_core.report import ServiceTime
from corefit_core.sizing import Grant, Objective

millicores = st.integers(sizing.MIN_MILLICORES, 256_000)
objectives = st.builds(Objective, latency_s=st.floats(1e-4, 60))
profiles = st.lists(
    st.builds(ServiceTime, threads=st.integers(1, 64), rows=st.just(1), seconds=st.floats(1e-6, 10)),
    max_size=7,
    unique_by=lambda p: p.threads,
)


@given(quota=millicores, objective=objectives, profile=profiles)
def test_threads_never_exceed_the_cores_granted(quota: int, objective: Objective, profile: list[ServiceTime]) -> None:
    plan = sizing.plan(Grant(quota_millicores=quota), objective, profile)
    assert plan.workers >= 1
    assert plan.threads_per_worker >= 1
    assert plan.workers * plan.threads_per_worker <= max(1, -(-quota // 1000))
    assert 1 <= plan.queue_depth <= sizing.MAX_QUEUE_DEPTH
    assert plan.why


@given(quota=millicores, objective=objectives, profile=profiles, joined=st.integers(0, 64))
def test_the_reasons_name_the_queue_of_the_plan_and_no_other(
    quota: int, objective: Objective, profile: list[ServiceTime], joined: int
) -> None:
    """Status had a queue of 1 in one place, of 2075 in another and of 6606 in a third."""
    plan = sizing.plan(Grant(quota_millicores=quota), objective, profile)
    deeper = msgspec.structs.replace(plan, queue_depth=3 * plan.queue_depth, batch_rows=joined)
    for each in (plan, deeper):
        assert re.findall(r"At most (\d+) request", each.why) == [str(each.queue_depth)]
    assert ("rows in one run" in deeper.why) == (joined > 1)
    assert ("(measured)" in plan.why) == bool(profile)


@given(quota=millicores, objective=objectives, profile=profiles)
def test_the_reasons_are_sentences(quota: int, objective: Objective, profile: list[ServiceTime]) -> None:
    why = sizing.plan(Grant(quota_millicores=quota), objective, profile).why
    assert re.fullmatch(r"([A-Z][^;]*\.)( [A-Z][^;]*\.)*", why)


@given(quota=millicores, cpus=st.integers(1, 64), objective=objectives)
def test_the_smaller_of_quota_and_affinity_counts(quota: int, cpus: int, objective: Objective) -> None:
    both = sizing.plan(Grant(quota_millicores=quota, cpus=cpus), objective)
    least = sizing.plan(Grant(quota_millicores=min(quota, 1000 * cpus)), objective)
    assert both == least


@given(cores=st.integers(1, 63), objective=objectives, profile=profiles)
def test_more_whole_cores_are_never_used_worse(cores: int, objective: Objective, profile: list[ServiceTime]) -> None:
    def rate(n: int) -> float:
        plan = sizing.plan(Grant(quota_millicores=1000 * n), objective, profile)
        by_threads = {p.threads: p.seconds for p in profile}
        return plan.workers / by_threads.get(plan.threads_per_worker, 1.0)

    meeting = any(p.threads <= cores and p.seconds <= objective.latency_s for p in profile)
    if meeting or not profile:
        assert rate(cores + 1) >= rate(cores)


@given(workers=st.integers(1, 64), objective=st.floats(1e-3, 10), service=st.floats(1e-6, 10))
def test_a_request_at_the_end_of_the_queue_still_makes_it(workers: int, objective: float, service: float) -> None:
    depth = sizing.queue_depth(workers, objective, service)
    if depth > 1:
        assert depth * service / workers + service <= objective * (1 + 1e-9)


@given(workers=st.integers(1, 64), objective=st.floats(1e-3, 10), service=st.floats(1e-6, 10))
def test_a_longer_objective_never_shortens_the_queue(workers: int, objective: float, service: float) -> None:
    assert sizing.queue_depth(workers, objective, service) <= sizing.queue_depth(workers, 2 * objective, service)


@given(workers=st.integers(1, 64), objective_ms=st.integers(1, 60_000), service_ms=st.integers(1, 10_000))
def test_the_queue_is_as_deep_as_the_decimals_say(workers: int, objective_ms: int, service_ms: int) -> None:
    depth = sizing.queue_depth(workers, objective_ms / 1000, service_ms / 1000)
    exact = workers * (objective_ms - service_ms) // service_ms
    assert depth == max(1, min(sizing.MAX_QUEUE_DEPTH, exact))


def test_without_a_profile_each_core_is_a_worker_of_one_thread() -> None:
    plan = sizing.plan(Grant(quota_millicores=4000), Objective())
    assert (plan.workers, plan.threads_per_worker) == (4, 1)
    assert plan.batch_rows == 0, "nothing is joined before it is measured"
    assert "not measured yet" in plan.why


def test_threads_are_taken_where_one_is_too_slow_for_the_objective() -> None:
    profile = [ServiceTime(threads=t, rows=1, seconds=s) for t, s in ((1, 0.3), (2, 0.16), (4, 0.08))]
    plan = sizing.plan(Grant(quota_millicores=4000), Objective(latency_s=0.1), profile)
    assert (plan.workers, plan.threads_per_worker) == (1, 4)


def test_a_fraction_is_rounded_up_where_the_objective_is_loose_and_down_where_it_is_tight() -> None:
    loose = sizing.plan(Grant(quota_millicores=1500), Objective(latency_s=1.0))
    tight = sizing.plan(Grant(quota_millicores=1500), Objective(latency_s=0.02))
    assert loose.workers == 2
    assert "rounded up" in loose.why
    assert tight.workers == 1
    assert "rounded down" in tight.why


@pytest.mark.parametrize("quota", [1, 99])
def test_too_little_to_start_is_refused_with_the_least(quota: int) -> None:
    with pytest.raises(InvalidInput, match="at least 100m"):
        sizing.plan(Grant(quota_millicores=quota), Objective())


def test_nothing_known_is_refused() -> None:
    with pytest.raises(InvalidInput, match="neither"):
        sizing.plan(Grant(), Objective())


@pytest.mark.parametrize("latency", [0.0, -1.0, float("nan"), float("inf")])
def test_an_objective_that_is_none_is_refused(latency: float) -> None:
    with pytest.raises(InvalidInput, match="objective"):
        sizing.plan(Grant(quota_millicores=1000), Objective(latency_s=latency))


def test_the_longest_queue_is_said_to_be_a_bound() -> None:
    """100000 waiting at 0.007 ms a run were said to miss an objective of 200 ms."""
    why = sizing.plan(
        Grant(quota_millicores=250), Objective(latency_s=1.0), [ServiceTime(threads=1, rows=1, seconds=1e-6)]
    ).why
    assert "At most 100000 requests wait, the longest queue that Corefit allows: one run takes 0.001 ms" in why
    assert "would miss" not in why


def _profile(**seconds: float) -> list[ServiceTime]:
    """Runs of one row: `_profile(t1=0.1, t2=0.06)` is 0.1 s on one thread and 0.06 s on two."""
    return [ServiceTime(threads=int(name[1:]), rows=1, seconds=s) for name, s in seconds.items()]


def _cores_why(quota: int, latency_s: float, *profile: ServiceTime) -> str:
    return sizing.plan(Grant(quota_millicores=quota), Objective(latency_s=latency_s), profile).cores_why


def test_what_the_cpu_limit_comes_to_is_said_with_the_stall_of_the_workers() -> None:
    """The kernel stops W busy workers on a quota of L cores for 1 - L / W of each period of 100 ms."""
    assert _cores_why(1000, 0.1) == "A CPU limit of 1 is 1 core."
    assert _cores_why(3000, 0.1) == "A CPU limit of 3 is 3 cores."
    stopped = "one worker, which Linux stops for up to 75 ms of every 100 ms when it is busy."
    assert _cores_why(250, 0.1) == f"A CPU limit of 250m is less than one core: {stopped}"
    loose = "Linux stops busy workers for up to 25 ms of every 100 ms, which is short enough for the objective."
    assert _cores_why(1500, 1.0) == f"A CPU limit of 1500m is rounded up to 2 cores: {loose}"
    tight = (
        "core: with 2 workers Linux stops them for up to 25 ms of every 100 ms, which is too long for the objective."
    )
    assert _cores_why(1500, 0.02) == f"A CPU limit of 1500m is rounded down to 1 {tight}"
    assert "rounded down to 2 cores: with 3 workers" in _cores_why(2500, 0.01)


@given(quota=millicores, objective=objectives, profile=profiles)
def test_workers_are_stopped_for_half_of_the_time_that_a_run_leaves_at_most(
    quota: int, objective: Objective, profile: list[ServiceTime]
) -> None:
    run_s = {p.threads: p.seconds for p in profile}.get(1, objective.latency_s / 5)
    cores, _ = sizing.whole_cores(quota, objective.latency_s, run_s)
    above = -(-quota // 1000)
    if quota > 1000:
        fits = sizing.stall_s(above, quota) <= (objective.latency_s - run_s) / 2
        assert cores == (above if fits else quota // 1000)
    assert sizing.stall_s(cores, 1000 * cores) == 0


def test_a_stall_of_just_half_of_what_is_left_is_short_enough() -> None:
    """1500m on two workers: 25 ms of every 100 ms. A run of 12.5 ms leaves 50 ms of an objective of 62.5 ms."""
    assert sizing.stall_s(2, 1500) == 0.025
    assert sizing.whole_cores(1500, 0.0625, 0.0125)[0] == 2
    assert sizing.whole_cores(1500, 0.0625, 0.0126)[0] == 1


def test_without_a_measurement_a_run_is_taken_to_last_a_fifth_of_the_objective() -> None:
    plan = sizing.plan(Grant(quota_millicores=2000), Objective(latency_s=0.1))
    assert (plan.service_s, plan.queue_depth, plan.measured) == (pytest.approx(0.02), 8, False)


def test_the_queue_of_a_fraction_is_drained_by_the_fraction() -> None:
    """1.5 cores, 100 ms a run, 1 s: 1.5 * 0.9 / 0.1 = 13.5; two whole cores would answer 18 in time."""
    plan = sizing.plan(Grant(quota_millicores=1500), Objective(latency_s=1.0), _profile(t1=0.1))
    assert (plan.workers, plan.queue_depth) == (2, 13)


def test_of_a_profile_only_runs_of_one_row_that_took_time_count() -> None:
    profile = [
        ServiceTime(threads=1, rows=8, seconds=0.001),
        ServiceTime(threads=2, rows=1, seconds=0.0),
        ServiceTime(threads=1, rows=1, seconds=0.05),
    ]
    plan = sizing.plan(Grant(quota_millicores=4000), Objective(), profile)
    assert (plan.workers, plan.threads_per_worker, plan.service_s) == (4, 1, 0.05)


def test_a_run_that_takes_no_time_has_the_longest_queue() -> None:
    assert sizing.queue_depth(1, 0.1, 0.0) == sizing.queue_depth(1, 0.1, -1.0) == sizing.MAX_QUEUE_DEPTH


def test_threads_that_no_core_is_there_for_are_not_taken() -> None:
    plan = sizing.plan(Grant(quota_millicores=2000), Objective(), _profile(t1=0.2, t2=0.15, t4=0.01))
    assert (plan.workers, plan.threads_per_worker) == (1, 2)
    assert "Each worker runs 2 threads, the fastest, and one run misses the objective even so." in plan.threads_why


def test_of_threads_that_do_as_much_the_fewest_are_taken() -> None:
    equal = _profile(t1=0.08, t2=0.04)
    plan = sizing.plan(Grant(quota_millicores=2000), Objective(), equal)
    assert (plan.workers, plan.threads_per_worker) == (2, 1)
    assert plan.threads_why == "Each worker runs one thread, which gave the highest throughput (25 runs a second)."
    assert sizing.plan(Grant(quota_millicores=2000), Objective(latency_s=0.01), equal).threads_per_worker == 2
    slow = _profile(t1=0.2, t2=0.2)
    assert sizing.plan(Grant(quota_millicores=2000), Objective(), slow).threads_per_worker == 1


def test_a_run_of_just_the_objective_meets_it() -> None:
    plan = sizing.plan(Grant(quota_millicores=4000), Objective(latency_s=0.1), _profile(t1=0.1, t4=0.09))
    assert (plan.workers, plan.threads_per_worker) == (4, 1)


def test_the_queue_is_explained_by_its_figures() -> None:
    plan = sizing.plan(Grant(quota_millicores=1000), Objective(latency_s=0.1), _profile(t1=0.05))
    missed = "more would miss the objective of 100 ms at 50 ms a run"
    assert plan.why.endswith(f"At most 1 request waits: {missed} (measured).")
    joined = msgspec.structs.replace(plan, queue_depth=2, batch_rows=8, measured=False)
    assumed = "(assumed until the model is measured), with up to 8 rows in one run."
    assert joined.why.endswith(f"At most 2 requests wait: {missed} {assumed}")


def test_workers_that_fit_into_the_limit_are_never_stopped() -> None:
    assert sizing.stall_s(1, 4000) == sizing.stall_s(4, 4000) == 0.0
    assert sizing.stall_s(2, 1000) == 0.05
