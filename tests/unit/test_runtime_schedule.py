import itertools
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from corefit_core.batching import Line
from corefit_core.errors import Shed
from corefit_runtime.pool.jobs import Job
from corefit_runtime.pool.limits import Limits
from corefit_runtime.pool.schedule import MAX_PARTS, Schedule

if TYPE_CHECKING:
    from corefit_runtime.pool.model import Model


class FakeModel:
    rows_independent = True
    most_elements = 0
    bounded = True


MODEL = cast("Model", FakeModel())


def job(rows: int = 1, arrived: float = 0.0, deadline: float | None = None, width: int = 2) -> Job:
    return Job(
        model=MODEL,
        feeds={"x": np.zeros((rows, width), np.float32)},
        outputs=["y"],
        rows=rows,
        elements=rows * width,
        arrived_s=arrived,
        deadline_s=deadline,
        finish=lambda outputs: outputs,
        deliver=lambda answer: None,
    )


def limits(**changes: Any) -> Limits:
    given = {"workers": 1, "depth": 10, "objective_s": 0.1, "line": Line(a=0.0, b=0.01), "chunk": 1, "batch": 0}
    return Limits(**{**given, **changes})


def test_single_rows_go_before_all_but_the_first_chunk_of_an_older_batch() -> None:
    schedule = Schedule(limits(depth=100))
    batch, single = job(rows=50), job(arrived=0.001)
    schedule.admit(batch, 0.0, 0.0)
    schedule.admit(single, 0.001, 0.0)
    order = [schedule.pop() for _ in range(3)]
    assert [part.job is single for part in order if part] == [False, True, False]


@pytest.mark.parametrize(("width", "batch"), [(2, 100), (1 << 12, 100), (1 << 16, 8), (1 << 18, 2), (1 << 19, 1)])
def test_requests_are_joined_as_far_as_a_copy_of_them_is_small(width: int, batch: int) -> None:
    """A run copies what it joins, which nobody charged: as much as all bodies together."""
    schedule = Schedule(limits(batch=100, chunk=0))
    taken = job(width=width)
    schedule.admit(taken, 0.0, 0.0)
    assert taken.batch == batch


def test_a_request_that_is_too_large_to_be_copied_is_not_joined() -> None:
    schedule = Schedule(limits(batch=100, chunk=0))
    for taken in (job(rows=2, width=1 << 19), job(rows=3, width=1 << 18)):
        schedule.admit(taken, 0.0, 0.0)
        assert taken.batch == 0
        assert taken.signature is None


def test_an_earlier_deadline_goes_first() -> None:
    schedule = Schedule(limits())
    plain, late, early = job(), job(deadline=0.09), job(deadline=0.08)
    for each in (plain, late, early):
        schedule.admit(each, 0.0, 0.0)
    assert [part.job for part in (schedule.pop(), schedule.pop()) if part] == [early, late]


def test_a_deadline_beyond_the_objective_lets_no_more_in() -> None:
    """Envoy tells of its route's 15 s with every request: the queue grew to 15 s."""
    taken = []
    for deadline in (None, 15.0):
        schedule = Schedule(limits(depth=100))
        while schedule.refusal(MODEL, 1, 2, 0.0, deadline, 0.0, 0.0) is None:
            schedule.admit(job(deadline=deadline), 0.0, 0.0)
        taken.append(schedule.waiting)
    assert taken[0] == taken[1] < 10


def test_a_request_has_a_bounded_number_of_parts() -> None:
    """100,000 rows in chunks of one took 1.5 s, in which nothing else was answered."""
    schedule = Schedule(limits(depth=100))
    assert schedule.admit(job(rows=100_000), 0.0, 0.0) <= MAX_PARTS
    parts = []
    while (part := schedule.pop()) is not None:
        parts.append((part.start, part.stop))
    assert parts[0][0] == 0
    assert parts[-1][1] == 100_000
    assert all(before[1] == after[0] for before, after in itertools.pairwise(parts))


def test_clients_that_hung_up_hold_no_memory() -> None:
    """500 bodies lay behind the one that was due first, though none of them was to be run."""
    schedule = Schedule(limits(chunk=2, depth=1000, objective_s=60))
    first = job()
    schedule.admit(first, 0.0, 0.0)
    for _ in range(50):
        for rows in (1, 7):
            each = job(rows=rows)
            schedule.admit(each, 0.0, 0.0)
            schedule.close(each)
            assert not each.feeds
    assert len(schedule._heap) <= 2
    part = schedule.pop()
    assert part is not None
    assert part.job is first
    assert schedule.pop() is None


def test_what_could_not_be_answered_in_time_is_shed_with_the_time_to_come_back() -> None:
    schedule = Schedule(limits())
    for _ in range(8):
        schedule.admit(job(), 0.0, 0.0)
    with pytest.raises(Shed) as shed:
        schedule.admit(job(), 0.0, 0.01)
    assert shed.value.cause == "deadline"
    assert shed.value.retry_after_s > 0


def test_a_full_queue_sheds_whatever_the_deadline() -> None:
    schedule = Schedule(limits(depth=2))
    schedule.admit(job(deadline=100), 0.0, 0.0)
    schedule.admit(job(deadline=100), 0.0, 0.0)
    with pytest.raises(Shed, match="2 requests wait already") as shed:
        schedule.admit(job(deadline=100), 0.0, 0.0)
    assert shed.value.cause == "queue-full"


def test_an_empty_queue_takes_even_what_is_longer_than_the_objective() -> None:
    schedule = Schedule(limits(line=Line(a=1.0, b=0.0)))
    assert schedule.admit(job(), 0.0, 0.9) == 1


def test_a_dropped_job_leaves_no_trace_in_the_sums() -> None:
    schedule = Schedule(limits())
    jobs = [job(rows=n) for n in (1, 5, 2)]
    for each in jobs:
        schedule.admit(each, 0.0, 0.0)
    schedule.pop()
    for each in jobs:
        schedule.close(each)
        schedule.close(each)
    assert (schedule.waiting, schedule.open) == (0, 0)
    assert schedule.wait_s(0.0) == pytest.approx(0.0, abs=1e-9)
    assert schedule.pop() is None


def test_only_requests_of_the_same_form_join_and_only_up_to_the_batch() -> None:
    schedule = Schedule(limits(chunk=0, batch=3, depth=100))
    for each in (job(), job(), job(width=3), job()):
        schedule.admit(each, 0.0, 0.0)
    first = schedule.pop()
    assert first is not None
    assert schedule.pop_joinable(first, 2) is not None
    assert schedule.pop_joinable(first, 1) is None  # The next has another width, and nobody overtakes it.


def test_runs_that_take_longer_than_the_profile_says_correct_it() -> None:
    schedule = Schedule(limits())
    for _ in range(200):
        schedule.times.learn(1, 0.02)
    assert schedule.times.expected_s(1) == pytest.approx(0.02, rel=0.01)
    schedule.times.learn(1, 1e9)
    assert schedule.times.expected_s(1) < 0.05


def test_a_failed_part_ends_its_job_and_the_others_are_skipped() -> None:
    schedule = Schedule(limits(depth=100))
    batch = job(rows=3)
    schedule.admit(batch, 0.0, 0.0)
    part = schedule.pop()
    assert part is not None
    assert schedule.settle(part, ValueError("x"))
    assert schedule.pop() is None
    assert schedule.open == 0


def test_an_assumed_service_time_gives_way_to_the_first_run() -> None:
    """Of a model that could not be measured, the second of four requests was refused: it would take ten minutes."""
    schedule = Schedule(limits(line=Line(a=0.0, b=0.05), chunk=0, assumed=True))
    schedule.times.learn(1, 0.0001)
    assert schedule.times.expected_s(1) == pytest.approx(0.0001)
    schedule.times.learn(1, 0.0003)
    assert schedule.times.expected_s(1) == pytest.approx(0.0002)
    for _ in range(5):
        schedule.admit(job(), 0.0, 0.0)


def test_cost_chunk_and_batch_follow_the_elements_and_what_runs_take() -> None:
    """Chunks of 252 pictures of 16 x 16 were cut from pictures of 160 x 160: 494 ms for a single row behind one."""
    plan = limits(
        line=Line(a=0.0001, b=0.0005),
        chunk=20,
        batch=8,
        row_elements=2,
        auto_chunk=True,
        auto_batch=True,
        target_s=0.01,
    )
    schedule = Schedule(plan)
    small, large = job(rows=100), job(rows=100, width=20)
    assert schedule.admit(small, 0.0, 0.0) == 6
    assert schedule.admit(large, 0.0, 0.0) == 100
    parts = [schedule.pop() for _ in range(106)]
    costs = [part.cost_s for part in parts if part and part.job is large]
    assert costs == pytest.approx([0.0001 + 10 * 0.0005] * 100)
    for _ in range(300):
        schedule.times.learn(1, 10 * 0.0006)
    assert schedule.admit(job(rows=100, arrived=1.0), 1.0, 0.0) > 50
    fixed = Schedule(limits(chunk=20, row_elements=2))
    assert fixed.admit(job(rows=100, width=20), 0.0, 0.0) == 5
